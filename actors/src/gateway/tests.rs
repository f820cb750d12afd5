//! Chats through the gateway: routes, retries, and what is charged in the end.

mod charges;
mod routes;
mod world;
