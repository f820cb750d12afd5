//! The life of a prompt over HTTP: a bad version is stopped at each gate, a good one is promoted,
//! and its secrets reach the model and nobody else.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use headwater_tests::node::NodeProcess;
use headwater_tests::tokens::{new_key, token};
use headwater_tests::upstream::{Simulator, UPSTREAM_KEY};
use serde_json::{Value, json};

/// Longest wait for a stage.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a promoted version is watched.
const GUARD_MS: u64 = 4_000;
/// The value of a secret; its parts stand apart here so that no file of ours holds it.
fn canary() -> String {
    ["canary", "of", "the", "tool", "7431"].join("-")
}

struct Api<'a> {
    node: &'a NodeProcess,
    bearer: String,
}

impl Api<'_> {
    fn try_send(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut connection = self.node.connect().unwrap();
        let headers = [("authorization", self.bearer.as_str())];
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        connection.send(method, path, &headers, &body).unwrap();
        let answer = connection.receive().unwrap();
        (answer.status, answer.json())
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, told) = self.try_send(method, path, body);
        assert!(status < 300, "{method} {path}: {status} {told}");
        told
    }

    fn get(&self, path: &str) -> Value {
        self.send("GET", path, &Value::Null)
    }

    fn commit(&self, document: &Value) -> u64 {
        let body = json!({"document": document, "message": "a test"});
        self.send("POST", "/v1/prompts/greeting/versions", &body)["version"].as_u64().unwrap()
    }

    fn begin(&self, version: u64) -> u64 {
        let body = json!({"version": version, "reason": "a test", "auto": true});
        self.send("POST", "/v1/prompts/greeting/promotions", &body)["id"].as_u64().unwrap()
    }

    /// Waits until the promotion is in one of these stages; meanwhile users ask.
    fn until(&self, id: u64, stages: &[&str], ask: impl Fn(&Self)) -> Value {
        let began = Instant::now();
        loop {
            let promotion = self.get(&format!("/v1/prompts/greeting/promotions/{id}"));
            if stages.contains(&promotion["stage"].as_str().unwrap()) {
                return promotion;
            }
            assert!(began.elapsed() < PATIENCE, "{promotion:#}");
            ask(self);
        }
    }

    /// A user's request.
    fn chat(&self, who: &str) -> (u16, Value) {
        let prompt = json!({"name": "greeting", "variables": {"who": who}});
        self.try_send("POST", "/v1/chat/completions", &json!({"prompt": prompt, "user": who}))
    }

    fn production(&self) -> Value {
        self.get("/v1/prompts/greeting")["production"].clone()
    }
}

fn node(folder: &Path, provider: &Simulator) -> NodeProcess {
    let path = |name: &str| folder.join(name).display().to_string();
    new_key(&folder.join("key")).unwrap();
    fs::write(folder.join("upstream"), UPSTREAM_KEY).unwrap();
    fs::create_dir_all(folder.join("secrets/acme")).unwrap();
    fs::write(folder.join("secrets/acme/TOOL_KEY"), canary()).unwrap();
    let (url, key) = (provider.base_url(), path("upstream"));
    let settings = [
        format!("auth.key_file={}", path("key")),
        "embedding.models=[]".to_owned(),
        "gateway.tries=1".to_owned(),
        "gateway.breaker_failures=1000000".to_owned(),
        format!(
            "gateway.backends=[{{name=\"b\", protocol=\"openai\", url=\"{url}\", \
             key_file=\"{key}\"}}]"
        ),
        "gateway.models=[{name=\"chat\", cache_ttl_s=0, targets=[{backend=\"b\", \
         price={input=1.0, output=2.0}}]}]"
            .to_owned(),
        format!("secrets.file.root={}", path("secrets")),
        "secrets.grants={acme=[\"TOOL_KEY\"]}".to_owned(),
        "audit.content=full".to_owned(),
        "log.level=trace".to_owned(),
    ];
    let mut node = NodeProcess::listening(&folder.join("data"), &settings).unwrap();
    node.wait_for("ready").unwrap();
    node
}

/// A version that says this to a user's name.
fn document(text: &str) -> Value {
    json!({
        "messages": [{"role": "user", "content": text}],
        "variables": {"who": {"max_length": 40}},
        "model": {"model": "chat", "max_tokens": 50},
    })
}

