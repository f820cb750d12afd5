//! A node's prompts in memory, over real HTTP: as much of the API as the command asks.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::document::Document;

#[derive(Default)]
pub(super) struct State {
    pub(super) prompts: BTreeMap<String, Vec<Value>>,
    pub(super) golden: BTreeMap<String, (u64, Value)>,
    /// Answers to looks at a promotion or an eval, the next one last.
    pub(super) looks: Vec<Value>,
    /// Answers to anything, before all others: a status and a body.
    pub(super) refusals: Vec<(u16, Value)>,
    /// What was asked: method, path and body.
    pub(super) asked: Vec<(String, String, Value)>,
}

pub(super) struct Server {
    pub(super) address: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(super) fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        // Ends with the process: a test's own thread has nothing to clean up.
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                serve(connection.unwrap(), &shared);
            }
        });
        Server { address, state }
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap())
    }

    pub(super) fn commit(&self, name: &str, document: Value) -> u64 {
        self.with(|state| state.commit(name, &document, "by the test")["version"].as_u64().unwrap())
    }

    /// The newest document of a prompt.
    pub(super) fn newest(&self, name: &str) -> Value {
        self.with(|state| state.prompts[name].last().unwrap()["document"].clone())
    }

    /// Bodies of what was sent to paths that end so.
    pub(super) fn bodies(&self, method: &str, end: &str) -> Vec<Value> {
        let is_meant =
            |(how, path, _): &&(String, String, Value)| how == method && path.ends_with(end);
        self.with(|state| {
            state.asked.iter().filter(is_meant).map(|(_, _, body)| body.clone()).collect()
        })
    }
}

fn serve(mut connection: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        match header.trim().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().unwrap();
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut state = state.lock().unwrap();
    state.asked.push((method.clone(), path.clone(), body.clone()));
    let (status, told) = match state.refusals.pop() {
        Some(refusal) => refusal,
        None => state.answer(&method, &path, &body),
    };
    let told = told.to_string();
    let length = told.len();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n");
    let rest = format!("content-length: {length}\r\nconnection: close\r\n\r\n{told}");
    connection.write_all(format!("{head}{rest}").as_bytes()).unwrap();
}

pub(super) fn refusal(status: u16, message: &str, param: Option<&str>) -> (u16, Value) {
    (status, json!({"error": {"message": message, "type": "t", "param": param, "code": "c"}}))
}

/// As the node makes it: of the document without what is a default, its names sorted.
fn canonical(document: &Value) -> Result<(Value, String), (u16, Value)> {
    let typed = Document::deserialize(document)
        .map_err(|error| refusal(400, &error.to_string(), Some("document")))?;
    let value = serde_json::to_value(typed).unwrap();
    let hash = Sha256::digest(value.to_string().as_bytes());
    Ok((value, hash.iter().map(|byte| format!("{byte:02x}")).collect()))
}

fn findings(document: &Value) -> Vec<Value> {
    let mut texts: Vec<(String, &str)> = Vec::new();
    for (place, message) in document["messages"].as_array().into_iter().flatten().enumerate() {
        texts.push((format!("messages[{place}].content"), message["content"].as_str().unwrap()));
    }
    texts.extend(document["text"].as_str().map(|text| ("text".to_owned(), text)));
    let mut found = Vec::new();
    for (field, text) in texts {
        for (line, _) in text.lines().enumerate().filter(|(_, text)| text.contains("SECRET-")) {
            found.push(json!({"field": field, "rule": "test-key", "description": "A key",
                "line": line + 1, "column": 1, "masked": "SECR…", "fingerprint": "f1"}));
        }
    }
    found
}

impl State {
    fn commit(&mut self, name: &str, document: &Value, message: &str) -> Value {
        let (document, sha256) = canonical(document).unwrap();
        let versions = self.prompts.entry(name.to_owned()).or_default();
        let number = versions.len() as u64 + 1;
        versions.push(json!({"version": number, "state": "draft", "author": "ann", "tags": ["x"],
            "message": message, "parent": null, "sha256": sha256, "created_ms": 1_796_000_000_000_u64,
            "document": document}));
        versions.last().unwrap().clone()
    }

