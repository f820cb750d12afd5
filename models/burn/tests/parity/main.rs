//! The encoder against reference vectors of sentence-transformers and transformers.

mod bf16;
mod loading;
mod minilm;
mod pace;
mod support;
mod tiny;
