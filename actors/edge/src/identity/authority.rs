//! Who decides what a request's token or key grants.

use std::sync::Arc;

use headwater_actors::identity::{IdentityHandle, KeyRefusal, is_virtual_key};
use jsonwebtoken::{Algorithm, decode_header};

use super::grant::Grant;
use super::issuer::{Issuer, claimed_issuer};
use super::signing::{OwnKey, SigningKey};

/// Everyone who may vouch for a caller: the node's own key, outside issuers, virtual keys.
#[derive(Default)]
pub struct Authority {
    own: Option<OwnKey>,
    issuers: Vec<Issuer>,
    keys: Option<IdentityHandle>,
}

/// A token that its issuer stands for, before it is known whether it was revoked.
pub(super) struct Vouched {
    pub(super) grant: Arc<Grant>,
    pub(super) issuer: String,
    /// Its `jti`; one without cannot be revoked.
    pub(super) token_id: Option<String>,
}

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Missing,
    Bad(&'static str),
    /// This node cannot tell now.
    Unsure,
}

impl Authority {
    /// Everyone may do everything, until a key or an issuer is named. Only for a node that listens
    /// on loopback.
    pub fn open() -> Authority {
        Authority::default()
    }

    /// Tokens signed with this key.
    pub fn signed(key: &SigningKey) -> Authority {
        Authority { own: Some(OwnKey::new(key)), ..Authority::default() }
    }

    /// And those of these issuers.
    pub fn with_issuers(self, issuers: Vec<Issuer>) -> Authority {
        Authority { issuers, ..self }
    }

    /// And virtual keys, and word of what was revoked.
    pub fn with_keys(self, keys: IdentityHandle) -> Authority {
        Authority { keys: Some(keys), ..self }
    }

    fn is_open(&self) -> bool {
        self.own.is_none() && self.issuers.is_empty()
    }

    /// What the `Authorization` header or the `x-api-key` header grants, or why it grants nothing.
    /// `None` stands for a missing header.
    pub(crate) async fn judge(
        &self,
        header: Option<&str>,
        api_key: Option<&str>,
    ) -> Result<Arc<Grant>, Refusal> {
        let token = match presented(header, api_key) {
            // Clients that must send something may send anything to an open node.
            Ok(token) if self.is_open() && !is_virtual_key(token) => {
                return Ok(Arc::new(Grant::local()));
            }
            Err(_) if self.is_open() => return Ok(Arc::new(Grant::local())),
            token => token?,
        };
        if is_virtual_key(token) {
            return self.judge_key(token).map(Arc::new);
        }
        let vouched = self.judge_token(token).await?;
        if let (Some(keys), Some(id)) = (&self.keys, &vouched.token_id) {
            match keys.is_token_revoked(&vouched.issuer, id) {
                Ok(false) => {}
                Ok(true) => return Err(Refusal::Bad("it was revoked")),
                Err(_) => return Err(Refusal::Unsure),
            }
        }
        Ok(Arc::clone(&vouched.grant))
    }

    fn judge_key(&self, key: &str) -> Result<Grant, Refusal> {
        let keys = self.keys.as_ref().ok_or(Refusal::Bad("this node knows no virtual keys"))?;
        let known = keys.find(key).map_err(|refusal| match refusal {
            KeyRefusal::Malformed => Refusal::Bad("it is not a whole virtual key"),
            KeyRefusal::Unknown => Refusal::Bad("there is no such key, or it was revoked"),
            KeyRefusal::Expired => Refusal::Bad("it has expired"),
            KeyRefusal::Stale(_) => Refusal::Unsure,
        })?;
        Ok(Grant::of_key(&known))
    }

    async fn judge_token(&self, token: &str) -> Result<Arc<Vouched>, Refusal> {
        if let Some(known) = self.own.as_ref().and_then(|own| own.known(token)) {
            return Ok(known);
        }
        let no_token = Refusal::Bad("it is not a headwater token");
        let foreign = |algorithm: Algorithm| {
            let is_shared_secret =
                matches!(algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512);
            // Whoever may check such a token could also sign it, so no outside issuer has them.
            !is_shared_secret && !self.issuers.is_empty()
        };
        match (decode_header(token), &self.own) {
            (Ok(header), _) if foreign(header.alg) => {
                let claimed = claimed_issuer(token).ok_or(no_token)?;
                let issuer = self.issuers.iter().find(|issuer| issuer.name() == claimed);
                let issuer = issuer.ok_or(Refusal::Bad("its issuer is not known to this node"))?;
                issuer.judge(token, &header).await
            }
            (_, Some(own)) => own.judge(token),
            _ => Err(no_token),
        }
    }
}

/// The one token or key that a request shows.
fn presented<'a>(header: Option<&'a str>, api_key: Option<&'a str>) -> Result<&'a str, Refusal> {
    let bearer = match header.map(|header| header.split_once(' ')) {
        None => None,
        Some(Some((scheme, token))) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim()),
        Some(_) => return Err(Refusal::Bad("the scheme is not Bearer")),
    };
    match (bearer, api_key.map(str::trim)) {
        // Which of two callers it is cannot be told.
        (Some(bearer), Some(key)) if bearer != key => {
            Err(Refusal::Bad("Authorization and x-api-key hold two different ones"))
        }
        (bearer, key) => bearer.or(key).ok_or(Refusal::Missing),
    }
}
