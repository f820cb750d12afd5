//! The settings of identity: the node's own key, outside issuers, and how long keys outlive the
//! store's silence.

use std::path::PathBuf;

use headwater_edge::{ClaimNames, IssuerSettings, SignatureAlgorithm};
use serde::Deserialize;

use super::{Nonsense, Settings};

/// Longest time that keys may be good without word from the store, in ms: a day.
const STALE_MS_MAX: u64 = 24 * 60 * 60 * 1000;
const LEEWAY_S_MAX: u64 = 600;

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthSettings {
    /// File with the key that signs tokens; without it and without issuers the node is open and
    /// binds loopback only.
    pub key_file: Option<PathBuf>,
    /// For how long virtual keys, and tokens that can be revoked, are good while this node does
    /// not hear from the store, in ms. It bounds how late a revocation may be in an outage.
    pub stale_ms: u64,
    /// Outside issuers whose tokens are taken.
    pub issuers: Vec<IssuerSection>,
}

impl Default for AuthSettings {
    fn default() -> Self {
        AuthSettings { key_file: None, stale_ms: 60_000, issuers: Vec::new() }
    }
}

impl AuthSettings {
    /// Whether nobody is asked who they are.
    pub(crate) fn is_open(&self) -> bool {
        self.key_file.is_none() && self.issuers.is_empty()
    }
}

