//! The gateway when what it stands on goes away: the store, the lake, all providers, and what it is
//! told to serve. Each time it says so, loses nothing that counts, and goes on by itself.
//!
//! Elsewhere: embeddings in an outage of the store and what is then in its file (`cluster_store`),
//! virtual keys in one (`identity`), records of a node that is killed (`audit`), canaries that are
//! worse (the unit tests of the versions).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater_storage::Environment;
use headwater_storage::retry::{OperationId, Retry, RetryPolicy};
use headwater_storage::tuple::{self, Element};
use headwater_storage_embedded::{EmbeddedSettings, EmbeddedStore, Fsync};
use headwater_tests::cluster::{Cluster, STORE, Shape, await_left_of_minute, until};
use headwater_tests::http::{Answer, Connection};
use headwater_tests::node::{NodeProcess, models_setting, run, weights};
use headwater_tests::settings::{backend, setting, target};
use headwater_tests::upstream::{Fault, Simulator, UPSTREAM_KEY};
use serde_json::{Value, json};
use tempfile::TempDir;

/// `retry_budget_ms` by default, and what a busy machine adds.
const TOLD_WITHIN: Duration = Duration::from_secs(5 + 10);

/// One open node with two backends behind the name `chat`.
struct Alone {
    folder: TempDir,
    providers: Vec<Simulator>,
    node: NodeProcess,
}

fn key_file(folder: &TempDir) -> PathBuf {
    let key = folder.path().join("upstream");
    std::fs::write(&key, UPSTREAM_KEY).unwrap();
    key
}

impl Alone {
    fn start(more: &[&str]) -> Alone {
        let folder = tempfile::tempdir().unwrap();
        let providers = vec![Simulator::start().unwrap(), Simulator::start().unwrap()];
        let key = key_file(&folder);
        let own = |(name, provider): (&str, &Simulator)| backend(name, "openai", provider, &key);
        let backends: Vec<Value> = ["a", "b"].into_iter().zip(&providers).map(own).collect();
        let (first, second) =
            (target("a", "first", 1, (1.0, 2.0)), target("b", "second", 1, (1.0, 2.0)));
        let models = json!([{"name": "chat", "targets": [first], "fallbacks": [second]}]);
        let mut settings = vec![
            models_setting(&weights().unwrap(), ""),
            setting("gateway.backends", &json!(backends)),
            setting("gateway.models", &models),
            setting("audit.location", &json!(folder.path().join("lake"))),
            "audit.flush_interval_ms=100".to_owned(),
        ];
        settings.extend(more.iter().map(|one| (*one).to_owned()));
        let mut node = NodeProcess::listening(&folder.path().join("data"), &settings).unwrap();
        node.wait_for("ready").unwrap();
        Alone { folder, providers, node }
    }

    fn chat(&self, connection: &mut Connection, model: &str, says: &str) -> Answer {
        connection.post("/v1/chat/completions", &[], chat_body(model, says).as_bytes()).unwrap()
    }

    /// A chat over a connection of its own.
    fn one(&self) -> Answer {
        self.chat(&mut self.node.connect().unwrap(), "chat", "words:3")
    }

    fn metric(&self, start: &str) -> u64 {
        let page = self.node.connect().unwrap().get("/metrics", &[]).unwrap().text();
        let lines = page.lines().filter(|line| line.starts_with(start));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
    }

    fn until(&self, what: &str, check: impl Fn(&Alone) -> bool) {
        until(what, || Ok(check(self))).unwrap();
    }

    fn recorded(&self) -> u64 {
        let body = json!({"sql": "select count(*) from audit"}).to_string();
        let mut connection = self.node.connect().unwrap();
        let answer = connection.post("/v1/audit/query", &[], body.as_bytes()).unwrap();
        answer.json()["rows"][0][0].as_u64().unwrap_or(0)
    }

    /// The lake's folder gives way to a file, so that nothing can be written below it; what was in
    /// it is kept.
    fn take_lake(&self) {
        std::fs::rename(self.lake(), self.folder.path().join("away")).unwrap();
        std::fs::write(self.lake(), "no folder").unwrap();
    }

    fn bring_lake(&self) {
        std::fs::remove_file(self.lake()).unwrap();
        std::fs::rename(self.folder.path().join("away"), self.lake()).unwrap();
    }

    fn lake(&self) -> PathBuf {
        self.folder.path().join("lake")
    }
}

