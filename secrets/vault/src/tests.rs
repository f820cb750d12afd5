//! The adapter against a server that does what Vault's documentation says, and a real one.

mod real;
mod server;
mod silence;

use std::fs;
use std::path::PathBuf;

use headwater_secrets::{SecretError, SecretName, SecretSource, SecretValue};
use serde_json::json;
use tempfile::TempDir;

use crate::{AuthSettings, VaultSettings, VaultSource};
use server::{ROLE_ID, Server, Trouble};

/// Stands in every value, token and proof, so that a leak is found.
const CANARY: &str = "canary";

fn name(text: &str) -> SecretName {
    SecretName::new(text).unwrap()
}

fn settings(address: &str, auth: AuthSettings) -> VaultSettings {
    VaultSettings {
        address: address.to_owned(),
        mount: "secret".to_owned(),
        path: "{team}/{name}".to_owned(),
        field: "value".to_owned(),
        auth,
        namespace: None,
        ca_file: None,
        timeout_ms: 2_000,
        login_pause_ms: 60_000,
    }
}

fn approle(secret_id_file: PathBuf) -> AuthSettings {
    let mount = "approle".to_owned();
    AuthSettings::AppRole { role_id: ROLE_ID.to_owned(), secret_id_file, mount }
}

/// A folder with the proof `proof-canary`, and settings that use it.
fn proved(address: &str) -> (TempDir, VaultSettings) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("proof");
    fs::write(&file, "proof-canary\n").unwrap();
    (folder, settings(address, approle(file)))
}

async fn server() -> Server {
    let server = Server::start().await;
    server.state().proofs.insert("proof-canary".to_owned());
    server.put("acme/KEY", json!({ "value": "canary-1", "other": "canary-other" }));
    server
}

/// What a question gives: the value, or a part of the error's text, in which no canary stands.
async fn check(source: &VaultSource, team: &str, key: &str, expected: Result<&str, &str>) {
    let value = source.get(team, &name(key)).await;
    match (&value, expected) {
        (Ok(value), Ok(expected)) => assert_eq!(value.expose(), expected, "{team} {key}"),
        (Err(error), Err(expected)) => {
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(expected), "{team} {key}: {shown}");
            assert!(!shown.contains(CANARY), "{team} {key}: {shown}");
        }
        _ => panic!("{team} {key}: {value:?} in place of {expected:?}"),
    }
}

#[tokio::test]
async fn entries_are_read_as_they_are_now() {
    let server = server().await;
    let (_folder, settings) = proved(&server.address);
    let source = VaultSource::new(settings.clone()).unwrap();
    check(&source, "acme", "KEY", Ok("canary-1")).await;
    server.put("acme/KEY", json!({ "value": "canary-\"2\"\u{e9}\n" }));
    check(&source, "acme", "KEY", Ok("canary-\"2\"\u{e9}\n")).await;
    server.state().entries.get_mut("acme/KEY").unwrap().push(None);
    check(&source, "acme", "KEY", Err("team `acme` has no secret `KEY`")).await;
    check(&source, "acme", "OTHER", Err("has no secret")).await;
    check(&source, "other", "KEY", Err("has no secret")).await;
    server.put("acme/FIELD", json!({ "password": "canary" }));
    check(&source, "acme", "FIELD", Err("has no secret")).await;
    for data in [json!({"value": {"a": "canary"}}), json!({"value": 7}), json!({"value": ""})] {
        server.put("acme/NO_TEXT", data);
        check(&source, "acme", "NO_TEXT", Err("is empty or no text; store its value")).await;
    }
    server.put("a%20b%2525/KEY", json!({ "value": "canary-odd" }));
    check(&source, "a b%25", "KEY", Ok("canary-odd")).await;
    let seen = server.state().seen.len();
    for team in ["", "..", "a/b", "acme/KEY/..", "a\r\nb"] {
        check(&source, team, "KEY", Err("has no secret")).await;
    }
    check(&source, &"a".repeat(70_000), "KEY", Err("make no address")).await;
    assert_eq!(server.state().seen.len(), seen, "teams that are no part of a path ask nobody");
    assert_eq!(server.state().logins, 1, "one token serves all");

    server.put("apps/acme", json!({ "KEY": "canary-field" }));
    let (path, field) = ("apps/{team}".to_owned(), "{name}".to_owned());
    let source = VaultSource::new(VaultSettings { path, field, ..settings.clone() }).unwrap();
    check(&source, "acme", "KEY", Ok("canary-field")).await;
    check(&source, "acme", "OTHER", Err("has no secret")).await;
    let source = VaultSource::new(VaultSettings { mount: "kv".into(), ..settings }).unwrap();
    check(&source, "acme", "KEY", Err("nothing is mounted at `mount`")).await;
}