/// How an issuer may sign: with a key whose other half it keeps to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SignatureName {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl From<SignatureName> for SignatureAlgorithm {
    fn from(name: SignatureName) -> SignatureAlgorithm {
        match name {
            SignatureName::Rs256 => SignatureAlgorithm::Rs256,
            SignatureName::Rs384 => SignatureAlgorithm::Rs384,
            SignatureName::Rs512 => SignatureAlgorithm::Rs512,
            SignatureName::Ps256 => SignatureAlgorithm::Ps256,
            SignatureName::Ps384 => SignatureAlgorithm::Ps384,
            SignatureName::Ps512 => SignatureAlgorithm::Ps512,
            SignatureName::Es256 => SignatureAlgorithm::Es256,
            SignatureName::Es384 => SignatureAlgorithm::Es384,
            SignatureName::EdDsa => SignatureAlgorithm::EdDsa,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerSection {
    /// The claim `iss`, to the letter.
    pub issuer: String,
    /// The claim `aud` must name one of these.
    pub audience: Vec<String>,
    /// Where the issuer publishes its keys: https, or http on this machine.
    pub jwks_url: Option<String>,
    /// A file with them, in place of an address; read again as often.
    pub jwks_file: Option<PathBuf>,
    #[serde(default = "algorithms")]
    pub algorithms: Vec<SignatureName>,
    /// Names of claims; one that starts with `/` is a JSON pointer.
    #[serde(default = "team")]
    pub team_claim: String,
    #[serde(default = "project")]
    pub project_claim: String,
    #[serde(default = "user")]
    pub user_claim: String,
    #[serde(default = "models")]
    pub models_claim: String,
    #[serde(default = "tier")]
    pub tier_claim: String,
    /// For how long a token is taken before its beginning and after its end, in s.
    #[serde(default = "leeway_s")]
    pub leeway_s: u64,
    /// Teams that it may speak for; `*` for all.
    pub teams: Vec<String>,
    /// Models of a token that names none; without any such a token is refused.
    #[serde(default)]
    pub default_models: Vec<String>,
    #[serde(default = "standard")]
    pub default_tier: String,
    /// Whether it may make operators.
    #[serde(default)]
    pub operators: bool,
    /// How often its keys are fetched, in ms.
    #[serde(default = "refresh_ms")]
    pub refresh_ms: u64,
    /// Shortest time between fetches for tokens with unknown keys, in ms.
    #[serde(default = "unknown_key_pause_ms")]
    pub unknown_key_pause_ms: u64,
}

fn algorithms() -> Vec<SignatureName> {
    vec![SignatureName::Rs256, SignatureName::Es256]
}

fn team() -> String {
    ClaimNames::default().team
}

fn project() -> String {
    ClaimNames::default().project
}

fn user() -> String {
    ClaimNames::default().user
}

fn models() -> String {
    ClaimNames::default().models
}

fn tier() -> String {
    ClaimNames::default().tier
}

fn leeway_s() -> u64 {
    30
}

fn standard() -> String {
    "standard".to_owned()
}

fn refresh_ms() -> u64 {
    300_000
}

fn unknown_key_pause_ms() -> u64 {
    10_000
}

impl IssuerSection {
    /// As the edge takes it.
    pub(crate) fn settings(&self) -> IssuerSettings {
        IssuerSettings {
            issuer: self.issuer.clone(),
            audiences: self.audience.clone(),
            algorithms: self.algorithms.iter().copied().map(SignatureAlgorithm::from).collect(),
            claims: ClaimNames {
                team: self.team_claim.clone(),
                project: self.project_claim.clone(),
                user: self.user_claim.clone(),
                models: self.models_claim.clone(),
                tier: self.tier_claim.clone(),
            },
            leeway_s: self.leeway_s,
            teams: self.teams.clone(),
            default_models: self.default_models.clone(),
            default_tier: self.default_tier.clone(),
            operators: self.operators,
        }
    }

    /// What makes no sense, and in which field.
    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.issuer.is_empty() || self.issuer == headwater_edge::OWN_ISSUER {
            return Err(("issuer", "must be there, and not headwater, which is this node's own"));
        }
        if self.audience.is_empty() {
            return Err(("audience", "is empty; name who its tokens for this platform are for"));
        }
        match (&self.jwks_url, &self.jwks_file) {
            (Some(url), None) if !is_safe(url) => {
                return Err((
                    "jwks_url",
                    "must start with https://, or http://127.0.0.1, http://[::1] or \
                     http://localhost: whoever changes the keys on their way may be anybody",
                ));
            }
            (Some(_), None) | (None, Some(_)) => {}
            _ => return Err(("jwks_url", "must be there, or jwks_file, and not both")),
        }
        if self.algorithms.is_empty() {
            return Err(("algorithms", "is empty; name at least one, for example RS256"));
        }
        if self.teams.is_empty() {
            return Err(("teams", "is empty; name the teams that it may speak for, or `*`"));
        }
        if self.leeway_s > LEEWAY_S_MAX {
            return Err(("leeway_s", "must be 0 to 600"));
        }
        for (field, value) in
            [("refresh_ms", self.refresh_ms), ("unknown_key_pause_ms", self.unknown_key_pause_ms)]
        {
            if value == 0 {
                return Err((field, "is 0; it must be at least 1"));
            }
        }
        Ok(())
    }
}

/// Whether nobody can change what comes from there.
fn is_safe(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    let here = ["localhost", "127.0.0.1", "[::1]"];
    match url.scheme() {
        "https" => true,
        "http" => url.host_str().is_some_and(|host| here.contains(&host)),
        _ => false,
    }
}

impl Settings {
    /// Checks what types cannot say of identity.
    pub(super) fn check_auth(&self) -> Result<(), Nonsense> {
        let fail = |key: &str, problem: String| {
            let key = key.split('.').map(str::to_owned);
            Err(Nonsense { key: std::iter::once("auth".to_owned()).chain(key).collect(), problem })
        };
        if !(1_000..=STALE_MS_MAX).contains(&self.auth.stale_ms) {
            let given_ms = self.auth.stale_ms;
            return fail("stale_ms", format!("is {given_ms}; it must be 1000 to {STALE_MS_MAX}"));
        }
        let mut names = std::collections::BTreeSet::new();
        for (place, issuer) in self.auth.issuers.iter().enumerate() {
            if let Err((field, problem)) = issuer.check() {
                return fail(&format!("issuers.{place}.{field}"), problem.to_owned());
            }
            if !names.insert(&issuer.issuer) {
                let problem = "is there twice; give each issuer once".to_owned();
                return fail(&format!("issuers.{place}.issuer"), problem);
            }
        }
        Ok(())
    }
}
