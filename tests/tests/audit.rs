//! The audit over a real node: one record for each request, also when the node is killed; a
//! tenant sees its own; and what the records say was used is what the provider billed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use headwater_tests::node::{HANG_TIMEOUT, NodeProcess, models_setting, run, weights};
use headwater_tests::tokens::{new_key, token};
use headwater_tests::upstream::{Outcome, Simulator, UPSTREAM_KEY};
use serde_json::{Value, json};
use tempfile::TempDir;

struct World {
    folder: TempDir,
    provider: Simulator,
}

impl World {
    fn new() -> World {
        let world =
            World { folder: tempfile::tempdir().unwrap(), provider: Simulator::start().unwrap() };
        new_key(&world.path("key")).unwrap();
        std::fs::write(world.path("upstream"), UPSTREAM_KEY).unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, more: &[&str]) -> NodeProcess {
        let (url, key) = (self.provider.base_url(), self.path("upstream"));
        let key = key.display();
        let backend =
            format!("{{name=\"b\", protocol=\"openai\", url=\"{url}\", key_file=\"{key}\"}}");
        let target = "{backend=\"b\", model=\"m\", price={input=1.0, output=2.0}}";
        let mut settings = vec![
            models_setting(&weights().unwrap(), ""),
            format!("auth.key_file={}", self.path("key").display()),
            format!("gateway.backends=[{backend}]"),
            format!("gateway.models=[{{name=\"chat\", targets=[{target}]}}]"),
            "gateway.breaker_failures=1000".to_owned(),
            "gateway.tries=1".to_owned(),
        ];
        settings.extend(more.iter().map(|one| (*one).to_owned()));
        let mut node = NodeProcess::listening(&self.path("data"), &settings).unwrap();
        node.wait_for("ready").unwrap();
        node
    }

    fn token(&self, tenant: &str, tier: &str) -> String {
        token(&self.path("key"), tenant, tier).unwrap()
    }
}

/// The status of one chat, once all of its answer is there, or as much as comes.
fn chat(node: &NodeProcess, token: &str, model: &str, says: &str, stream: bool) -> u16 {
    let mut connection = TcpStream::connect(node.address().unwrap()).unwrap();
    connection.set_read_timeout(Some(HANG_TIMEOUT)).unwrap();
    let body = json!({
        "model": model, "stream": stream, "messages": [{"role": "user", "content": says}],
    });
    let body = body.to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: headwater\r\nconnection: close\r\n\
         authorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A stream that is cut ends without its last chunk.
    let _ = connection.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer);
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    status.expect("a status").parse().expect("a number")
}

fn ask(node: &NodeProcess, token: &str, sql: &str) -> Value {
    let mut connection = node.connect().unwrap();
    let bearer = format!("Bearer {token}");
    let body = json!({ "sql": sql }).to_string();
    let headers = [("authorization", bearer.as_str())];
    connection.post("/v1/audit/query", &headers, body.as_bytes()).unwrap().json()
}

/// Waits for so many records, and gives them by outcome.
fn outcomes(node: &NodeProcess, token: &str, records: u64) -> Value {
    let began = Instant::now();
    loop {
        let counted = ask(node, token, "select count(*) from audit");
        if counted["rows"][0][0] == records {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{counted} of {records}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let sql = "select outcome, count(*) from audit group by outcome order by outcome";
    ask(node, token, sql)["rows"].clone()
}

/// Tokens in and out, as the provider billed them.
fn billed(provider: &Simulator) -> (u64, u64) {
    let records = provider.settled(HANG_TIMEOUT).expect("all requests end");
    let whole: Vec<_> =
        records.iter().filter(|record| record.outcome == Outcome::Finished).collect();
    (whole.iter().map(|one| one.input).sum(), whole.iter().map(|one| one.output).sum())
}

fn command(node: &NodeProcess, token: &str, flags: &[&str]) -> String {
    let address = node.address().unwrap().to_string();
    let all = [flags, &["--at", &address, "--token", token]].concat();
    let output = run(&all).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path, end)),
            false if path.extension().is_some_and(|own| own == end) => found.push(path),
            false => {}
        }
    }
    found
}

