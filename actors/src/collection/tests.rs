//! The collections over the memory store and the memory sink.

mod documents;
mod refusals;
mod vectors;
mod world;
