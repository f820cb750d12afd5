//! What a caller of the directory meets.

use headwater_storage::StoreError;

use super::names::{NAME_LENGTH, is_name, is_user_name};

/// Longest time that a key may be valid, in ms: ten years.
const LIFETIME_MS_MAX: u64 = 10 * 365 * 24 * 60 * 60 * 1000;
const MODELS_MAX: usize = 64;
const MODEL_LENGTH: usize = 200;
const NOTE_LENGTH: usize = 256;

/// Whom a key stands for, and what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Whom requests are charged to.
    pub team: String,
    pub project: Option<String>,
    pub user: Option<String>,
    /// Names of the allowed models; `*` allows all.
    pub models: Vec<String>,
    /// The team's service level.
    pub tier: String,
}

impl Holder {
    /// # Errors
    /// [`IdentityError::Field`], with the field and what it may be.
    pub fn check(&self) -> Result<(), IdentityError> {
        let name = format!("must be 1 to {NAME_LENGTH} of the characters A-Z a-z 0-9 . _ -");
        let wrong = |field, problem: &str| Err(IdentityError::field(field, problem));
        if !is_name(&self.team) {
            return wrong("team", &name);
        }
        if !is_name(&self.tier) {
            return wrong("tier", &name);
        }
        if self.project.as_deref().is_some_and(|project| !is_name(project)) {
            return wrong("project", &name);
        }
        if self.user.as_deref().is_some_and(|user| !is_user_name(user)) {
            return wrong("user", "must be 1 to 128 visible ASCII characters without spaces");
        }
        if self.models.is_empty() {
            return wrong("models", "is empty; name at least one model, or `*` for all");
        }
        let fits = |model: &String| !model.is_empty() && model.len() <= MODEL_LENGTH;
        if self.models.len() > MODELS_MAX || !self.models.iter().all(fits) {
            let allowed =
                format!("must be at most {MODELS_MAX} names of 1 to {MODEL_LENGTH} bytes");
            return wrong("models", &allowed);
        }
        Ok(())
    }
}

/// A key that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    pub holder: Holder,
    /// What the operator wants to remember it by.
    pub note: String,
    /// When it ends, in ms since 1970; never without it.
    pub expires_ms: Option<u64>,
}

impl NewKey {
    pub(super) fn check(&self, now_ms: u64) -> Result<(), IdentityError> {
        self.holder.check()?;
        if self.note.len() > NOTE_LENGTH || self.note.chars().any(char::is_control) {
            let allowed = format!("must be at most {NOTE_LENGTH} bytes without control characters");
            return Err(IdentityError::field("note", &allowed));
        }
        match self.expires_ms {
            Some(at_ms) if at_ms <= now_ms || at_ms - now_ms > LIFETIME_MS_MAX => {
                let allowed = "must lie in the future, and at most ten years from now";
                Err(IdentityError::field("expires_at", allowed))
            }
            _ => Ok(()),
        }
    }
}

/// A key as operators see it: everything but its secret, which nobody has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Names it in records and logs; it opens nothing.
    pub id: String,
    pub holder: Holder,
    pub note: String,
    /// All times are in ms since 1970.
    pub created_ms: u64,
    pub expires_ms: Option<u64>,
    pub rotated_ms: Option<u64>,
    /// Until when the secret before the last rotation is good, too.
    pub previous_until_ms: Option<u64>,
    pub revoked_ms: Option<u64>,
}

/// Some keys in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPage {
    pub keys: Vec<Key>,
    /// Behind which id to go on; none after the last page.
    pub next_after: Option<String>,
}

/// A token that is not good any more, before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedToken {
    /// Who signed it.
    pub issuer: String,
    /// Its `jti`.
    pub id: String,
    /// When it ends by itself, in ms since 1970; the revocation may be forgotten then.
    pub expires_ms: u64,
}

impl RevokedToken {
    pub(super) fn check(&self) -> Result<(), IdentityError> {
        for (field, value) in [("issuer", &self.issuer), ("jti", &self.id)] {
            if value.is_empty() || value.len() > NOTE_LENGTH {
                let allowed = format!("must be 1 to {NOTE_LENGTH} bytes");
                return Err(IdentityError::field(field, &allowed));
            }
        }
        Ok(())
    }
}

/// This node has not heard from the store for too long to vouch for anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stale {
    /// For how long, in ms; none when it never has.
    pub since_ms: Option<u64>,
}

/// Why a virtual key opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRefusal {
    /// It is not of the form of a key.
    Malformed,
    /// There is no such key, its secret is another, or it was revoked. Which of them it is, is
    /// not told to whoever holds it.
    Unknown,
    Expired,
    Stale(Stale),
}

/// Why the directory cannot do what an operator asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error("{field} {problem}")]
    Field { field: &'static str, problem: String },
    #[error("there is no key '{id}'; see GET /v1/keys for those that there are")]
    NoKey { id: String },
    #[error("the key '{id}' is revoked; make a new one")]
    Revoked { id: String },
    /// The commit's fate is unknown, and the secret that it would have kept is lost.
    #[error(
        "it is not known whether this was done to the key '{id}'; look at it and, if it was, \
         revoke or rotate it"
    )]
    Unknown { id: String },
    #[error("the system gives no random bits; try again later")]
    NoRandomBits,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IdentityError {
    pub(super) fn field(field: &'static str, problem: &str) -> IdentityError {
        IdentityError::Field { field, problem: problem.to_owned() }
    }
}