#[test]
fn each_request_has_one_record_that_outlives_the_node() {
    let world = World::new();
    let node = world.start(&["audit.content=\"hash\"", "audit.content_by_team={acme=\"full\"}"]);
    let (acme, other) = (world.token("acme", "standard"), world.token("other", "standard"));
    let operator = world.token("ops", "operator");
    assert_eq!(chat(&node, &acme, "chat", "words:7", false), 200);
    assert_eq!(chat(&node, &acme, "chat", "words:5", true), 200);
    assert_eq!(chat(&node, &other, "chat", "a secret of the other", true), 200);
    assert_eq!(chat(&node, &acme, "nothing", "words:1", false), 404);
    assert_eq!(chat(&node, &acme, "chat", "fault:400", false), 400);
    assert_eq!(chat(&node, &acme, "chat", "fault:429:7", false), 429);
    assert_eq!(chat(&node, &acme, "chat", "fault:500", false), 503);
    chat(&node, &acme, "chat", "fault:cut", true);
    let expected = json!([
        ["cut", 1],
        ["limited", 1],
        ["refused", 1],
        ["unavailable", 1],
        ["unknown_model", 1],
        ["whole", 3]
    ]);
    assert_eq!(outcomes(&node, &operator, 8), expected);
    // All of it still waits; the process ends without a word.
    assert!(files(&world.path("data/audit"), "parquet").is_empty());
    node.kill().unwrap();
    node.wait().unwrap();
    let node = world.start(&["audit.flush_interval_ms=100"]);
    assert_eq!(outcomes(&node, &operator, 8), expected);
    let began = Instant::now();
    while files(&world.path("data/audit-spill"), "spill").iter().any(|_| true) {
        assert!(began.elapsed() < Duration::from_secs(20), "the spill goes into the lake");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(files(&world.path("data/audit"), "parquet").len(), 2);
    assert_eq!(outcomes(&node, &operator, 8), expected);
    let (input, output) = billed(&world.provider);
    let sql = "select sum(tokens_in), sum(tokens_out), sum(cost_micro_usd) from audit \
               where outcome = 'whole'";
    let sums = ask(&node, &operator, sql);
    assert_eq!(sums["rows"], json!([[input, output, input + 2 * output]]));
    // What was said is kept as each team's setting has it.
    let said = "select request like '%secret%' or response like '%secret%', request_hash is null \
                from audit where outcome = 'whole' and team = 'other'";
    assert_eq!(ask(&node, &operator, said)["rows"], json!([[null, false]]));
    let said = "select count(response) from audit where response like '%w%' and team = 'acme'";
    assert!(ask(&node, &operator, said)["rows"][0][0].as_u64() >= Some(2));
    seen(&node, &acme, &other, &operator);
    assert_eq!(node.stop().unwrap().code, Some(0));
}

/// Who sees what, by HTTP and by the command line.
fn seen(node: &NodeProcess, acme: &str, other: &str, operator: &str) {
    let teams = "select team, count(*) from audit group by team order by team";
    assert_eq!(ask(node, operator, teams)["rows"], json!([["acme", 7], ["other", 1]]));
    assert_eq!(ask(node, acme, teams)["rows"], json!([["acme", 7]]));
    assert_eq!(ask(node, other, teams)["rows"], json!([["other", 1]]));
    let union = "select team from audit union select 'acme' from audit where team = 'acme'";
    assert_eq!(ask(node, other, union)["rows"], json!([["other"]]));
    for sql in ["select * from '/etc/passwd'", "copy audit to '/tmp/x.csv'", "drop table audit"] {
        let refused = ask(node, other, sql);
        assert_eq!(refused["error"]["code"], "invalid_sql", "{refused}");
    }
    let flags = ["audit", "query", teams, "--format", "csv"];
    let csv = command(node, operator, &flags);
    assert_eq!(csv, "team,count(*)\r\nacme,7\r\nother,1\r\n");
    let cost = command(node, operator, &["audit", "cost", "--by", "team", "--format", "csv"]);
    let lines: Vec<&str> = cost.lines().collect();
    assert_eq!(lines.len(), 3, "{cost}");
    assert!(lines[0].starts_with("day,team,requests,tokens_in"), "{cost}");
    assert!(lines[1].contains(",acme,7,") && lines[2].contains(",other,1,"), "{cost}");
    let own = command(node, other, &["audit", "cost", "--by", "team"]);
    assert!(own.contains("other") && !own.contains("acme"), "{own}");
}
