//! Tokens of outside issuers: which keys and claims are good, and how keys change.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::world::{PLAIN, Setup, World, request};
use crate::{ClaimNames, Issuer, IssuerSettings, KeySet, SignatureAlgorithm};

const ISSUER: &str = "https://id.example/realm";
const AUDIENCE: &str = "headwater-gateway";
/// Ahead of the key itself in PKCS #8 of an RSA key of 2048 bits.
const PKCS8_HEAD: usize = 26;

/// Somebody who signs.
struct Signer {
    id: &'static str,
    algorithm: Algorithm,
    key: EncodingKey,
    /// The public half of an Ed25519 key, which the library does not tell.
    edwards: Option<String>,
}

impl Signer {
    fn new(id: &'static str, algorithm: Algorithm) -> Signer {
        let random = SystemRandom::new();
        let mut edwards = None;
        let key = match algorithm {
            Algorithm::ES256 => {
                let signing = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let key = EcdsaKeyPair::generate_pkcs8(signing, &random).expect("a key");
                EncodingKey::from_ec_der(key.as_ref())
            }
            Algorithm::ES384 => {
                let signing = &ECDSA_P384_SHA384_FIXED_SIGNING;
                let key = EcdsaKeyPair::generate_pkcs8(signing, &random).expect("a key");
                EncodingKey::from_ec_der(key.as_ref())
            }
            Algorithm::EdDSA => {
                let key = Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
                let pair = Ed25519KeyPair::from_pkcs8(key.as_ref()).expect("the same key");
                edwards = Some(URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()));
                EncodingKey::from_ed_der(key.as_ref())
            }
            _ => {
                let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
                let pkcs8 = key.as_der().expect("DER");
                EncodingKey::from_rsa_der(&pkcs8.as_ref()[PKCS8_HEAD..])
            }
        };
        Signer { id, algorithm, key, edwards }
    }

    /// The public half, without a word on what it may be used for.
    fn public(&self) -> Value {
        let mut jwk = match &self.edwards {
            Some(x) => json!({"kty": "OKP", "crv": "Ed25519", "x": x}),
            None => {
                let jwk = Jwk::from_encoding_key(&self.key, self.algorithm);
                serde_json::to_value(jwk.expect("a public half")).expect("JSON")
            }
        };
        jwk["kid"] = json!(self.id);
        jwk.as_object_mut().expect("an object").remove("alg");
        jwk
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_as(self.algorithm, Some(self.id), claims)
    }

    fn sign_as(&self, algorithm: Algorithm, id: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: id.map(str::to_owned), ..Header::new(algorithm) };
        encode(&header, claims, &self.key).expect("signs")
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "auth0|7f3a", "exp": now_s() + 600,
        "nbf": now_s() - 5, "team": "acme", "project": "search", "models": [PLAIN],
    })
}

fn with(field: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => claims.as_object_mut().expect("an object").remove(field),
        value => claims.as_object_mut().expect("an object").insert(field.to_owned(), value),
    };
    claims
}

fn settings() -> IssuerSettings {
    let algorithms = [
        SignatureAlgorithm::Rs256,
        SignatureAlgorithm::Rs384,
        SignatureAlgorithm::Ps256,
        SignatureAlgorithm::Es256,
        SignatureAlgorithm::Es384,
        SignatureAlgorithm::EdDsa,
    ];
    IssuerSettings {
        issuer: ISSUER.to_owned(),
        audiences: vec![AUDIENCE.to_owned()],
        algorithms: BTreeSet::from(algorithms),
        claims: ClaimNames::default(),
        leeway_s: 0,
        teams: vec!["acme".to_owned(), "beta".to_owned()],
        default_models: Vec::new(),
        default_tier: "standard".to_owned(),
        operators: false,
    }
}

fn set(keys: &KeySet, signers: &[&Signer]) {
    let listed: Vec<Value> = signers.iter().map(|signer| signer.public()).collect();
    let document = json!({ "keys": listed }).to_string();
    assert_eq!(keys.replace(document.as_bytes()), Ok(signers.len()));
}

async fn world(settings: IssuerSettings, keys: &KeySet) -> World {
    let issuers = vec![Issuer::new(settings, keys.clone())];
    World::with(Setup { issuers, ..Setup::default() }).await
}

async fn refusal(world: &World, token: &str) -> Option<String> {
    let body = json!({"model": PLAIN, "input": "one"}).to_string();
    let header = format!("Bearer {token}");
    let answer = world.send(request("POST", "/v1/embeddings", Some(&header), body)).await;
    if answer.status == 200 {
        return None;
    }
    answer.is_error(401, "invalid_api_key", None, &["the token is not valid"]);
    assert!(token.is_empty() || !answer.text().contains(token), "the token is echoed");
    Some(answer.json()["error"]["message"].as_str().expect("a message").to_owned())
}

async fn check(world: &World, name: &str, token: &str, reason: Option<&str>) {
    match (refusal(world, token).await, reason) {
        (None, None) => {}
        (Some(said), Some(reason)) => assert!(said.contains(reason), "{name}: {said}"),
        (said, _) => panic!("{name}: {said:?}"),
    }
}

