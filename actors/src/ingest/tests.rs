//! Ingest over the memory store and a sink in memory, driven by hand where order matters.

mod documents;
mod holds;
mod intake;
mod source;
mod turns;
mod world;
