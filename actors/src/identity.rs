//! Virtual keys and revoked tokens: kept in the store, held in every node's memory, and followed
//! so closely that a change on one node holds on all of them within a second.

mod changes;
mod directory;
mod follow;
mod keys;
mod metrics;
mod names;
mod nouns;
mod records;
mod secret;
mod table;
#[cfg(test)]
mod tests;

pub use directory::{IdentityHandle, IdentitySettings};
pub use metrics::IdentityMetrics;
pub use names::{NAME_LENGTH, is_name, is_user_name};
pub use nouns::{Holder, IdentityError, Key, KeyPage, KeyRefusal, NewKey, RevokedToken, Stale};
pub use secret::{KEY_PREFIX, Secret, SecretBits, is_virtual_key};