fn chat_body(model: &str, says: &str) -> String {
    let messages = json!([{"role": "user", "content": says}]);
    json!({"model": model, "max_tokens": 8, "messages": messages}).to_string()
}

#[test]
fn when_all_providers_are_down_clients_hear_it_in_time_and_later_are_served_again() {
    let mut alone = Alone::start(&[]);
    assert_eq!(alone.one().status, 200);
    let addresses: Vec<_> = alone.providers.iter().map(Simulator::address).collect();
    // Their ports are closed from now on.
    alone.providers.clear();
    let is_open = |alone: &Alone| alone.metric("headwater_gateway_open_breakers") == 2;
    for _ in 0..4 {
        let began = Instant::now();
        let refused = alone.one();
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert_eq!(refused.error_code(), "backend_unavailable", "{}", refused.text());
        let after = refused.header("retry-after").and_then(|after| after.parse::<u64>().ok());
        assert!(after.is_some_and(|after| after >= 1), "{after:?}");
        assert!(began.elapsed() < TOLD_WITHIN, "{:?}", began.elapsed());
    }
    alone.until("both breakers are open", is_open);
    let back = addresses.into_iter().map(|address| Simulator::start_at(address).unwrap());
    alone.providers = back.collect();
    alone.until("chats are answered", |alone| alone.one().status == 200);
    alone.until("the first one answers", |alone| {
        alone.one().header("x-headwater-model") == Some("first")
    });
    // The second one is asked when the first one fails, and is found well then.
    alone.until("no breaker is open", |alone| {
        alone.providers[0].next(Fault::Status(500, None));
        alone.one().status == 200 && alone.metric("headwater_gateway_open_breakers") == 0
    });
}

#[test]
fn a_lake_that_is_away_costs_neither_a_chat_nor_a_record() {
    let alone = Alone::start(&[]);
    assert_eq!(alone.one().status, 200);
    alone.until("the first record is in the lake", |alone| {
        alone.recorded() == 1 && alone.metric("headwater_audit_spill_records") == 0
    });
    alone.take_lake();
    let mut connection = alone.node.connect().unwrap();
    for _ in 0..200 {
        assert_eq!(alone.chat(&mut connection, "chat", "words:3").status, 200);
    }
    let failed = "headwater_audit_failed_total{work=\"flush\"}";
    alone.until("a flush has failed", |alone| alone.metric(failed) > 0);
    alone.until("all records wait", |alone| alone.metric("headwater_audit_spill_records") == 200);
    assert_eq!(alone.one().status, 200);
    assert_eq!(alone.metric("headwater_audit_dropped"), 0);
    alone.bring_lake();
    alone.until("nothing waits", |alone| alone.metric("headwater_audit_spill_records") == 0);
    assert_eq!(alone.recorded(), 202);
    assert_eq!(alone.metric("headwater_audit_dropped"), 0);
}

#[test]
fn what_the_spill_cannot_hold_is_counted_and_chats_go_on() {
    // A mebibyte of records, and 10,000 of them in memory.
    let alone = Alone::start(&["audit.spill_limit_bytes=1048576", "audit.content=\"full\""]);
    alone.take_lake();
    let mut connection = alone.node.connect().unwrap();
    let mut asked = 0;
    // Letters that do not repeat, as the spill packs its records.
    let full = "headwater_audit_failed_total{work=\"append\"}";
    while alone.metric(full) == 0 {
        let text: String = (0..20_000u64).map(|place| letter(place + asked * 20_000)).collect();
        let answer = alone.chat(&mut connection, "chat", &text);
        assert_eq!(answer.status, 200, "{}", answer.text());
        asked += 1;
        assert!(asked < 2_000, "the spill takes more than its limit");
    }
    assert_eq!(alone.metric("headwater_audit_dropped"), 0, "memory has room yet");
    while alone.metric("headwater_audit_dropped") == 0 {
        for _ in 0..500 {
            assert_eq!(alone.chat(&mut connection, "nobody", "words:1").status, 404);
        }
        asked += 500;
        assert!(asked < 20_000, "memory takes more than its limit");
    }
    assert_eq!(alone.chat(&mut connection, "chat", "words:3").status, 200);
    asked += 1;
    alone.bring_lake();
    // Each is in the lake, or was counted.
    alone.until("all records are accounted for", |alone| {
        let waiting = alone.metric("headwater_audit_spill_records");
        waiting == 0 && alone.recorded() + alone.metric("headwater_audit_dropped") == asked
    });
    assert!(alone.metric("headwater_audit_dropped") < asked / 2);
}

