//! Tools over HTTP against real sockets.

mod calls;
mod fetches;
mod server;
