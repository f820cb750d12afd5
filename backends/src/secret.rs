//! Headers with secrets, fetched at the time of a call and shown nowhere.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use crate::error::BackendError;
use crate::invocation::Invocation;

/// A header whose value no text shows.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretHeader {
    pub name: String,
    value: String,
}

/// Makes the headers of one call, such as `authorization`. `None` stands for the questions that
/// belong to no call, such as a server's list of tools.
pub type SecretHeaders = Arc<
    dyn Fn(
            Option<&Invocation>,
        ) -> Pin<Box<dyn Future<Output = Result<Vec<SecretHeader>, BackendError>> + Send>>
        + Send
        + Sync,
>;

/// Shorter values would blank out ordinary words.
const BLANKED_BYTES_MIN: usize = 4;

impl SecretHeader {
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> SecretHeader {
        SecretHeader { name: name.into(), value: value.into() }
    }

    /// The value, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.value
    }
}

/// A hook for backends that need no secrets.
pub fn no_headers() -> SecretHeaders {
    Arc::new(|_| Box::pin(async { Ok(Vec::new()) }))
}

/// The text without the headers' values, and without the parts of them that follow a scheme such as
/// `Bearer`.
pub fn blank(text: &str, headers: &[SecretHeader]) -> String {
    let mut blanked = text.to_owned();
    for header in headers {
        let whole = header.expose().trim();
        let token = whole.split_once(' ').map_or(whole, |(_, token)| token.trim());
        for secret in [whole, token] {
            if secret.len() >= BLANKED_BYTES_MIN {
                blanked = blanked.replace(secret, "[secret]");
            }
        }
    }
    blanked
}

impl fmt::Debug for SecretHeader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SecretHeader({})", self.name)
    }
}

#[cfg(test)]
mod tests;
