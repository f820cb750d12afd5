//! Several nodes in one process, over real UDP sockets of the loopback interface.

mod authority;
mod control;
mod lanes;
mod links;
mod partition;
mod raw;
mod refusals;
mod rotation;
mod streams;
mod support;
