//! The encoder against reference vectors of sentence-transformers and transformers.

mod bf16;
mod families;
mod loading;
mod minilm;
mod pace;
mod refusals;
mod support;
mod tiny;