#[tokio::test]
async fn a_namespace_goes_with_each_request() {
    let server = server().await;
    server.state().namespace = Some("one/two".to_owned());
    let (_folder, settings) = proved(&server.address);
    let namespace = Some("one/two".to_owned());
    let source = VaultSource::new(VaultSettings { namespace, ..settings.clone() }).unwrap();
    check(&source, "acme", "KEY", Ok("canary-1")).await;
    let source = VaultSource::new(settings).unwrap();
    check(&source, "acme", "KEY", Err("refuses the login with status 404")).await;
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced_once() {
    let server = server().await;
    let (_folder, settings) = proved(&server.address);
    let source = VaultSource::new(settings).unwrap();
    let logins = |expected: usize| assert_eq!(server.state().logins, expected);
    server.put("acme/FORBIDDEN", json!({ "value": "canary" }));
    server.state().forbidden.insert("acme/FORBIDDEN".to_owned());
    check(&source, "acme", "FORBIDDEN", Err("may not read the secret `FORBIDDEN`")).await;
    logins(1);
    server.state().tokens.clear();
    check(&source, "acme", "KEY", Ok("canary-1")).await;
    logins(2);
    check(&source, "acme", "FORBIDDEN", Err("may not read")).await;
    logins(3);
    for _ in 0..3 {
        check(&source, "acme", "FORBIDDEN", Err("may not read")).await;
        check(&source, "acme", "KEY", Ok("canary-1")).await;
    }
    logins(3);
}

#[tokio::test]
async fn a_lease_ends_before_vault_ends_it() {
    let server = server().await;
    let (_folder, settings) = proved(&server.address);
    for (lease_s, expected) in [(0, 1), (u64::MAX, 1), (1, 2)] {
        server.state().lease_s = lease_s;
        server.state().logins = 0;
        let source = VaultSource::new(settings.clone()).unwrap();
        check(&source, "acme", "KEY", Ok("canary-1")).await;
        tokio::time::sleep(std::time::Duration::from_millis(900)).await;
        check(&source, "acme", "KEY", Ok("canary-1")).await;
        assert_eq!(server.state().logins, expected, "a lease of {lease_s} s");
    }
}

#[tokio::test]
async fn many_questions_are_one_login() {
    let server = server().await;
    let (_folder, settings) = proved(&server.address);
    let source = std::sync::Arc::new(VaultSource::new(settings).unwrap());
    let ask = || {
        let source = source.clone();
        tokio::spawn(async move { source.get("acme", &name("KEY")).await.is_ok() })
    };
    for expected in [1, 2] {
        let asks: Vec<_> = (0..8).map(|_| ask()).collect();
        for ask in asks {
            assert!(ask.await.unwrap());
        }
        assert_eq!(server.state().logins, expected);
        server.state().tokens.clear();
    }
}

#[tokio::test]
async fn each_method_brings_a_token() {
    let server = server().await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("proof");
    let token = AuthSettings::Token { variable: None, file: Some(file.clone()) };
    let source = VaultSource::new(settings(&server.address, token)).unwrap();
    check(&source, "acme", "KEY", Err("of `auth.file` cannot be read; put it there")).await;
    fs::write(&file, "token-canary-file\n").unwrap();
    server.state().tokens.insert("token-canary-file".to_owned());
    check(&source, "acme", "KEY", Ok("canary-1")).await;
    // Vault's agent writes another one, and the old one ends.
    fs::write(&file, "token-canary-next").unwrap();
    server.state().tokens = ["token-canary-next".to_owned()].into();
    check(&source, "acme", "KEY", Ok("canary-1")).await;
    fs::write(&file, "token-canary\nof two lines").unwrap();
    server.state().tokens.clear();
    check(&source, "acme", "KEY", Err("holds what no header may")).await;

    // Cargo sets CARGO_PKG_NAME for each test.
    for (variable, expected) in [
        ("CARGO_PKG_NAME", Ok("canary-1")),
        ("HEADWATER_UNSET", Err("HEADWATER_UNSET of `auth.variable` is not set")),
    ] {
        server.state().tokens.insert(env!("CARGO_PKG_NAME").to_owned());
        let token = AuthSettings::Token { variable: Some(variable.to_owned()), file: None };
        let source = VaultSource::new(settings(&server.address, token)).unwrap();
        check(&source, "acme", "KEY", expected).await;
    }

    for (proof, role, expected) in [
        ("proof-canary", "headwater", Ok("canary-1")),
        ("proof-canary", "other", Err("refuses the login with status 400; check `auth`")),
        ("canary", "headwater", Err("refuses the login with status 400")),
        (" \n", "headwater", Err("of `auth.token_file` is empty")),
    ] {
        fs::write(&file, proof).unwrap();
        let (mount, role) = ("kubernetes".to_owned(), role.to_owned());
        let auth = AuthSettings::Kubernetes { role, token_file: file.clone(), mount };
        let source = VaultSource::new(settings(&server.address, auth)).unwrap();
        check(&source, "acme", "KEY", expected).await;
    }
    fs::write(&file, "canary-wrong").unwrap();
    let source = VaultSource::new(settings(&server.address, approle(file))).unwrap();
    check(&source, "acme", "KEY", Err("refuses the login with status 400")).await;
}

#[tokio::test]
async fn what_vault_answers_says_what_to_do() {
    let status = |status, headers: &str, body: &str| {
        Trouble::Status(status, headers.to_owned(), body.to_owned())
    };
    let errors = r#"{"errors": ["canary"]}"#;
    let long = format!("\"{}\"", "canary".repeat(400_000));
    let again = |after_ms: u64| format!("try again in {after_ms} ms");
    let cases = [
        (status(503, "", r#"{"errors": ["Vault is sealed"]}"#), again(1_000)),
        (status(503, "retry-after: 7\r\n", errors), again(7_000)),
        (status(429, "retry-after: 3\r\n", errors), again(3_000)),
        (status(429, "retry-after: 999999\r\n", errors), again(60_000)),
        (status(429, "retry-after: Wed, 21 Oct 2026 07:28:00 GMT\r\n", errors), again(1_000)),
        (status(500, "", errors), again(1_000)),
        (status(502, "", "<html>canary"), again(1_000)),
        (status(412, "", errors), again(1_000)),
        (Trouble::Closes, again(1_000)),
        (Trouble::Hangs, again(1_000)),
        (status(307, "location: http://127.0.0.1:9/canary\r\n", ""), "a redirect".to_owned()),
        (status(400, "", errors), "status 400; check `address`".to_owned()),
        (status(404, "", errors), "has no secret".to_owned()),
        (status(200, "", "canary"), "no KV engine of version 2".to_owned()),
        (status(200, "", r#"{"data": "canary"}"#), "no KV engine of version 2".to_owned()),
        (status(200, "", r#"{"data": null}"#), "no KV engine of version 2".to_owned()),
        (status(200, "", r#"{"data": {"data": ["canary"]}}"#), "no KV engine".to_owned()),
        (status(200, "", &long), "longer than Vault's".to_owned()),
    ];
    for (trouble, expected) in cases {
        let server = server().await;
        let (_folder, mut settings) = proved(&server.address);
        settings.timeout_ms = if trouble == Trouble::Hangs { 300 } else { 5_000 };
        let source = VaultSource::new(settings).unwrap();
        check(&source, "acme", "KEY", Ok("canary-1")).await;
        server.state().trouble = trouble;
        check(&source, "acme", "KEY", Err(&expected)).await;
        server.state().trouble = Trouble::None;
        check(&source, "acme", "KEY", Ok("canary-1")).await;
    }
    let (_folder, settings) = proved("http://127.0.0.1:1");
    let source = VaultSource::new(settings).unwrap();
    check(&source, "acme", "KEY", Err("try again in 1000 ms")).await;
}

#[test]
fn a_request_does_not_show_its_token() {
    let settings = settings("http://vault:8200", approle("/nowhere".into()));
    let source = VaultSource::new(settings).unwrap();
    let token = SecretValue::new("token-canary".to_owned());
    let shown = format!("{:?}", source.read_request("acme/KEY", &token).unwrap());
    assert!(shown.contains("x-vault-token") && !shown.contains(CANARY), "{shown}");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    type Change = fn(&mut VaultSettings);
    let cases: [(Change, &str); 12] = [
        (|settings| settings.address = "vault:8200".into(), "`address` has no host"),
        (|settings| settings.address = "canary".into(), "`address` is no URL"),
        (|settings| settings.address = "http://u:canary@vault".into(), "holds a password"),
        (|settings| settings.address = "http://vault/v1".into(), "more than a host"),
        (|settings| settings.mount = "secret/".into(), "`mount`"),
        (|settings| settings.path = "{name}".into(), "`path` needs {team} once"),
        (|settings| settings.field = String::new(), "`field`"),
        (|settings| settings.namespace = Some("a\nb".into()), "`namespace`"),
        (|settings| settings.ca_file = Some("/nowhere/ca.pem".into()), "`ca_file` cannot be read"),
        (|settings| settings.ca_file = Some(file!().into()), "`ca_file`"),
        (
            |settings| settings.auth = AuthSettings::Token { variable: None, file: None },
            "exactly one",
        ),
        (
            |settings| {
                if let AuthSettings::AppRole { mount, .. } = &mut settings.auth {
                    *mount = "../sys".into();
                }
            },
            "`auth.mount`",
        ),
    ];
    for (change, expected) in cases {
        let mut settings = settings("http://vault:8200", approle("/nowhere".into()));
        change(&mut settings);
        let refused = VaultSource::new(settings).err();
        let Some(SecretError::Misconfigured(why)) = refused else { panic!("{expected}: taken") };
        assert!(why.contains(expected) && !why.contains(CANARY), "{expected}: {why}");
    }
}

#[test]
fn settings_are_read_with_their_defaults() {
    let read = |auth: &str| {
        let text = format!(r#"{{"address": "https://vault:8200", "auth": {auth}}}"#);
        serde_json::from_str::<VaultSettings>(&text)
    };
    let settings = read(r#"{"method": "kubernetes", "role": "headwater"}"#).unwrap();
    assert_eq!((settings.timeout_ms, settings.login_pause_ms), (2_000, 10_000));
    assert_eq!((&*settings.mount, &*settings.path), ("secret", "{team}/{name}"));
    assert!(read(r#"{"method": "token", "file": "/t"}"#).is_ok());
    assert!(read(r#"{"method": "approle", "role_id": "r", "secret_id_file": "/s"}"#).is_ok());
    assert!(read(r#"{"method": "token", "token": "canary"}"#).is_err());
    assert!(read(r#"{"method": "approle", "role_id": "r", "secret_id": "canary"}"#).is_err());
    assert!(read(r#"{"method": "kubernetes"}"#).is_err());
}