    fn head(&self, name: &str) -> Option<Value> {
        let newest = self.prompts.get(name)?.len();
        Some(json!({"name": name, "team": "acme", "newest": newest, "production": 1,
            "staging": null, "canary": null, "protected": false, "shared": false, "gates":
            {"golden_set": null}, "promotion": null, "role": "admin", "updated_ms": 0}))
    }

    /// Two on each page, so that every list has more than one.
    fn page(&self, after: &str) -> Value {
        let all: Vec<&String> = self.prompts.keys().filter(|name| name.as_str() > after).collect();
        let page: Vec<&String> = all.iter().take(2).copied().collect();
        let next = page.last().filter(|_| all.len() > 2);
        json!({"data": page.iter().map(|name| self.head(name)).collect::<Vec<_>>(), "next_after": next})
    }

    fn answer(&mut self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let parts: Vec<&str> = path.split('/').skip(2).collect();
        let unknown = || refusal(404, "there is no such thing; see the list", None);
        match (method, parts.as_slice()) {
            ("GET", ["prompts"]) => (200, self.page(query.trim_start_matches("after="))),
            ("GET", ["prompts", name]) => self.head(name).map_or_else(unknown, |head| (200, head)),
            ("GET", ["prompts", name, "versions"]) => {
                self.prompts.get(*name).map_or_else(unknown, |all| (200, json!({"data": all})))
            }
            ("GET", ["prompts", name, "versions", number]) => {
                let number: usize = number.parse().unwrap();
                let found = self.prompts.get(*name).and_then(|all| all.get(number - 1));
                found.map_or_else(unknown, |version| (200, version.clone()))
            }
            ("POST", ["prompts", _, "check"]) => match canonical(&body["document"]) {
                Ok((document, sha256)) => (
                    200,
                    json!({"warnings": ["is a test"], "sha256": sha256,
                    "findings": findings(&document)}),
                ),
                Err(refused) => refused,
            },
            ("POST", ["prompts", name, "versions"]) => self.post_version(name, body),
            ("GET", ["prompts", _, "promotions" | "evals", _]) => (200, self.looks.pop().unwrap()),
            ("POST", ["prompts", _, "promotions" | "evals"]) => (201, self.looks.pop().unwrap()),
            ("POST", ["prompts", _, "promotions", _, _]) => (200, self.looks.pop().unwrap()),
            ("POST", ["prompts", _, "render"]) => (
                200,
                json!({"version": 1, "source": "live", "text": body["variables"].to_string()}),
            ),
            ("GET", ["golden", set]) => {
                self.golden.get(*set).map_or_else(unknown, |(version, cases)| {
                    (200, json!({"name": set, "version": version, "cases": cases}))
                })
            }
            ("PUT", ["golden", set]) => {
                let version = self.golden.get(*set).map_or(1, |(version, _)| version + 1);
                self.golden.insert((*set).to_owned(), (version, body["cases"].clone()));
                (200, json!({"name": set, "version": version, "cases": body["cases"]}))
            }
            _ => panic!("{method} {path} is not played here"),
        }
    }

    fn post_version(&mut self, name: &str, body: &Value) -> (u16, Value) {
        let newest = self.prompts.get(name).map_or(0, Vec::len) as u64;
        if body["expected_newest"].as_u64().is_some_and(|expected| expected != newest) {
            return refusal(409, &format!("the newest version is {newest}"), None);
        }
        let overridden = body["overrides"].as_array().unwrap();
        let mut left = findings(&body["document"]);
        left.retain(|one| {
            !overridden.iter().any(|other| other["fingerprint"] == one["fingerprint"])
        });
        if !left.is_empty() {
            let (status, mut told) = refusal(422, "1 finding", Some("document"));
            told["error"]["findings"] = left.into();
            return (status, told);
        }
        let mut told = self.commit(name, &body["document"], body["message"].as_str().unwrap());
        told["warnings"] = json!(["is a test"]);
        (201, told)
    }
}
