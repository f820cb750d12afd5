//! The name of a secret, as prompts and grants write it.

use std::fmt;

use serde::Deserialize;

/// Longest name, in characters.
pub const NAME_CHARACTERS_MAX: usize = 64;

/// A name: `A` to `Z`, then `A` to `Z`, `0` to `9` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct SecretName(String);

/// Why a text is no name. It does not repeat the text: who mistakes the one for the other gives
/// the value where the name belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("the secret's name is empty; give one such as TOOL_API_KEY")]
    Empty,
    #[error(
        "the secret's name has {characters} characters; at most {NAME_CHARACTERS_MAX} are allowed; \
         shorten it"
    )]
    TooLong { characters: usize },
    #[error(
        "the secret's name is not allowed from character {place} on: it begins with A to Z and \
         goes on with A to Z, 0 to 9 and _; rename the secret"
    )]
    Character {
        /// From 1.
        place: usize,
    },
}

impl SecretName {
    /// # Errors
    /// When the text is empty, too long, or holds a character that no name may.
    pub fn new(text: impl Into<String>) -> Result<SecretName, NameError> {
        let text = text.into();
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        let characters = text.chars().count();
        if characters > NAME_CHARACTERS_MAX {
            return Err(NameError::TooLong { characters });
        }
        let is_allowed = |(index, letter): (usize, char)| match letter {
            'A'..='Z' => true,
            '0'..='9' | '_' => index > 0,
            _ => false,
        };
        match text.chars().enumerate().position(|letter| !is_allowed(letter)) {
            Some(index) => Err(NameError::Character { place: index + 1 }),
            None => Ok(SecretName(text)),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SecretName {
    type Error = NameError;

    fn try_from(text: String) -> Result<SecretName, NameError> {
        SecretName::new(text)
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
