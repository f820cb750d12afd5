//! Tokens of outside issuers: JWTs whose signatures are checked with the issuer's published keys.

use std::collections::BTreeSet;
use std::sync::Arc;

use headwater_actors::identity::{is_name, is_user_name};
use jsonwebtoken::dangerous::insecure_decode_claims;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation, decode};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::authority::{Refusal, Vouched};
use super::grant::Grant;
use super::key_set::KeySet;

/// How an outside issuer may sign. A shared secret is no choice: whoever can check such a token
/// can make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignatureAlgorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl SignatureAlgorithm {
    pub(super) fn of(algorithm: Algorithm) -> Option<SignatureAlgorithm> {
        Some(match algorithm {
            Algorithm::RS256 => SignatureAlgorithm::Rs256,
            Algorithm::RS384 => SignatureAlgorithm::Rs384,
            Algorithm::RS512 => SignatureAlgorithm::Rs512,
            Algorithm::PS256 => SignatureAlgorithm::Ps256,
            Algorithm::PS384 => SignatureAlgorithm::Ps384,
            Algorithm::PS512 => SignatureAlgorithm::Ps512,
            Algorithm::ES256 => SignatureAlgorithm::Es256,
            Algorithm::ES384 => SignatureAlgorithm::Es384,
            Algorithm::EdDSA => SignatureAlgorithm::EdDsa,
            // A shared secret, or what this build does not know.
            _ => return None,
        })
    }
}

/// Where a token's claims hold what a grant needs: a claim's name, or a JSON pointer that starts
/// with `/` for one inside another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimNames {
    pub team: String,
    pub project: String,
    pub user: String,
    /// A list of names, or one text with spaces between them.
    pub models: String,
    pub tier: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        ClaimNames {
            team: "team".to_owned(),
            project: "project".to_owned(),
            user: "sub".to_owned(),
            models: "models".to_owned(),
            tier: "tier".to_owned(),
        }
    }
}

/// What is expected of an issuer's tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerSettings {
    /// The claim `iss`, to the letter.
    pub issuer: String,
    /// The claim `aud` must name one of these.
    pub audiences: Vec<String>,
    pub algorithms: BTreeSet<SignatureAlgorithm>,
    pub claims: ClaimNames,
    /// For how long a token is taken before its beginning and after its end, in s: clocks differ.
    pub leeway_s: u64,
    /// Teams that the issuer may speak for; `*` for all.
    pub teams: Vec<String>,
    /// Models of a token that names none; without any such a token is refused.
    pub default_models: Vec<String>,
    /// The tier of a token that names none.
    pub default_tier: String,
    /// Whether the issuer may make operators.
    pub operators: bool,
}

/// An outside issuer and its keys.
pub struct Issuer {
    settings: IssuerSettings,
    keys: KeySet,
}

/// The issuer that a token claims, which says whose rules to check it by.
pub(super) fn claimed_issuer(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claimed {
        iss: String,
    }
    insecure_decode_claims::<Claimed>(token).ok().map(|claimed| claimed.iss)
}

impl Issuer {
    /// The keys come in through `keys`, from whoever fetches them.
    pub fn new(settings: IssuerSettings, keys: KeySet) -> Issuer {
        Issuer { settings, keys }
    }

    pub(super) fn name(&self) -> &str {
        &self.settings.issuer
    }

    pub(super) async fn judge(
        &self,
        token: &str,
        header: &Header,
    ) -> Result<Arc<Vouched>, Refusal> {
        let settings = &self.settings;
        let algorithm = SignatureAlgorithm::of(header.alg)
            .filter(|algorithm| settings.algorithms.contains(algorithm));
        let algorithm =
            algorithm.ok_or(Refusal::Bad("it is signed in a way that its issuer may not use"))?;
        if header.crit.as_ref().is_some_and(|names| !names.is_empty()) {
            return Err(Refusal::Bad("it demands extensions that this node does not know"));
        }
        let key = self.keys.find(header.kid.as_deref(), algorithm).await;
        let key = key.ok_or(Refusal::Bad("no key of its issuer fits its signature"))?;
        let mut rules = Validation::new(header.alg);
        rules.set_issuer(&[&settings.issuer]);
        rules.set_audience(&settings.audiences);
        rules.set_required_spec_claims(&["exp", "iss", "aud"]);
        rules.leeway = settings.leeway_s;
        rules.validate_nbf = true;
        let claims = decode::<Map<String, Value>>(token, &key.key, &rules);
        let claims = claims.map_err(|error| {
            Refusal::Bad(match error.kind() {
                ErrorKind::ExpiredSignature => "it has expired",
                ErrorKind::ImmatureSignature => "its time has not begun",
                ErrorKind::InvalidSignature => "its signature does not match its issuer's key",
                ErrorKind::InvalidAudience => "it is meant for another audience",
                ErrorKind::InvalidIssuer => "its issuer is not known to this node",
                ErrorKind::MissingRequiredClaim(_) => "it lacks exp, iss or aud",
                _ => "it is not a token of its issuer",
            })
        })?;
        self.grant(Value::Object(claims.claims)).map(Arc::new)
    }

    fn grant(&self, claims: Value) -> Result<Vouched, Refusal> {
        let (settings, names) = (&self.settings, &self.settings.claims);
        let tenant = text(&claims, &names.team)?.filter(|team| is_name(team));
        let tenant = tenant.ok_or(Refusal::Bad("its claim for the team is missing or no name"))?;
        if !settings.teams.iter().any(|team| team == "*" || *team == tenant) {
            return Err(Refusal::Bad("its issuer may not speak for its team"));
        }
        let project = text(&claims, &names.project)?;
        if project.as_deref().is_some_and(|project| !is_name(project)) {
            return Err(Refusal::Bad("its claim for the project is no name"));
        }
        let user = text(&claims, &names.user)?;
        if user.as_deref().is_some_and(|user| !is_user_name(user)) {
            return Err(Refusal::Bad("its claim for the user is no name"));
        }
        let tier = text(&claims, &names.tier)?.unwrap_or_else(|| settings.default_tier.clone());
        if !is_name(&tier) {
            return Err(Refusal::Bad("its claim for the tier is no name"));
        }
        let models = match find(&claims, &names.models) {
            None => settings.default_models.clone(),
            Some(claim) => listed(claim).ok_or(Refusal::Bad("its claim for models is no list"))?,
        };
        if models.is_empty() {
            return Err(Refusal::Bad("it names no models"));
        }
        let expires_s = claims.get("exp").and_then(Value::as_u64);
        let grant = Grant { tenant, project, user, models, tier, key_id: None, expires_s };
        if grant.is_operator() && !settings.operators {
            return Err(Refusal::Bad("its issuer may not make operators"));
        }
        let token_id = claims.get("jti").and_then(Value::as_str).map(str::to_owned);
        Ok(Vouched { grant: Arc::new(grant), issuer: settings.issuer.clone(), token_id })
    }
}

fn find<'a>(claims: &'a Value, name: &str) -> Option<&'a Value> {
    let found = if name.starts_with('/') { claims.pointer(name) } else { claims.get(name) };
    found.filter(|value| !value.is_null())
}

fn text(claims: &Value, name: &str) -> Result<Option<String>, Refusal> {
    match find(claims, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Refusal::Bad("a claim that should be a text is none")),
    }
}

/// Names from a list, or from a text with spaces between them.
fn listed(claim: &Value) -> Option<Vec<String>> {
    match claim {
        Value::String(text) => Some(text.split_whitespace().map(str::to_owned).collect()),
        Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}