fn set_up(api: &Api) {
    let case = |id: &str| {
        json!({"id": id, "variables": {"who": id}, "expected": format!("Hello {id}"),
            "judge": {"type": "contains"}})
    };
    let mut cases: Vec<Value> = ["ann", "bo"].into_iter().map(case).collect();
    // The model says back what it is asked, so this judge says what it is worth.
    let verdict = "{\"score\": {% if expected in answer %}1.0{% else %}0.0{% endif %}, \"reason\": \"judged\"}";
    let judge = json!({"text": verdict, "variables": {"answer": {}, "expected": {}}});
    api.send("POST", "/v1/prompts/judge/versions", &json!({"document": judge}));
    cases.push(json!({"id": "cy", "variables": {"who": "cy"}, "expected": "Hello cy",
        "judge": {"type": "llm", "model": "chat", "prompt": "judge", "version": 1}}));
    api.send("PUT", "/v1/golden/greetings", &json!({"cases": cases}));
    let shadow = json!({"samples": 12, "per_mille": 1000, "budget_micro_usd": 1_000_000,
        "judge": {"type": "regex", "pattern": "^Hello"}});
    let gates = json!({"golden_set": "greetings", "min_score": 0.95, "shadow": shadow,
        "guard_ms": GUARD_MS});
    api.send("PUT", "/v1/prompts/greeting/settings", &json!({"gates": gates}));
}

fn gate<'a>(promotion: &'a Value, name: &str) -> &'a Value {
    let gates = promotion["gates"].as_array().unwrap();
    gates.iter().find(|gate| gate["gate"] == name).unwrap()
}

#[test]
fn a_bad_version_is_stopped_at_each_gate_and_a_good_one_serves() {
    let provider = Simulator::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let node = node(folder.path(), &provider);
    let acme = token(&folder.path().join("key"), "acme", "standard").unwrap();
    let api = Api { node: &node, bearer: format!("Bearer {acme}") };

    // Nothing is promoted without a version, and nothing of a secret is kept.
    let aws = ["AKIA", "Z7VRSQ5TJN2XMKLQ"].concat();
    let leaking = json!({"document": document(&format!("Use {aws} for {{{{ who }}}}"))});
    let (status, refused) = api.try_send("POST", "/v1/prompts/greeting/versions", &leaking);
    assert_eq!(
        (status, refused["error"]["code"].as_str()),
        (422, Some("secret_found")),
        "{refused}"
    );
    assert!(!refused.to_string().contains(&aws), "{refused}");
    let (status, _) = api.try_send("GET", "/v1/prompts/greeting", &Value::Null);
    assert_eq!(status, 404);

    let first = api.commit(&document("Hello {{ who }}"));
    set_up(&api);
    let begun = api.begin(first);
    let done = api.until(begun, &["done"], |_| {});
    assert_eq!(gate(&done, "regression")["state"], "passed", "{done:#}");
    assert_eq!(api.production(), 1);
    let (status, said) = api.chat("dee");
    assert_eq!(status, 200, "{said}");
    assert_eq!(said["choices"][0]["message"]["content"], "Hello dee");

    // It fails its golden cases.
    let rude = api.commit(&document("Go away {{ who }}"));
    let stopped = api.until(api.begin(rude), &["stopped"], |_| {});
    assert_eq!(gate(&stopped, "fast_eval")["state"], "failed", "{stopped:#}");

    // It is good for those of the golden set and worse for the users.
    let narrow =
        "{% if who in ['ann', 'bo', 'cy'] %}Hello {{ who }}{% else %}What {{ who }}{% endif %}";
    let narrow = api.commit(&document(narrow));
    let stopped = api.until(api.begin(narrow), &["stopped"], users);
    assert_eq!(gate(&stopped, "shadow")["state"], "failed", "{stopped:#}");
    assert_eq!(api.production(), 1);

    // It is well until it serves: somebody whom no gate knew makes it fail.
    let late = "{% if who == 'late' %}fault:500 {% endif %}Hello {{ who }}";
    let late = api.commit(&document(late));
    let guarded = api.until(api.begin(late), &["guard"], users);
    assert_eq!(gate(&guarded, "shadow")["state"], "passed", "{guarded:#}");
    assert_eq!(api.production(), late);
    let id = guarded["id"].as_u64().unwrap();
    let back = api.until(id, &["rolled_back", "done"], |api| {
        api.chat("late");
    });
    assert_eq!(back["stage"], "rolled_back", "{back:#}");
    assert!(gate(&back, "guard")["detail"].as_str().unwrap().starts_with("error rate"), "{back:#}");
    assert_eq!(api.production(), 1);

    good_version(&api, late);
    assert_eq!(node.stop().unwrap().code, Some(0));
}

