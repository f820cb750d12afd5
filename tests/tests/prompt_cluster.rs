//! A prompt in a cluster of three: a promotion reaches every node, and the last good version
//! serves while the store stands still.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use headwater_tests::cluster::{Cluster, STORE, Shape, alive};
use headwater_tests::http::Connection;
use serde_json::{Value, json};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// Promotions whose way to the other nodes is measured; more by this variable.
const ROUNDS: &str = "HEADWATER_PROMPT_ROUNDS";

struct Client {
    connection: Connection,
    bearer: String,
}

impl Client {
    fn at(address: SocketAddr, token: &str) -> Client {
        let connection = Connection::open(address, PATIENCE).unwrap();
        Client { connection, bearer: format!("Bearer {token}") }
    }

    fn send(&mut self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let headers = [("authorization", self.bearer.as_str())];
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.connection.send(method, path, &headers, &body).unwrap();
        let answer = self.connection.receive().unwrap();
        (answer.status, answer.json())
    }

    /// The version and its source.
    fn resolve(&mut self) -> (u64, String) {
        let (status, told) = self.send("POST", "/v1/prompts/greeting/resolve", &Value::Null);
        if status != 200 {
            return (0, String::new());
        }
        (told["version"].as_u64().unwrap(), told["source"].as_str().unwrap().to_owned())
    }
}

fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let place = ((sorted.len() - 1) as f64 * share).round() as usize;
    sorted[place].as_secs_f64() * 1_000.0
}

#[test]
fn a_promotion_reaches_every_node_and_outlives_the_store() {
    let mut shape = Shape::loopback(3).unwrap();
    shape.engine = "embedded";
    let mut cluster = Cluster::start(shape).unwrap();
    let token = cluster.token("acme", "standard").unwrap();
    let addresses = cluster.addresses().unwrap();
    let rounds = std::env::var(ROUNDS).ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let mut writer = Client::at(addresses["n2"], &token);
    let mut took = Vec::new();
    for round in 1..=rounds {
        let document = json!({"text": format!("Version {round}")});
        let (status, told) =
            writer.send("POST", "/v1/prompts/greeting/versions", &json!({"document": document}));
        assert_eq!(status, 201, "{told}");
        if round == 1 {
            let gates = json!({"gates": {"guard_ms": 0}});
            let (status, told) = writer.send("PUT", "/v1/prompts/greeting/settings", &gates);
            assert_eq!(status, 200, "{told}");
        }
        let readers: Vec<_> = addresses
            .values()
            .map(|address| {
                let mut reader = Client::at(*address, &token);
                std::thread::spawn(move || {
                    let began = Instant::now();
                    while reader.resolve().0 != round {
                        assert!(began.elapsed() < PATIENCE, "version {round} does not come");
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    Instant::now()
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(30));
        let begun = json!({"version": round, "reason": "a test", "auto": true});
        let (status, told) = writer.send("POST", "/v1/prompts/greeting/promotions", &begun);
        let acknowledged = Instant::now();
        assert_eq!((status, told["stage"].as_str()), (201, Some("done")), "{told}");
        for reader in readers {
            took.push(reader.join().unwrap().saturating_duration_since(acknowledged));
        }
    }
    took.sort();
    println!(
        "{} sights of {rounds} promotions in 3 nodes, after the promotion's answer: p50 {:.1} ms, \
         p99 {:.1} ms, most {:.1} ms",
        took.len(),
        percentile(&took, 0.5),
        percentile(&took, 0.99),
        percentile(&took, 1.0)
    );
    without_its_store(&mut cluster, &mut writer, &token, rounds);
}

/// The last good version serves, and nothing is promoted.
fn without_its_store(cluster: &mut Cluster, writer: &mut Client, token: &str, rounds: u64) {
    let address = cluster.addresses().unwrap()["n3"];
    cluster.node(STORE).unwrap().freeze().unwrap();
    let mut reader = Client::at(address, token);
    let began = Instant::now();
    loop {
        let (version, source) = reader.resolve();
        assert_eq!(version, rounds);
        if source == "last_good" {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "the node does not notice");
        std::thread::sleep(Duration::from_millis(100));
    }
    let begun = json!({"version": 1, "reason": "a test", "auto": true});
    let (status, told) = writer.send("POST", "/v1/prompts/greeting/promotions", &begun);
    assert_eq!(status, 503, "{told}");
    cluster.node(STORE).unwrap().thaw().unwrap();
    cluster.until_status(STORE, "three alive", |status| alive(status) == 3).unwrap();
    let began = Instant::now();
    while reader.resolve().1 != "live" {
        assert!(began.elapsed() < PATIENCE, "the node does not come back");
        std::thread::sleep(Duration::from_millis(100));
    }
}
