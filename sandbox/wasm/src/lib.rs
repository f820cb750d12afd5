//! The WebAssembly engine: CPython on wasmtime.
