//! The models port: what an encoder and a chat model are, told without any device, file or wire.
//!
//! A [`Model`] is cheap to share: it knows its card and its tokenizer. It opens
//! [`Encoder`]s, which hold the weights and belong to one device thread each.

pub mod card;
pub mod chat;
pub mod double;
pub mod encoder;
pub mod entities;
pub mod tokens;

pub use card::{ModelCard, Pooling, Task};
pub use encoder::{EncodeError, Encoder, Model, OpenOptions, Pace, TokenBatch, Vectors};
pub use tokens::{Piece, Pixels, Sequence, TokenIds, TokenizeError};
