//! What a regular expression cannot say of a secret, named by a rule's `check` field.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::allow::Match;
use super::plausible;

/// A test of a matched secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// The first part is a JSON object with an algorithm.
    Jwt,
    /// It decodes to a user's name, a colon and a password.
    Basic,
    /// It looks generated.
    Token,
    /// It looks like a password.
    Password,
    /// It may be the password within a URL.
    UrlPassword,
}

impl Check {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "jwt" => Self::Jwt,
            "basic" => Self::Basic,
            "token" => Self::Token,
            "password" => Self::Password,
            "url-password" => Self::UrlPassword,
            _ => return None,
        })
    }

    /// The rule knows its secret only by the words around it.
    pub(super) fn by_context(self) -> bool {
        matches!(self, Self::Token | Self::Password | Self::UrlPassword)
    }

    pub(super) fn passes(self, found: &Match<'_>) -> bool {
        let secret = found.secret;
        match self {
            Self::Jwt => jwt(secret),
            Self::Basic => basic(secret),
            Self::Token => plausible::token(found),
            Self::Password => plausible::password(secret),
            Self::UrlPassword => plausible::url_password(secret),
        }
    }
}

fn jwt(secret: &str) -> bool {
    let header = secret.split('.').next().unwrap_or_default();
    let decoded = URL_SAFE_NO_PAD.decode(header).unwrap_or_default();
    serde_json::from_slice::<serde_json::Value>(&decoded)
        .is_ok_and(|it| it.get("alg").is_some_and(|it| it.as_str() != Some("none")))
}

fn basic(secret: &str) -> bool {
    let decoded = STANDARD_NO_PAD.decode(secret.trim_end_matches('=')).unwrap_or_default();
    let text = String::from_utf8(decoded).unwrap_or_default();
    let Some((user, password)) = text.split_once(':') else { return false };
    !user.is_empty() && !text.contains(char::is_control) && plausible::url_password(password)
}
