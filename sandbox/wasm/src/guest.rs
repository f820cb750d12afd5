//! The guest's world without any engine: files in memory, the calls of WASI preview 1, clocks.

pub(crate) mod carry;
pub(crate) mod clock;
pub(crate) mod descriptors;
pub(crate) mod errno;
pub(crate) mod files;
pub(crate) mod lookup;
pub(crate) mod memory;
pub(crate) mod pages;
pub(crate) mod paths;
pub(crate) mod plain;
pub(crate) mod root;
pub(crate) mod wasi;

#[cfg(test)]
mod tests;
