//! The burn adapter of the models port: encoders on CPU (burn-flex) or CUDA, and a small chat
//! model on CPU.
//!
//! [`open`] reads a folder of weights once and returns a [`BurnModel`]; the encoders that
//! it opens share these weights. [`weights::fetch`] brings such a folder onto the machine.
//! [`chat::LocalChat`] answers chats from the weights of one GGUF file.

#[cfg(not(any(feature = "cpu", feature = "cuda")))]
compile_error!("choose a device: the feature \"cpu\", \"cuda\" or both");

mod bert;
#[cfg(feature = "cpu")]
pub mod chat;
mod checkpoint;
mod config;
mod device;
mod encoder;
mod error;
mod families;
mod fingerprint;
mod folder;
#[cfg(feature = "cpu")]
mod gguf;
mod images;
mod kernels;
mod model;
mod rows;
mod sentence;
mod settings;
mod tokenizer;
pub mod weights;

pub use error::LoadError;
#[cfg(feature = "cpu")]
pub use kernels::instructions::Instructions;
pub use model::{BurnModel, open};
pub use settings::{BurnSettings, DeviceChoice, NumberFormat, UnknownChoice};
