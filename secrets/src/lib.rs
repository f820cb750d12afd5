//! The secrets port: values for prompts that nothing shows, and which team may read which.
//!
//! A prompt names a secret, and its value comes in at the last moment. The way to it goes through
//! three of the same trait: [`GrantedSource`] asks nobody for what the team was not granted,
//! [`SecretCache`] asks once for many, and a [`SecretSource`] of an adapter knows the values.

mod cache;
pub mod double;
mod error;
mod grants;
mod name;
mod source;
mod value;

pub use cache::{CacheSettings, Clock, SecretCache};
pub use error::SecretError;
pub use grants::{GrantError, GrantedSource, SecretGrants};
pub use name::{NAME_CHARACTERS_MAX, NameError, SecretName};
pub use source::SecretSource;
pub use value::SecretValue;
