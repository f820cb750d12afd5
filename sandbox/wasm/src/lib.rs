//! The WebAssembly engine: CPython as a module of wasmtime, a fresh instance for each call.
//!
//! A guest is one instance of a module that has a started interpreter in its memory. The first
//! interpreter of an image imports what the image says, once; what that changed of its memory is
//! kept, and every guest begins with it: nothing of Python runs before a call. A guest has one
//! call and is thrown away with its memory, while the next one of its slot is made. All that it
//! reaches is a function of this crate: 42 calls of WASI preview 1 over files in memory, clocks,
//! random bytes, and sockets that are none.
//!
//! What it does not do:
//! - Native packages do not run, only those that the module has inside; there are no threads, no
//!   processes and no sockets, also not through a proxy.
//! - A guest that asks for more memory than it may have gets a `MemoryError`, and is not killed.
//! - [`Violation`](headwater_sandbox::Ended::Violation) is never told: there is nothing that a
//!   guest could ask for and may not.
//! - The seed of Python's hashes is the module's own, the same in every call; `random` and
//!   `numpy.random` are seeded for each call.
//! - A call's end runs what `atexit` has, and no finalizers: its memory goes at once.
//! - Guests are as well apart as wasmtime keeps them; one who fears its bugs runs the service that
//!   has this engine in a jail of its own.
//!
//! The engine itself is behind the feature `engine`, since wasmtime compiles for minutes.

#[cfg(feature = "engine")]
mod engine;
#[cfg_attr(
    not(feature = "engine"),
    allow(dead_code, reason = "the engine is what uses the guest's world")
)]
mod guest;
mod image;

#[cfg(feature = "engine")]
pub use engine::{Settings, WasmEngine};
pub use image::make_image;

/// The name of the engine.
pub const ENGINE: &str = "wasm";
