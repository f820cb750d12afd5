//! A real OpenBao or Vault, where `HEADWATER_BAO` names its program.

use std::env;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{check, settings};
use crate::{AuthSettings, VaultSettings, VaultSource};

const ROOT: &str = "root-canary";

struct Program {
    child: Child,
    address: String,
    http: reqwest::Client,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    /// With TLS, its authority's certificate lies in the folder.
    async fn start(tls: Option<&Path>) -> Program {
        let program = env::var("HEADWATER_BAO").expect("HEADWATER_BAO names the program");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command.args(["server", "-dev", "-dev-no-store-token"]);
        if let Some(folder) = tls {
            command.arg("-dev-tls").arg(format!("-dev-tls-cert-dir={}", folder.display()));
        }
        let child = command
            .arg(format!("-dev-root-token-id={ROOT}"))
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let address = format!("{scheme}://127.0.0.1:{port}");
        let http = reqwest::Client::builder().tls_certs_only([]);
        let http = http.tls_danger_accept_invalid_certs(true).build().unwrap();
        let program = Program { child, address, http };
        for _ in 0..200 {
            let health = format!("{}/v1/sys/health", program.address);
            let answer = program.http.get(health).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return program;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the program does not answer within 20 s");
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Value {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let call = self.http.request(method, format!("{}/v1/{path}", self.address));
        let answer = call.header("x-vault-token", ROOT).body(body.to_string()).send().await;
        let answer = answer.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default()
    }

    /// A role that may read `secret/data/acme/*`, and the two halves of its proof.
    async fn role(&self) -> (String, String) {
        let policy = r#"path "secret/data/acme/*" { capabilities = ["read"] }"#;
        self.call("PUT", "sys/policies/acl/acme", json!({ "policy": policy })).await;
        self.call("POST", "sys/auth/approle", json!({ "type": "approle" })).await;
        let role = json!({ "token_policies": ["acme"], "token_ttl": "1h" });
        self.call("POST", "auth/approle/role/headwater", role).await;
        let id = self.call("GET", "auth/approle/role/headwater/role-id", json!({})).await;
        let secret = self.call("POST", "auth/approle/role/headwater/secret-id", json!({})).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&id["data"]["role_id"]), text(&secret["data"]["secret_id"]))
    }
}

#[tokio::test]
#[ignore = "needs OpenBao's or Vault's program: set HEADWATER_BAO"]
async fn a_real_vault_answers_as_the_double_does() {
    let program = Program::start(None).await;
    let (role_id, secret_id) = program.role().await;
    for path in ["acme/KEY", "acme/DELETED", "other/KEY"] {
        let value = json!({ "data": { "value": "canary-1", "number": 7 } });
        program.call("POST", &format!("secret/data/{path}"), value).await;
    }
    program.call("DELETE", "secret/data/acme/DELETED", json!({})).await;
    let folder = TempDir::new().unwrap();
    let secret_id_file = folder.path().join("secret-id");
    fs::write(&secret_id_file, secret_id).unwrap();
    let auth = AuthSettings::AppRole { role_id, secret_id_file, mount: "approle".to_owned() };
    let settings = VaultSettings { login_pause_ms: 0, ..settings(&program.address, auth) };
    let source = VaultSource::new(settings.clone()).unwrap();
    check(&source, "acme", "KEY", Ok("canary-1")).await;
    program.call("POST", "secret/data/acme/KEY", json!({ "data": { "value": "canary-2" } })).await;
    check(&source, "acme", "KEY", Ok("canary-2")).await;
    check(&source, "acme", "DELETED", Err("has no secret")).await;
    check(&source, "acme", "MISSING", Err("has no secret")).await;
    check(&source, "other", "KEY", Err("may not read")).await;
    program.call("POST", "secret/data/acme/FIELD", json!({ "data": { "value": 7 } })).await;
    check(&source, "acme", "FIELD", Err("is empty or no text")).await;

    // Whoever revokes the node's tokens makes it log in anew.
    program.call("POST", "sys/leases/revoke-prefix/auth/approle", json!({})).await;
    check(&source, "acme", "KEY", Ok("canary-2")).await;

    let file = folder.path().join("token");
    fs::write(&file, ROOT).unwrap();
    let auth = AuthSettings::Token { variable: None, file: Some(file.clone()) };
    let by_token = VaultSettings { auth, ..settings.clone() };
    let root = VaultSource::new(by_token.clone()).unwrap();
    check(&root, "other", "KEY", Ok("canary-1")).await;
    let unmounted = VaultSettings { mount: "nowhere".to_owned(), ..by_token.clone() };
    let unmounted = VaultSource::new(unmounted).unwrap();
    check(&unmounted, "acme", "KEY", Err("nothing is mounted at `mount`")).await;
    fs::write(&file, "canary-wrong").unwrap();
    let wrong = VaultSource::new(by_token).unwrap();
    check(&wrong, "acme", "KEY", Err("may not read")).await;
    fs::write(settings_file(&settings), "canary-wrong").unwrap();
    let wrong = VaultSource::new(settings).unwrap();
    check(&wrong, "acme", "KEY", Err("refuses the login with status 4")).await;

    program.call("PUT", "sys/seal", json!({})).await;
    check(&source, "acme", "KEY", Err("is not available")).await;
}

fn settings_file(settings: &VaultSettings) -> PathBuf {
    match &settings.auth {
        AuthSettings::AppRole { secret_id_file, .. } => secret_id_file.clone(),
        _ => panic!("another method"),
    }
}

#[tokio::test]
#[ignore = "needs OpenBao's or Vault's program: set HEADWATER_BAO"]
async fn a_real_vault_is_trusted_by_its_authority_alone() {
    let folder = TempDir::new().unwrap();
    let program = Program::start(Some(folder.path())).await;
    program.call("POST", "secret/data/acme/KEY", json!({ "data": { "value": "canary-1" } })).await;
    let files = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
    let is_authority = |file: &PathBuf| file.to_string_lossy().ends_with("-ca.pem");
    let authority = files.into_iter().find(is_authority).expect("an authority's certificate");
    let file = folder.path().join("token");
    fs::write(&file, ROOT).unwrap();
    let auth = AuthSettings::Token { variable: None, file: Some(file) };
    let trusting = settings(&program.address, auth);
    for (ca_file, expected) in [(Some(authority), Ok("canary-1")), (None, Err("not available"))] {
        let settings = VaultSettings { ca_file, ..trusting.clone() };
        check(&VaultSource::new(settings).unwrap(), "acme", "KEY", expected).await;
    }
}
