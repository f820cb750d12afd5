//! Replicas that die under load: every request is answered, and every vector is right.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use headwater_node::config::{ConfigSource, Settings, load};
use headwater_node::server::Node;
use headwater_tests::http::{Answer, Connection};
use headwater_tests::node::{DIMENSIONS, MODEL, models_setting, weights};
use serde_json::{Value, json};

const REQUESTS: usize = 10_000;
const CLIENTS: usize = 64;
const REPLICAS: usize = 2;
/// A replica dies every second, or every so many requests where these come first, so that a
/// fast machine sees as many deaths.
const KILL_EVERY: Duration = Duration::from_secs(1);
const KILL_EVERY_REQUESTS: usize = 500;
/// Tells a request that hangs; none of them takes a hundredth of it.
const HANG_TIMEOUT: Duration = Duration::from_secs(30);
/// By then every thread has its stack and every pool its size.
const WARM_REQUESTS: usize = 2000;
const GROWTH_BYTES_MAX: usize = 64 << 20;

const WORDS: [&str; 12] = [
    "river", "stone", "engine", "winter", "paper", "signal", "garden", "copper", "lantern",
    "harbour", "ledger", "cloud",
];

/// Texts of 3 to 8 words, all different.
fn texts() -> Vec<String> {
    let word = |place: usize| WORDS[place % WORDS.len()];
    let text = |number: usize| {
        let words = (0..3 + number % 6).map(|place| word(number * (place + 1) + number / 7));
        format!("{} {}", words.collect::<Vec<_>>().join(" "), number)
    };
    (0..96).map(text).collect()
}

fn settings(data_dir: &str) -> Settings {
    let flags = vec![
        models_setting(&weights().unwrap(), &format!(", replicas={REPLICAS}, threads=1")),
        "server.listen=127.0.0.1:0".to_owned(),
        format!("data_dir={data_dir}"),
        // The texts come again and again, and each time a replica shall compute them.
        "embedding.cache_bytes=0".to_owned(),
    ];
    load(&ConfigSource { flags, ..ConfigSource::default() }).unwrap()
}

fn embed(client: &mut Connection, texts: &[&str]) -> Answer {
    let body = json!({"model": MODEL, "input": texts}).to_string();
    client.post("/v1/embeddings", &[], body.as_bytes()).unwrap()
}

fn vectors(answer: &Answer) -> Vec<Vec<f64>> {
    let numbers = |item: &Value| {
        let list = item["embedding"].as_array().unwrap();
        list.iter().map(|number| number.as_f64().unwrap()).collect()
    };
    answer.json()["data"].as_array().unwrap().iter().map(numbers).collect()
}

/// What all clients saw together.
#[derive(Default)]
struct Tally {
    next: AtomicUsize,
    done: AtomicUsize,
    served: AtomicUsize,
    lost: AtomicUsize,
    overloaded: AtomicUsize,
}

/// One client: asks for text after text over one connection until all requests are given out.
/// Every answer is the right vector, or a refusal that tells when to come again.
fn client(address: SocketAddr, texts: &[String], expected: &[Vec<f64>], tally: &Tally) {
    let mut connection = Connection::open(address, HANG_TIMEOUT).unwrap();
    loop {
        let number = tally.next.fetch_add(1, Ordering::Relaxed);
        if number >= REQUESTS {
            return;
        }
        let place = number % texts.len();
        let answer = embed(&mut connection, &[&texts[place]]);
        match (answer.status, answer.error_code().as_str()) {
            (200, _) => {
                let found = vectors(&answer);
                assert_eq!((found.len(), found[0].len()), (1, DIMENSIONS));
                let pairs = found[0].iter().zip(&expected[place]);
                let off = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(off <= 1e-4, "off by {off} for {:?}", texts[place]);
                tally.served.fetch_add(1, Ordering::Relaxed);
            }
            (503, code @ ("replica_lost" | "overloaded")) => {
                let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                assert!(seconds >= 1, "{seconds}");
                let count = if code == "overloaded" { &tally.overloaded } else { &tally.lost };
                count.fetch_add(1, Ordering::Relaxed);
            }
            _ => panic!("request {number}: {} {}", answer.status, answer.text()),
        }
        tally.done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Kills one replica after the other until the clients are done, and returns how many, with
/// the resident memory when the node was warm, in bytes.
fn kill_replicas(node: &Node, tally: &Tally, over: impl Fn() -> bool) -> (usize, Option<usize>) {
    let (mut kills, mut warm) = (0, None);
    let (mut last, mut last_done) = (Instant::now(), 0);
    while !over() {
        let done = tally.done.load(Ordering::Relaxed);
        if warm.is_none() && done >= WARM_REQUESTS {
            warm = Some(resident_bytes());
        }
        if last.elapsed() >= KILL_EVERY || done >= last_done + KILL_EVERY_REQUESTS {
            node.embedding().model(MODEL).unwrap().kill_replica(kills % REPLICAS);
            kills += 1;
            (last, last_done) = (Instant::now(), done);
        }
        thread::sleep(Duration::from_millis(5));
    }
    (kills, warm)
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    // SAFETY: sysconf reads a constant of the system.
    pages * usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap()
}

/// The sum of a metric over its labels.
fn metric(connection: &mut Connection, name: &str) -> f64 {
    let page = connection.get("/metrics", &[]).unwrap().text();
    let lines = page.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[test]
fn ten_thousand_requests_outlive_their_replicas() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let node = runtime.block_on(Node::start(settings(folder.path().to_str().unwrap()))).unwrap();
    let address = node.address();
    let texts = texts();
    let mut connection = Connection::open(address, HANG_TIMEOUT).unwrap();
    let all: Vec<&str> = texts.iter().map(String::as_str).collect();
    let expected = vectors(&embed(&mut connection, &all));
    assert_eq!(expected.len(), texts.len());

    let tally = Tally::default();
    let (kills, warm) = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| client(address, &texts, &expected, &tally)))
            .collect();
        kill_replicas(&node, &tally, || clients.iter().all(|client| client.is_finished()))
    });
    let grown = resident_bytes().saturating_sub(warm.unwrap());
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    let (served, lost, overloaded) =
        (count(&tally.served), count(&tally.lost), count(&tally.overloaded));
    let deaths = metric(&mut connection, "headwater_embedding_replicas_lost_total");
    println!(
        "{served} served, {lost} lost, {overloaded} overloaded; {kills} kills, {deaths} deaths; \
         {} KiB more memory",
        grown >> 10
    );
    assert_eq!(served + lost + overloaded, REQUESTS);
    assert!(served * 10 >= REQUESTS * 9, "only {served} served, {lost} lost");
    assert!(kills >= 5 && deaths >= 5.0, "{kills} kills, {deaths} deaths");
    assert!(grown < GROWTH_BYTES_MAX, "{grown} bytes more than after {WARM_REQUESTS} requests");

    // The world heals: all replicas come back, and serve.
    let model = node.embedding().model(MODEL).unwrap();
    let patience = Instant::now();
    while model.live_replicas() < REPLICAS {
        assert!(patience.elapsed() < HANG_TIMEOUT, "{} replicas live", model.live_replicas());
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(embed(&mut connection, &all).status, 200);
    runtime.block_on(node.drain()).unwrap();
    runtime.shutdown_background();
}
