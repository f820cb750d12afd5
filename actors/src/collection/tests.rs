//! The collections over the memory store and the memory sink.

mod builds;
mod documents;
mod refusals;
mod searches;
mod vectors;
mod world;
