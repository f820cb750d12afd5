//! The secrets of HashiCorp Vault or OpenBao, of its KV engine in version 2.
//!
//! Requests are made, sent and read here: the client of `vaultrs` follows redirects with the token,
//! loses `retry-after`, logs what the server says, and reads without a bound.

mod answer;
mod login;
mod settings;
mod source;
mod template;

pub use settings::{AuthSettings, VaultSettings};
pub use source::VaultSource;

#[cfg(test)]
mod tests;
