//! An issuer's public keys (JWKS), as they are now. Somebody else fetches them; a request that
//! meets an unknown key asks for that, and waits a little.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::issuer::SignatureAlgorithm;

/// How long a request waits for the keys to be fetched, in ms.
const WAIT_MS: u64 = 3_000;
/// Shortest RSA key, in bytes of its modulus: 2048 bits (RFC 7518, section 3.3).
const RSA_BYTES_MIN: usize = 256;

const RSA: &[SignatureAlgorithm] = &[
    SignatureAlgorithm::Rs256,
    SignatureAlgorithm::Rs384,
    SignatureAlgorithm::Rs512,
    SignatureAlgorithm::Ps256,
    SignatureAlgorithm::Ps384,
    SignatureAlgorithm::Ps512,
];

/// A key, and what it may be used for.
pub(super) struct PublicKey {
    id: Option<String>,
    algorithms: Vec<SignatureAlgorithm>,
    pub(super) key: DecodingKey,
}

/// Why a document is no set of keys; the keys of before stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeySetProblem {
    #[error("it is no JSON")]
    NoJson,
    #[error("it has no list `keys`")]
    NoKeys,
}

/// The keys of one issuer; cheap to clone.
#[derive(Clone)]
pub struct KeySet {
    shared: Arc<Shared>,
}

struct Shared {
    keys: RwLock<Arc<Vec<Arc<PublicKey>>>>,
    /// Rung when a request met a key that is not here.
    wanted: Notify,
    /// When the keys were last fetched, or tried to be.
    tried: watch::Sender<Option<Instant>>,
    /// Shortest time between two fetches that requests ask for.
    pause: Duration,
}

impl KeySet {
    /// Holds no keys yet. Requests ask for a fetch at most once in `pause_ms`, so that tokens with
    /// invented keys cannot be used to flood the issuer.
    pub fn new(pause_ms: u64) -> KeySet {
        let shared = Shared {
            keys: RwLock::default(),
            wanted: Notify::new(),
            tried: watch::channel(None).0,
            pause: Duration::from_millis(pause_ms),
        };
        KeySet { shared: Arc::new(shared) }
    }

    /// Takes the keys of this document in place of those of before, and returns how many are of
    /// use. What cannot check a signature is left out.
    ///
    /// # Errors
    /// [`KeySetProblem`]; the keys of before stay.
    pub fn replace(&self, document: &[u8]) -> Result<usize, KeySetProblem> {
        let document: Value =
            serde_json::from_slice(document).map_err(|_| KeySetProblem::NoJson)?;
        let listed = document.get("keys").and_then(Value::as_array);
        let listed = listed.ok_or(KeySetProblem::NoKeys)?;
        let keys: Vec<_> = listed.iter().filter_map(public_key).map(Arc::new).collect();
        let count = keys.len();
        *self.shared.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        Ok(count)
    }

    /// The names of the keys that are here and have one.
    pub fn ids(&self) -> Vec<String> {
        let keys = Arc::clone(&self.shared.keys.read().unwrap_or_else(PoisonError::into_inner));
        keys.iter().filter_map(|key| key.id.clone()).collect()
    }

    /// The fetch has ended, well or not: whoever waits looks again.
    pub fn tried(&self) {
        self.shared.tried.send_replace(Some(Instant::now()));
    }

    /// Ends when a request met a key that is not here.
    pub async fn wanted(&self) {
        self.shared.wanted.notified().await;
    }

    /// The key of a token that is signed so.
    pub(super) async fn find(
        &self,
        id: Option<&str>,
        algorithm: SignatureAlgorithm,
    ) -> Option<Arc<PublicKey>> {
        let mut tried = self.shared.tried.subscribe();
        if let Some(key) = self.look(id, algorithm) {
            return Some(key);
        }
        let may_ask = id.is_some()
            && tried.borrow_and_update().is_none_or(|at| at.elapsed() >= self.shared.pause);
        if may_ask {
            self.shared.wanted.notify_one();
            let fetched = timeout(Duration::from_millis(WAIT_MS), tried.changed());
            // In time or not: what is there now counts.
            let _ = fetched.await;
        }
        self.look(id, algorithm)
    }

    fn look(&self, id: Option<&str>, algorithm: SignatureAlgorithm) -> Option<Arc<PublicKey>> {
        let keys = Arc::clone(&self.shared.keys.read().unwrap_or_else(PoisonError::into_inner));
        let mut fitting = keys.iter().filter(|key| key.algorithms.contains(&algorithm));
        match id {
            Some(id) => fitting.find(|key| key.id.as_deref() == Some(id)).cloned(),
            // A token that names no key is good when there is no doubt which one it means.
            None => match (fitting.next(), fitting.next()) {
                (Some(only), None) => Some(Arc::clone(only)),
                _ => None,
            },
        }
    }
}

/// The key, if it may check signatures. What it may check hangs on its own type, never on what a
/// token says.
fn public_key(value: &Value) -> Option<PublicKey> {
    let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
    let is_for_signatures =
        jwk.common.public_key_use.as_ref().is_none_or(|given| *given == PublicKeyUse::Signature);
    let is_for_checks = jwk
        .common
        .key_operations
        .as_ref()
        .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    if !is_for_signatures || !is_for_checks {
        return None;
    }
    let by_type: &[SignatureAlgorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            let modulus = URL_SAFE_NO_PAD.decode(&rsa.n).ok()?;
            let length = modulus.iter().skip_while(|byte| **byte == 0).count();
            if length < RSA_BYTES_MIN {
                return None;
            }
            RSA
        }
        AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
            EllipticCurve::P256 => &[SignatureAlgorithm::Es256],
            EllipticCurve::P384 => &[SignatureAlgorithm::Es384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            &[SignatureAlgorithm::EdDsa]
        }
        _ => return None,
    };
    let mut algorithms = by_type.to_vec();
    if let Some(named) = jwk.common.key_algorithm {
        let named = allowed(named)?;
        algorithms.retain(|algorithm| *algorithm == named);
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    (!algorithms.is_empty()).then_some(PublicKey { id: jwk.common.key_id, algorithms, key })
}

fn allowed(named: KeyAlgorithm) -> Option<SignatureAlgorithm> {
    jsonwebtoken::Algorithm::try_from(named).ok().and_then(SignatureAlgorithm::of)
}