/// A letter by lot, the same for the same place.
fn letter(place: u64) -> char {
    let mixed = (place + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    char::from(b'a' + ((mixed >> 32) % 26) as u8)
}

/// Three nodes over a store on n1's disk, and one provider.
fn cluster(folder: &TempDir, provider: &Simulator, more: &[&str]) -> Cluster {
    let mut shape = Shape::loopback(3).unwrap();
    shape.engine = "embedded";
    let backends = json!([backend("a", "openai", provider, &key_file(folder))]);
    let models = json!([{"name": "chat", "targets": [target("a", "settings", 1, (1.0, 2.0))]}]);
    shape.settings = vec![
        setting("gateway.backends", &backends),
        setting("gateway.models", &models),
        setting("audit.location", &json!(folder.path().join("lake"))),
        "audit.flush_interval_ms=100".to_owned(),
    ];
    shape.settings.extend(more.iter().map(|one| (*one).to_owned()));
    Cluster::start(shape).unwrap()
}

fn chat_at(cluster: &Cluster, node: &str, token: &str) -> Answer {
    let body: Value = serde_json::from_str(&chat_body("chat", "words:3")).unwrap();
    cluster.ask(node, "POST", "/v1/chat/completions", token, &body).unwrap()
}

#[test]
fn without_the_store_chats_go_on_within_the_outage_allowance_and_are_charged_afterwards() {
    const LIMIT: u64 = 1_000;
    // For each chat: eight and a third of the bytes of what is said, and all of the answer.
    const RESERVED: u64 = 8 + 3 + 8;
    // A word, and three.
    const USED: u64 = 1 + 3;
    let (folder, provider) = (tempfile::tempdir().unwrap(), Simulator::start().unwrap());
    let mut cluster = cluster(&folder, &provider, &["tenancy.outage_ms=20000"]);
    let tenant = cluster.tenant_of("n2", "outage", LIMIT).unwrap();
    let token = cluster.token(&tenant, "standard").unwrap();
    await_left_of_minute(Duration::from_secs(25));
    // The edge learns the tenant's limits, and what they allow in an outage.
    assert_eq!(chat_at(&cluster, "n2", &token).status, 200);
    cluster.kill_node(STORE).unwrap();
    let mut answered = 1;
    let refused = loop {
        let answer = chat_at(&cluster, "n2", &token);
        if answer.status != 200 {
            break answer;
        }
        answered += 1;
        assert!(answered < LIMIT, "an outage without an end");
    };
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.error_code(), "quota_unavailable", "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    let unverified = "headwater_tenancy_admissions_total{outcome=\"unverified\"}";
    let unverified = cluster.metric("n2", unverified).unwrap();
    assert!(unverified > 0, "nothing was admitted in the outage");
    assert!(unverified * RESERVED <= LIMIT / 10, "{unverified} were admitted");
    cluster.start_node(STORE).unwrap();
    until("chats are answered again", || Ok(chat_at(&cluster, "n2", &token).status == 200))
        .unwrap();
    answered += 1;
    cluster.until_written().unwrap();
    assert_eq!(cluster.usage("n2", &tenant).unwrap(), (answered, answered * USED));
    let sql = format!(
        "select count(*) from audit where team = '{tenant}' and flags like '%quota_unproven%'"
    );
    let marked =
        cluster.ask("n2", "POST", "/v1/audit/query", cluster.operator(), &json!({"sql": sql}));
    assert_eq!(marked.unwrap().json()["rows"][0][0], unverified);
}

/// `headwater gateway ...` at a node as the operator: whether it did it, and what it says.
fn gateway(cluster: &Cluster, node: &str, arguments: &[&str]) -> (bool, String) {
    let address = cluster.address(node).unwrap().to_string();
    let flags = ["--at", address.as_str(), "--token", cluster.operator()];
    let output = run(&[&["gateway"][..], arguments, &flags[..]].concat()).unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// Which model each running node has answer.
fn served(cluster: &Cluster, token: &str) -> BTreeMap<String, String> {
    let of = |node: String| {
        let answer = chat_at(cluster, &node, token);
        let model = answer.header("x-headwater-model").map(str::to_owned);
        (node, model.unwrap_or_else(|| answer.text()))
    };
    cluster.running().into_iter().map(of).collect()
}

fn until_served(cluster: &Cluster, token: &str, models: [&str; 3]) {
    let wanted: BTreeMap<String, String> =
        cluster.names().into_iter().zip(models.map(str::to_owned)).collect();
    until(&format!("{wanted:?}"), || Ok(served(cluster, token) == wanted)).unwrap();
}

#[test]
fn a_poisoned_document_is_refused_by_its_field_and_damage_in_the_store_is_stepped_back_from() {
    let (folder, provider) = (tempfile::tempdir().unwrap(), Simulator::start().unwrap());
    let mut cluster = cluster(&folder, &provider, &[]);
    let token = cluster.token("acme", "standard").unwrap();
    let file = folder.path().join("document.json");
    let write = |targets: Value| {
        let document = json!({"models": [{"name": "chat", "targets": targets}]});
        std::fs::write(&file, document.to_string()).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let one = |model: &str| json!([target("a", model, 1, (1.0, 2.0))]);
    for model in ["one", "two"] {
        let (applied, said) = gateway(&cluster, "n2", &["apply", &write(one(model))]);
        assert!(applied, "{said}");
    }
    until_served(&cluster, &token, ["two", "two", "two"]);
    let with = |field: &str, value: Value| {
        let mut targets = one("bad");
        targets[0][field] = value;
        targets
    };
    let mut canary = json!([target("a", "good", 1, (1.0, 2.0)), target("a", "bad", 0, (1.0, 2.0))]);
    canary[1]["canary"] = json!(true);
    let poisons = [
        (
            with("backend", json!("nowhere")),
            "models[0].targets[0].backend: 'nowhere' is no backend",
        ),
        (canary, "models[0].targets[1].canary: has weight 0"),
        (with("canary", json!(true)), "models[0].targets[0].canary: has nothing beside it"),
        (with("price", Value::Null), "models[0].targets[0].price: is missing"),
        (with("price", json!({"input": -1.0, "output": 2.0})), "models[0].targets[0].price.input"),
        (with("wait", json!(1)), "unknown field `wait`"),
    ];
    for (targets, wanted) in poisons {
        for action in ["check", "apply"] {
            let (done, said) = gateway(&cluster, "n3", &[action, &write(targets.clone())]);
            assert!(!done && said.contains(wanted), "{action}: {said}, not {wanted}");
        }
    }
    assert_eq!(served(&cluster, &token).values().collect::<Vec<_>>(), ["two"; 3]);

    assert_eq!(cluster.stop_node(STORE).unwrap().code, Some(0));
    damage(Path::new(&cluster.path("n1/store.redb")));
    cluster.start_node(STORE).unwrap();
    // The others go on as they were; a node that starts now knows no better than its settings.
    until_served(&cluster, &token, ["settings", "two", "two"]);
    let (shown, said) = gateway(&cluster, "n2", &["show"]);
    assert!(!shown && said.contains("gateway version 2") && said.contains("roll back"), "{said}");
    let (stepped, said) = gateway(&cluster, "n3", &["rollback", "--reason", "damage"]);
    assert!(stepped && said.contains("version 3 is served; it restores 1"), "{said}");
    until_served(&cluster, &token, ["one", "one", "one"]);
}

/// Writes garbage over the document of version 2, in the file of a store that nobody has open.
fn damage(file: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let origin = Instant::now();
    let environment = Environment::new(
        move || origin.elapsed().as_millis() as u64,
        |ms| Box::pin(tokio::time::sleep(Duration::from_millis(ms))),
        || 7,
    );
    let settings =
        EmbeddedSettings { path: file.to_owned(), fsync: Fsync::Delayed, cache_bytes: 1 << 20 };
    let store = EmbeddedStore::open(&settings, environment.clone()).unwrap();
    let id = OperationId::draw(0, &environment);
    let retry = Retry::new(Arc::new(store), environment, RetryPolicy::default());
    let place = ["gateway".into(), "config".into(), "document".into()];
    let key = tuple::pack(&[&place[..], &[Element::Integer(2), Element::Integer(0)]].concat());
    let written = retry.write(id, |transaction| {
        let key = key.clone();
        Box::pin(async move { transaction.set(&key, b"\x00garbage") })
    });
    runtime.block_on(written).unwrap();
}