#[tokio::test]
async fn an_algorithm_is_good_with_a_key_of_its_own_type_alone() {
    let keys = KeySet::new(60_000);
    let world = world(settings(), &keys).await;
    let signers = [
        Signer::new("rsa", Algorithm::RS256),
        Signer::new("p256", Algorithm::ES256),
        Signer::new("p384", Algorithm::ES384),
        Signer::new("ed", Algorithm::EdDSA),
    ];
    set(&keys, &signers.iter().collect::<Vec<_>>());
    keys.tried();
    for signer in &signers {
        check(&world, signer.id, &signer.sign(&claims()), None).await;
        let by_none = signer.sign_as(signer.algorithm, None, &claims());
        check(&world, "one key of the type, and none named", &by_none, None).await;
        for other in &signers {
            let named = signer.sign_as(signer.algorithm, Some(other.id), &claims());
            let reason = (other.id != signer.id).then_some("no key of its issuer");
            check(&world, &format!("{} as {}", signer.id, other.id), &named, reason).await;
        }
    }
    let [rsa, p256, ..] = &signers;
    for (algorithm, reason) in [
        (Algorithm::RS384, None),
        (Algorithm::PS256, None),
        (Algorithm::RS512, Some("may not use")),
        (Algorithm::PS384, Some("may not use")),
    ] {
        let token = rsa.sign_as(algorithm, Some("rsa"), &claims());
        check(&world, &format!("{algorithm:?}"), &token, reason).await;
    }
    // A public key as the shared secret of HS256: the classic forgery.
    let public = rsa.public();
    let modulus = public["n"].as_str().expect("a modulus").as_bytes();
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let header = Header { kid: Some("rsa".to_owned()), ..Header::new(algorithm) };
        let forged = encode(&header, &claims(), &EncodingKey::from_secret(modulus)).expect("signs");
        let said = refusal(&world, &forged).await.expect("is refused");
        assert!(said.contains("this node's key") || said.contains("HS256"), "{said}");
    }
    let stranger = Signer::new("rsa", Algorithm::RS256);
    check(&world, "another's key", &stranger.sign(&claims()), Some("does not match")).await;
    let cut = p256.sign(&claims());
    let (head, _) = cut.rsplit_once('.').expect("three parts");
    check(&world, "no signature", &format!("{head}."), Some("does not match")).await;
}

#[tokio::test]
async fn claims_become_a_grant_or_are_refused_with_the_reason() {
    let keys = KeySet::new(60_000);
    let world = world(settings(), &keys).await;
    let signer = Signer::new("one", Algorithm::ES256);
    set(&keys, &[&signer]);
    let table = [
        ("good", claims(), None),
        ("several audiences", with("aud", json!(["other", AUDIENCE])), None),
        ("no project", with("project", Value::Null), None),
        ("models as a text", with("models", json!(format!("x {PLAIN}"))), None),
        ("expired", with("exp", json!(now_s() - 1)), Some("expired")),
        ("no end", with("exp", Value::Null), Some("lacks exp")),
        ("not yet", with("nbf", json!(now_s() + 60)), Some("not begun")),
        ("another audience", with("aud", json!("other")), Some("another audience")),
        ("no audience", with("aud", Value::Null), Some("lacks exp, iss or aud")),
        ("another issuer", with("iss", json!("https://evil.example")), Some("not known")),
        ("our own issuer", with("iss", json!("headwater")), Some("not known")),
        ("no issuer", with("iss", Value::Null), Some("not a headwater token")),
        ("no team", with("team", Value::Null), Some("the team")),
        ("a team that is no name", with("team", json!("a/b")), Some("the team")),
        ("a team that is no text", with("team", json!(7)), Some("should be a text")),
        ("a team of somebody else", with("team", json!("gamma")), Some("may not speak for")),
        ("a bad project", with("project", json!("a b")), Some("the project")),
        ("a bad user", with("sub", json!("a b")), Some("the user")),
        ("no models", with("models", Value::Null), Some("names no models")),
        ("models of another form", with("models", json!({"a": 1})), Some("no list")),
        ("an operator", with("tier", json!("operator")), Some("may not make operators")),
    ];
    for (name, claims, reason) in table {
        check(&world, name, &signer.sign(&claims), reason).await;
    }
    let header = Header {
        kid: Some("one".to_owned()),
        crit: Some(vec!["b64".to_owned()]),
        ..Header::new(Algorithm::ES256)
    };
    let critical = encode(&header, &claims(), &signer.key).expect("signs");
    check(&world, "an unknown demand", &critical, Some("extensions")).await;
}

