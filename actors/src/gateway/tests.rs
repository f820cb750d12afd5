//! Chats through the gateway: routes, retries, and what is charged in the end.

mod cache;
mod charges;
mod near;
mod recorded;
mod redaction;
mod routes;
mod versions;
mod world;
