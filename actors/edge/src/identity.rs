//! Who calls: tokens signed with the node's key (JWT, HS256).

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

use crate::error::ApiError;

const ISSUER: &str = "headwater";
/// Shortest key that HS256 may use (RFC 7518, section 3.2).
const KEY_BYTES: usize = 32;
const NAME_LENGTH: usize = 64;
/// The tier whose tokens may look at the cluster and change every tenant's limits.
const OPERATOR: &str = "operator";

/// Whether a tenant or tier may be called so: `[A-Za-z0-9._-]`, 1 to 64 long.
pub(crate) fn is_name(value: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !value.is_empty() && value.len() <= NAME_LENGTH && value.chars().all(letter)
}

/// What a token grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Whom the request is counted for.
    pub tenant: String,
    /// Names of the allowed models; `*` allows all.
    pub models: Vec<String>,
    /// The tenant's service level.
    pub tier: String,
}

impl Grant {
    /// Checks the names before they are signed.
    ///
    /// # Errors
    /// [`GrantProblem::Name`] for a tenant or tier outside `[A-Za-z0-9._-]`, 1 to 64
    /// long, and [`GrantProblem::NoModels`].
    pub fn check(&self) -> Result<(), GrantProblem> {
        for (field, value) in [("tenant", &self.tenant), ("tier", &self.tier)] {
            if !is_name(value) {
                return Err(GrantProblem::Name { field });
            }
        }
        if self.models.is_empty() { Err(GrantProblem::NoModels) } else { Ok(()) }
    }

    /// Whether the token is an operator's.
    pub fn is_operator(&self) -> bool {
        self.tier == OPERATOR
    }

    /// Refuses whoever is no operator.
    pub(crate) fn check_operator(&self) -> Result<(), ApiError> {
        if self.is_operator() { Ok(()) } else { Err(ApiError::operators_only()) }
    }

    /// Whether the tenant may use this model.
    pub fn allows(&self, model: &str) -> bool {
        self.models.iter().any(|allowed| allowed == "*" || allowed == model)
    }
}

/// Why a token cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantProblem {
    #[error("{field} must be 1 to {NAME_LENGTH} of the characters A-Z a-z 0-9 . _ -")]
    Name { field: &'static str },
    #[error("models is empty; name at least one model, or `*` for all")]
    NoModels,
    #[error("the key has {given} bytes; it needs at least {KEY_BYTES}")]
    ShortKey { given: usize },
    #[error("the token could not be signed: {0}")]
    Signing(String),
}

/// The node's secret. Its bytes appear in no log and no error.
#[derive(Clone)]
pub struct SigningKey(Vec<u8>);

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SigningKey(..)")
    }
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    tenant: String,
    models: Vec<String>,
    tier: String,
    /// Seconds since 1970.
    iat: u64,
    exp: u64,
}

impl SigningKey {
    /// # Errors
    /// [`GrantProblem::ShortKey`] below 32 bytes.
    pub fn new(bytes: Vec<u8>) -> Result<Self, GrantProblem> {
        if bytes.len() < KEY_BYTES {
            return Err(GrantProblem::ShortKey { given: bytes.len() });
        }
        Ok(SigningKey(bytes))
    }

    /// A token for the grant, valid from now for `lifetime_s` seconds.
    ///
    /// # Errors
    /// See [`Grant::check`].
    pub fn mint(&self, grant: &Grant, lifetime_s: u64) -> Result<String, GrantProblem> {
        grant.check()?;
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
        let claims = Claims {
            iss: ISSUER.to_owned(),
            tenant: grant.tenant.clone(),
            models: grant.models.clone(),
            tier: grant.tier.clone(),
            iat: now_s,
            exp: now_s.saturating_add(lifetime_s),
        };
        encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(&self.0))
            .map_err(|error| GrantProblem::Signing(error.to_string()))
    }
}

/// Who decides what a token grants.
pub enum Authority {
    /// Everyone may do everything. Only for a node that listens on loopback.
    Open,
    /// Tokens signed with this key.
    Signed(Box<Verifier>),
}

/// A key and the rules that its tokens must keep.
pub struct Verifier {
    key: DecodingKey,
    rules: Validation,
}

impl Authority {
    pub fn signed(key: &SigningKey) -> Self {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_issuer(&[ISSUER]);
        // The library would take a token for another minute after its end.
        rules.leeway = 0;
        rules.set_required_spec_claims(&["exp", "iss"]);
        Authority::Signed(Box::new(Verifier { key: DecodingKey::from_secret(&key.0), rules }))
    }

    /// What the `Authorization` header or the `x-api-key` header grants, or why it grants nothing.
    /// `None` stands for a missing header.
    pub(crate) fn judge(
        &self,
        header: Option<&str>,
        api_key: Option<&str>,
    ) -> Result<Grant, Refusal> {
        let Verifier { key, rules } = match self {
            Authority::Open => {
                return Ok(Grant {
                    tenant: "local".to_owned(),
                    models: vec!["*".to_owned()],
                    tier: OPERATOR.to_owned(),
                });
            }
            Authority::Signed(verifier) => verifier.as_ref(),
        };
        let bearer = match header.map(|header| header.split_once(' ')) {
            None => None,
            Some(Some((scheme, token))) if scheme.eq_ignore_ascii_case("bearer") => {
                Some(token.trim())
            }
            Some(_) => return Err(Refusal::Bad("the scheme is not Bearer")),
        };
        let token = match (bearer, api_key.map(str::trim)) {
            // Which of two callers it is cannot be told.
            (Some(bearer), Some(key)) if bearer != key => {
                return Err(Refusal::Bad("Authorization and x-api-key hold two different ones"));
            }
            (bearer, key) => bearer.or(key).ok_or(Refusal::Missing)?,
        };
        let claims = decode::<Claims>(token, key, rules).map_err(|error| {
            Refusal::Bad(match error.kind() {
                ErrorKind::ExpiredSignature => "it has expired",
                ErrorKind::InvalidSignature => "its signature does not match this node's key",
                ErrorKind::InvalidIssuer => "it was not issued by headwater",
                ErrorKind::InvalidAlgorithm => "it is not signed with HS256",
                _ => "it is not a headwater token",
            })
        })?;
        let Claims { tenant, models, tier, .. } = claims.claims;
        Ok(Grant { tenant, models, tier })
    }
}

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Missing,
    Bad(&'static str),
}
