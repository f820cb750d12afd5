//! A Vault for tests: what its documentation says of KV version 2, of logins and of refusals.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(super) const ROLE_ID: &str = "role-canary-id";

/// What is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Trouble {
    #[default]
    None,
    /// Every answer is this status, with these headers and this body.
    Status(u16, String, String),
    Hangs,
    Closes,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) trouble: Trouble,
    pub(super) namespace: Option<String>,
    pub(super) tokens: BTreeSet<String>,
    /// Proofs that a login takes: secret ids and tokens of service accounts.
    pub(super) proofs: BTreeSet<String>,
    pub(super) lease_s: u64,
    /// Below `secret/data/`; the last version counts, and `None` is one that was deleted.
    pub(super) entries: BTreeMap<String, Vec<Option<Value>>>,
    /// Below `secret/data/`, for every token.
    pub(super) forbidden: BTreeSet<String>,
    pub(super) logins: usize,
    /// Method and path of each request.
    pub(super) seen: Vec<String>,
}

pub(super) struct Server {
    pub(super) address: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(super) async fn start() -> Server {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { lease_s: 3_600, ..State::default() }));
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        Server { address, state }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn put(&self, path: &str, data: Value) {
        self.state().entries.entry(path.to_owned()).or_default().push(Some(data));
    }
}

struct Asked {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut buffer = Vec::new();
    while let Some(asked) = read(&mut stream, &mut buffer).await {
        let trouble = {
            let mut state = state.lock().unwrap();
            state.seen.push(format!("{} {}", asked.method, asked.path));
            state.trouble.clone()
        };
        let (status, headers, body) = match trouble {
            Trouble::None => {
                let (status, body) = answer(&mut state.lock().unwrap(), &asked);
                (status, String::new(), body.to_string())
            }
            Trouble::Status(status, headers, body) => (status, headers, body),
            Trouble::Hangs => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                return;
            }
            Trouble::Closes => return,
        };
        let text = format!(
            "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\n{headers}\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Asked> {
    let head_bytes = loop {
        if let Some(place) = buffer.windows(4).position(|part| part == b"\r\n\r\n") {
            break place + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..head_bytes].to_vec()).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(Some(0), |text| text.parse().ok())?;
    while buffer.len() < head_bytes + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer[head_bytes..head_bytes + length].to_vec();
    buffer.drain(..head_bytes + length);
    Some(Asked { method, path, headers, body })
}

fn refusal(errors: &[&str]) -> Value {
    json!({ "errors": errors })
}

fn answer(state: &mut State, asked: &Asked) -> (u16, Value) {
    let unrouted = (404, refusal(&["no handler for route \"x\". route entry not found."]));
    if asked.headers.get("x-vault-namespace") != state.namespace.as_ref() {
        return unrouted;
    }
    if asked.headers.get("x-vault-request").is_none_or(|value| value != "true") {
        return (412, refusal(&["missing required header"]));
    }
    match (asked.method.as_str(), asked.path.as_str()) {
        ("POST", "/v1/auth/approle/login" | "/v1/auth/kubernetes/login") => login(state, asked),
        ("GET", path) => match path.strip_prefix("/v1/secret/data/") {
            Some(path) => entry(state, asked, path),
            None => unrouted,
        },
        _ => (405, refusal(&["unsupported operation"])),
    }
}

fn login(state: &mut State, asked: &Asked) -> (u16, Value) {
    let body: Value = serde_json::from_slice(&asked.body).unwrap();
    let (proof, is_role) = if asked.path.contains("approle") {
        (&body["secret_id"], body["role_id"] == ROLE_ID)
    } else {
        (&body["jwt"], body["role"] == "headwater")
    };
    state.logins += 1;
    if !is_role || !state.proofs.contains(proof.as_str().unwrap_or_default()) {
        return (400, refusal(&["invalid role or secret ID"]));
    }
    let token = format!("token-canary-{}", state.logins);
    state.tokens.insert(token.clone());
    let lease_s = state.lease_s;
    let auth = json!({
        "client_token": token, "accessor": "a", "policies": ["p"], "token_policies": ["p"],
        "metadata": null, "lease_duration": lease_s, "renewable": true, "entity_id": "e",
        "token_type": "service", "orphan": true,
    });
    let mut answer = enveloped(Value::Null);
    answer["auth"] = auth;
    (200, answer)
}

fn entry(state: &State, asked: &Asked, path: &str) -> (u16, Value) {
    let token = asked.headers.get("x-vault-token");
    if !token.is_some_and(|token| state.tokens.contains(token)) || state.forbidden.contains(path) {
        return (403, refusal(&["1 error occurred:\n\t* permission denied\n\n"]));
    }
    let Some(versions) = state.entries.get(path) else {
        return (404, refusal(&[]));
    };
    let data = versions.last().unwrap();
    let deleted = if data.is_some() { "" } else { "2026-01-02T03:04:05.6Z" };
    let metadata = json!({
        "created_time": "2026-01-01T00:00:00.0Z", "custom_metadata": null,
        "deletion_time": deleted, "destroyed": false, "version": versions.len(),
    });
    let status = if data.is_some() { 200 } else { 404 };
    (status, enveloped(json!({ "data": data, "metadata": metadata })))
}

fn enveloped(data: Value) -> Value {
    json!({
        "request_id": "r", "lease_id": "", "renewable": false, "lease_duration": 0,
        "data": data, "wrap_info": null, "warnings": null, "auth": null,
    })
}
