//! A secret's value: no text shows it, and its memory is wiped.

use std::fmt;
use std::sync::Arc;

use zeroize::{Zeroize, Zeroizing};

/// The value of a secret. A clone shares the memory, which is wiped when the last one goes.
///
/// There is no way to serialise it, and none to compare it by accident.
#[derive(Clone)]
pub struct SecretValue(Arc<Zeroizing<String>>);

impl SecretValue {
    /// Takes the text over; what the caller copied from it is the caller's to wipe.
    pub fn new(text: String) -> SecretValue {
        SecretValue(Arc::new(Zeroizing::new(text)))
    }

    /// Takes bytes over; `None`, and the bytes wiped, when they are no UTF-8.
    pub fn from_bytes(bytes: Vec<u8>) -> Option<SecretValue> {
        match String::from_utf8(bytes) {
            Ok(text) => Some(SecretValue::new(text)),
            Err(error) => {
                error.into_bytes().zeroize();
                None
            }
        }
    }

    /// The value, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    #[cfg(test)]
    pub(crate) fn holders(&self) -> std::sync::Weak<Zeroizing<String>> {
        Arc::downgrade(&self.0)
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[secret]")
    }
}

impl fmt::Display for SecretValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests;
