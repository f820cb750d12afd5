//! Chats through the gateway: routes, retries, and what is charged in the end.

mod cache;
mod charges;
mod near;
mod recorded;
mod redaction;
mod routes;
mod versions;
pub(crate) mod world;
