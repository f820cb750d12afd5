//! Tokens of the node's own key (JWT, HS256).

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::authority::{Refusal, Vouched};
use super::grant::{Grant, GrantProblem};

/// The issuer of tokens that are signed with the node's own key.
pub const OWN_ISSUER: &str = "headwater";
/// Shortest key that HS256 may use (RFC 7518, section 3.2).
const KEY_BYTES: usize = 32;

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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    models: Vec<String>,
    tier: String,
    /// Names the token, so that it can be revoked; older tokens have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    /// Seconds since 1970.
    iat: u64,
    exp: u64,
}

impl SigningKey {
    /// # Errors
    /// [`GrantProblem::ShortKey`] below 32 bytes.
    pub fn new(bytes: Vec<u8>) -> Result<Self, GrantProblem> {
        if bytes.len() < KEY_BYTES {
            return Err(GrantProblem::ShortKey { given: bytes.len(), needed: KEY_BYTES });
        }
        Ok(SigningKey(bytes))
    }

    /// A token for the grant, valid from now for `lifetime_s` seconds, whatever end the grant has.
    ///
    /// # Errors
    /// See [`Grant::check`].
    pub fn mint(&self, grant: &Grant, lifetime_s: u64) -> Result<String, GrantProblem> {
        grant.check()?;
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
        let Grant { tenant, project, user, models, tier, .. } = grant.clone();
        let claims = Claims {
            iss: OWN_ISSUER.to_owned(),
            tenant,
            project,
            user,
            models,
            tier,
            jti: Some(Uuid::now_v7().simple().to_string()),
            iat: now_s,
            exp: now_s.saturating_add(lifetime_s),
        };
        encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(&self.0))
            .map_err(|error| GrantProblem::Signing(error.to_string()))
    }
}

/// Tokens that are remembered as good.
const KNOWN_MAX: u64 = 10_000;

/// The own key and the rules that its tokens must keep.
pub(super) struct OwnKey {
    key: DecodingKey,
    rules: Validation,
    /// Tokens that were good, by their SHA-256: nothing but time and a revocation makes them bad,
    /// and to check a signature again costs more than all else about a caller.
    known: moka::sync::Cache<[u8; 32], Arc<Vouched>>,
}

impl OwnKey {
    pub(super) fn new(key: &SigningKey) -> OwnKey {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_issuer(&[OWN_ISSUER]);
        // The library would take a token for another minute after its end.
        rules.leeway = 0;
        rules.set_required_spec_claims(&["exp", "iss"]);
        let known = moka::sync::Cache::new(KNOWN_MAX);
        OwnKey { key: DecodingKey::from_secret(&key.0), rules, known }
    }

    /// A token that was good before and whose time is not over.
    pub(super) fn known(&self, token: &str) -> Option<Arc<Vouched>> {
        let vouched = self.known.get(&name_of(token))?;
        let now_s =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |age| age.as_secs());
        vouched.grant.expires_s.is_some_and(|end_s| now_s < end_s).then_some(vouched)
    }

    /// What a token grants, by its signature and its time alone.
    pub(super) fn judge(&self, token: &str) -> Result<Arc<Vouched>, Refusal> {
        let claims = decode::<Claims>(token, &self.key, &self.rules).map_err(|error| {
            Refusal::Bad(match error.kind() {
                ErrorKind::ExpiredSignature => "it has expired",
                ErrorKind::InvalidSignature => "its signature does not match this node's key",
                ErrorKind::InvalidIssuer => "it was not issued by headwater",
                ErrorKind::InvalidAlgorithm => "it is not signed with HS256",
                _ => "it is not a headwater token",
            })
        })?;
        let Claims { tenant, project, user, models, tier, jti, exp, .. } = claims.claims;
        let expires_s = Some(exp);
        let grant = Grant { tenant, project, user, models, tier, key_id: None, expires_s };
        let issuer = OWN_ISSUER.to_owned();
        let vouched = Arc::new(Vouched { grant: Arc::new(grant), issuer, token_id: jti });
        self.known.insert(name_of(token), Arc::clone(&vouched));
        Ok(vouched)
    }
}

fn name_of(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// Issuer, id and end (in s since 1970) that a token claims, whoever signed it. Only to name it,
/// never to let it in.
pub(crate) fn token_names(token: &str) -> Option<(String, String, u64)> {
    #[derive(Deserialize)]
    struct Names {
        iss: String,
        jti: String,
        exp: u64,
    }
    let Names { iss, jti, exp } = insecure_decode_claims(token).ok()?;
    Some((iss, jti, exp))
}
