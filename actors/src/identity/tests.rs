//! Keys over the memory store: made, used, rotated, revoked, and followed through outages.

mod following;
mod keys;
mod world;
