//! The encoder against reference vectors of sentence-transformers and transformers.

mod families;
mod loading;
mod minilm;
mod refusals;
mod support;
mod tiny;