/// Users whom no golden case knows.
fn users(api: &Api) {
    for who in ["dee", "eve", "fay"] {
        api.chat(who);
    }
}

/// It serves, and is taken back by hand; the history has all of it.
fn good_version(api: &Api, late: u64) {
    // A good one passes all of it.
    let good = api.commit(&document("Hello {{ who }}"));
    let done = api.until(api.begin(good), &["done", "rolled_back", "stopped"], users);
    assert_eq!(done["stage"], "done", "{done:#}");
    assert_eq!(api.production(), good);
    api.send("POST", "/v1/prompts/greeting/rollback", &json!({"reason": "a test"}));
    assert_eq!(api.production(), 1);
    let history = api.get("/v1/prompts/greeting/history");
    let moves = history["data"].as_array().unwrap();
    let production: Vec<(&Value, &Value)> = moves
        .iter()
        .filter(|one| one["pointer"] == "production")
        .map(|one| (&one["from"], &one["to"]))
        .collect();
    let (first, late, good) = (json!(1), json!(late), json!(good));
    let none = Value::Null;
    assert_eq!(
        production,
        [(&good, &first), (&first, &good), (&late, &first), (&first, &late), (&none, &first)]
    );
}

#[test]
fn a_secret_reaches_the_model_and_nobody_else() {
    let provider = Simulator::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut node = node(folder.path(), &provider);
    let acme = token(&folder.path().join("key"), "acme", "standard").unwrap();
    let other = token(&folder.path().join("key"), "other", "standard").unwrap();
    let mut told = Vec::new();
    {
        let api = Api { node: &node, bearer: format!("Bearer {acme}") };
        // The model is told the secret as a fault that it does not know, and says what is behind.
        let text = "The key is {{ secret.TOOL_KEY }} for {{ who }}";
        let version = api.commit(&document(text));
        api.until(api.begin(version), &["done"], |_| {});
        let (status, said) = api.chat("dee");
        assert_eq!(status, 200, "{said}");
        // The model says back what it got: it got the value.
        let answer = said["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
        assert_eq!(answer, format!("The key is {} for dee", canary()));
        // A client cannot ask for it by its marker.
        let marked = json!({"name": "greeting", "variables": {"who": "\u{F8F0}TOOL_KEY\u{F8F1}"}});
        told.push(api.try_send("POST", "/v1/chat/completions", &json!({"prompt": marked})));
        let prompt = json!({"name": "greeting", "variables": {"who": "dee"}});
        let message = json!({"role": "user", "content": "\u{F8F0}TOOL_KEY\u{F8F1}"});
        let body = json!({"prompt": prompt, "messages": [message]});
        told.push(api.try_send("POST", "/v1/chat/completions", &body));
        assert!(told.iter().all(|(status, _)| *status == 400), "{told:?}");
        let variables = json!({"variables": {"who": "dee"}});
        for (method, path, body) in [
            ("POST", "/v1/prompts/greeting/render", &variables),
            ("POST", "/v1/prompts/greeting/resolve", &Value::Null),
            ("GET", "/v1/prompts/greeting/versions/1", &Value::Null),
        ] {
            let (status, said) = api.try_send(method, path, body);
            assert_eq!(status, 200, "{said}");
            assert!(said.to_string().contains("secret.TOOL_KEY"), "{said}");
            told.push((status, said));
        }
        // What a provider says about a request it refuses may hold it.
        let (status, refused) = api.chat("fault:422");
        assert_eq!(status, 422, "{refused}");
        told.push((status, refused));
        // Another team has no such prompt, and its own may not read the secret.
        let theirs = Api { node: &node, bearer: format!("Bearer {other}") };
        assert_eq!(theirs.chat("dee").0, 404);
        let version = theirs.commit(&document(text));
        theirs.until(theirs.begin(version), &["done"], |_| {});
        let (status, denied) = theirs.chat("dee");
        assert_eq!((status, denied["error"]["code"].as_str()), (403, Some("secret_denied")));
        told.push((status, denied));
    }
    std::thread::sleep(Duration::from_millis(1_500));
    let said = node.said().join("\n");
    for (place, text) in [("an answer", format!("{told:?}")), ("the log", said)] {
        assert!(!text.contains(&canary()), "the secret is in {place}");
    }
    assert_eq!(node.stop().unwrap().code, Some(0));
    no_file_has_it(&folder.path().join("data"));
}

fn no_file_has_it(folder: &Path) {
    let mut files = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let bytes = fs::read(&path).unwrap();
            let secret = canary();
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "the secret is in {}", path.display());
        }
    }
    assert!(files > 0);
}