#[tokio::test]
async fn claims_are_found_where_the_settings_say() {
    let keys = KeySet::new(60_000);
    let names = ClaimNames {
        team: "https://example.com/team".to_owned(),
        project: "/app/project".to_owned(),
        user: "email".to_owned(),
        models: "scope".to_owned(),
        tier: "/roles/0".to_owned(),
    };
    let settings = IssuerSettings {
        claims: names,
        leeway_s: 60,
        operators: true,
        default_models: vec!["*".to_owned()],
        ..settings()
    };
    let world = world(settings, &keys).await;
    let signer = Signer::new("one", Algorithm::RS256);
    set(&keys, &[&signer]);
    let claims = |models: Value| {
        json!({
            "iss": ISSUER, "aud": AUDIENCE, "exp": now_s() - 30, "email": "ada@example.com",
            "https://example.com/team": "beta", "app": {"project": "search"},
            "roles": ["operator"], "scope": models, "jti": "token-1",
        })
    };
    let header = format!("Bearer {}", signer.sign(&claims(json!(null))));
    let keys_route = world.send(request("GET", "/v1/keys", Some(&header), "")).await;
    assert_eq!(keys_route.status, 200, "{}", keys_route.text());
    check(&world, "models by scope", &signer.sign(&claims(json!(PLAIN))), None).await;
    let revoke = json!({"issuer": ISSUER, "jti": "token-1"}).to_string();
    world.send(request("POST", "/v1/tokens/revoke", Some(&header), revoke)).await.ok();
    let reason = Some("it was revoked");
    check(&world, "revoked by jti", &signer.sign(&claims(json!(PLAIN))), reason).await;
}

#[tokio::test]
async fn an_unknown_key_is_fetched_once_and_a_removed_one_is_refused() {
    let keys = KeySet::new(100);
    let world = world(settings(), &keys).await;
    let (old, new) = (Signer::new("old", Algorithm::ES256), Signer::new("new", Algorithm::ES256));
    set(&keys, &[&old]);
    let fetching = {
        let (keys, signers) = (keys.clone(), [new.public(), old.public()]);
        tokio::spawn(async move {
            let mut fetched = 0;
            loop {
                keys.wanted().await;
                fetched += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
                let document = json!({ "keys": signers }).to_string();
                keys.replace(document.as_bytes()).expect("good");
                keys.tried();
                if fetched == 2 {
                    return fetched;
                }
            }
        })
    };
    let token = new.sign(&claims());
    let all = (0..8).map(|_| refusal(&world, &token));
    for refused in join(all).await {
        assert_eq!(refused, None, "all wait for the one fetch");
    }
    assert!(!fetching.is_finished(), "one fetch was enough for all");
    // An invented key is asked for at most once in the pause.
    let invented = new.sign_as(Algorithm::ES256, Some("invented"), &claims());
    check(&world, "invented", &invented, Some("no key of its issuer")).await;
    assert!(!fetching.is_finished(), "asked again too soon");
    tokio::time::sleep(Duration::from_millis(150)).await;
    check(&world, "invented", &invented, Some("no key of its issuer")).await;
    assert_eq!(fetching.await.expect("ends"), 2);

    // What a fetch that fails leaves stays; what a good one lacks is gone.
    assert!(keys.replace(b"<html>").is_err() && keys.replace(b"{}").is_err());
    check(&world, "kept", &old.sign(&claims()), None).await;
    set(&keys, &[&new]);
    keys.tried();
    check(&world, "gone", &old.sign(&claims()), Some("no key of its issuer")).await;
    check(&world, "stays", &token, None).await;
}

async fn join<T: Send + 'static>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = futures.map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        waiting.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Ready(value) => {
                done.push(value);
                false
            }
            std::task::Poll::Pending => true,
        });
        match waiting.is_empty() {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    done
}

#[test]
fn keys_that_may_not_check_signatures_are_left_out() {
    let signer = Signer::new("one", Algorithm::ES256);
    let with = |field: &str, value: Value| {
        let mut jwk = signer.public();
        jwk[field] = value;
        jwk
    };
    let weak = {
        let mut jwk = Signer::new("rsa", Algorithm::RS256).public();
        jwk["n"] = json!("sXchDaQebHnPiGvyDOAT4saGEUetSyo9MKLOoWFsueri23bOdgWp4Dy1Wl");
        jwk
    };
    let table = [
        ("as it is", signer.public(), 1),
        ("for signatures", with("use", json!("sig")), 1),
        ("for encryption", with("use", json!("enc")), 0),
        ("to verify", with("key_ops", json!(["verify"])), 1),
        ("to sign", with("key_ops", json!(["sign"])), 0),
        ("its algorithm", with("alg", json!("ES256")), 1),
        ("another algorithm", with("alg", json!("ES384")), 0),
        ("a shared secret's algorithm", with("alg", json!("HS256")), 0),
        ("another curve", with("crv", json!("secp256k1")), 0),
        ("a shared secret", json!({"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "x"}), 0),
        ("a short RSA key", weak, 0),
        ("nothing", json!({}), 0),
        ("no object", json!(7), 0),
    ];
    for (name, jwk, usable) in table {
        let document = json!({ "keys": [jwk] }).to_string();
        assert_eq!(KeySet::new(1).replace(document.as_bytes()), Ok(usable), "{name}");
    }
}
