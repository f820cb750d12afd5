//! The trait: who knows the values.

use async_trait::async_trait;

use crate::{SecretError, SecretName, SecretValue};

/// Knows values by team and name.
#[async_trait]
pub trait SecretSource: Send + Sync {
    /// The value as it is now. To drop the future is to give up, without harm.
    ///
    /// # Errors
    /// [`SecretError`], by what the caller should do.
    async fn get(&self, team: &str, name: &SecretName) -> Result<SecretValue, SecretError>;
}
