//! Values that the proxy puts in for a guest.

use std::fmt;

use async_trait::async_trait;

use crate::grant::Labels;

/// A secret's value; prints as stars.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    #[must_use]
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self(value.into())
    }

    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(***)")
    }
}

/// The secret cannot be had now, or not by this asker. Carries no text, so that no value can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secret could not be had; look at the secret store")]
pub struct SecretError;

/// Gives the values of a grant's secrets, at each request.
#[async_trait]
pub trait SecretFor: Send + Sync {
    /// # Errors
    /// [`SecretError`]: the request is refused then.
    async fn value(&self, labels: &Labels, secret: &str) -> Result<Secret, SecretError>;
}
