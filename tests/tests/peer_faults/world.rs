//! Two nodes before two providers, and how to ask them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use headwater_tests::cluster::{Cluster, STORE, Shape};
use headwater_tests::http::{Answer, Connection};
use headwater_tests::node::HANG_TIMEOUT;
use headwater_tests::upstream::{Record, Simulator, UPSTREAM_KEY};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const CHAT: &str = "/v1/chat/completions";
pub(crate) const MESSAGES: &str = "/v1/messages";
/// The node that is no store.
pub(crate) const OTHER: &str = "n2";
pub(crate) const NODES: [&str; 2] = [STORE, OTHER];
/// What a million tokens cost here, in US dollars: a micro-dollar for each token is 1.
pub(crate) const PRICE: (f64, f64) = (1.0, 2.0);
/// The team whose messages are redacted.
pub(crate) const GUARDED: &str = "guarded";

pub(crate) struct World {
    pub(crate) cluster: Cluster,
    /// Of the protocols of OpenAI and of Anthropic; the models are `gpt` and `claude`.
    pub(crate) providers: [Simulator; 2],
    _folder: TempDir,
}

impl World {
    pub(crate) fn start() -> World {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("upstream");
        std::fs::write(&key, UPSTREAM_KEY).unwrap();
        let providers = [Simulator::start().unwrap(), Simulator::start().unwrap()];
        let names = ["openai", "anthropic"];
        let backend = |(name, provider): (&str, &Simulator)| {
            let (url, key) = (provider.base_url(), key.display());
            format!("{{name=\"{name}\", protocol=\"{name}\", url=\"{url}\", key_file=\"{key}\"}}")
        };
        let backends: Vec<String> = names.into_iter().zip(&providers).map(backend).collect();
        let model = |(name, backend): (&str, &str)| {
            let price = format!("price={{input={:?}, output={:?}}}", PRICE.0, PRICE.1);
            let target = format!("{{backend=\"{backend}\", model=\"m\", {price}}}");
            format!("{{name=\"{name}\", targets=[{target}]}}")
        };
        let models: Vec<String> = ["gpt", "claude"].into_iter().zip(names).map(model).collect();
        let rules = "rules={email={action=\"token\"}}, fail_closed=true";
        let mut shape = Shape::loopback(2).unwrap();
        shape.settings.extend([
            format!("gateway.backends=[{}]", backends.join(", ")),
            format!("gateway.models=[{}]", models.join(", ")),
            "gateway.tries=1".to_owned(),
            "gateway.breaker_failures=1000".to_owned(),
            format!("gateway.redaction.teams.{GUARDED}={{{rules}}}"),
            // This machine may be busy, and nothing may pass unseen.
            "gateway.redaction_budget_ms=60000".to_owned(),
            "audit.flush_interval_ms=100".to_owned(),
        ]);
        World { cluster: Cluster::start(shape).unwrap(), providers, _folder: folder }
    }

    pub(crate) fn token(&self, team: &str) -> String {
        self.cluster.token(team, "standard").unwrap()
    }

    /// One request with its whole answer; the answer must end as HTTP has it.
    pub(crate) fn ask(&self, node: &str, path: &str, token: &str, body: &Value) -> Answer {
        self.doors().ask(node, path, token, body)
    }

    /// For threads, which cannot share the world.
    pub(crate) fn doors(&self) -> Doors {
        Doors(self.cluster.addresses().unwrap())
    }

    /// Sends one request and leaves the answer to be read.
    pub(crate) fn send(&self, node: &str, path: &str, token: &str, body: &Value) -> Connection {
        let mut connection = self.connect(node);
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str()), ("connection", "close")];
        connection.send("POST", path, &headers, body.to_string().as_bytes()).unwrap();
        connection
    }

    pub(crate) fn connect(&self, node: &str) -> Connection {
        self.doors().connect(node)
    }

    /// Replaces a team's limits by one of the day.
    pub(crate) fn limit(&self, team: &str, unit: &str, amount: u64) {
        let limits = json!({"limits": [{"unit": unit, "window": "day", "amount": amount}]});
        let path = format!("/v1/tenants/{team}/limits");
        let operator = self.cluster.operator();
        let answer = self.cluster.ask(STORE, "PUT", &path, operator, &limits).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Requests and tokens of a team, once all nodes have written down what they know.
    pub(crate) fn ledger(&self, team: &str) -> (u64, u64) {
        self.cluster.until_written().unwrap();
        self.cluster.usage(STORE, team).unwrap()
    }

    /// What both providers were asked, all of it answered or given up.
    pub(crate) fn asked(&self) -> Vec<Record> {
        let all = self.providers.iter();
        all.flat_map(|one| one.settled(HANG_TIMEOUT).expect("all requests end")).collect()
    }

    /// The rows of a question to a node's audit.
    pub(crate) fn audit(&self, node: &str, sql: &str) -> Value {
        let body = json!({ "sql": sql });
        let operator = self.cluster.operator();
        let answer = self.cluster.ask(node, "POST", "/v1/audit/query", operator, &body).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["rows"].clone()
    }
}

/// Where the nodes listen.
pub(crate) struct Doors(BTreeMap<String, SocketAddr>);

impl Doors {
    pub(crate) fn ask(&self, node: &str, path: &str, token: &str, body: &Value) -> Answer {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str())];
        self.connect(node).post(path, &headers, body.to_string().as_bytes()).unwrap()
    }

    pub(crate) fn connect(&self, node: &str) -> Connection {
        Connection::open(self.0[node], HANG_TIMEOUT).unwrap()
    }
}

/// A request for one message, of the protocol of the path.
pub(crate) fn body(path: &str, model: &str, says: &str, stream: bool) -> Value {
    let mut body = json!({
        "model": model, "stream": stream, "messages": [{"role": "user", "content": says}],
    });
    if path == MESSAGES {
        body["max_tokens"] = json!(10_000);
    } else if stream {
        body["stream_options"] = json!({"include_usage": true});
    }
    body
}

/// The events of a stream in either protocol, without `[DONE]`.
pub(crate) fn events(answer: &str) -> Vec<Value> {
    let data = answer.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

/// The text of a stream in either protocol.
pub(crate) fn said(answer: &str) -> String {
    let places = ["/choices/0/delta/content", "/delta/text"];
    let text = |event: &Value| {
        let found = places.iter().find_map(|place| event.pointer(place)?.as_str());
        found.unwrap_or_default().to_owned()
    };
    events(answer).iter().map(text).collect()
}
