//! Sandboxes of a real node over HTTP: what a run sees and may use, sessions, and more runs than
//! the machine can hold.
//!
//! HEADWATER_SANDBOX_SECONDS says how long the load lasts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use headwater_tests::http::{Answer, Connection};
use headwater_tests::node::{HANG_TIMEOUT, NodeProcess, models_setting, weights};
use headwater_tests::sandbox::{IMAGE, images};
use headwater_tests::settings::setting;
use headwater_tests::tokens::{new_key, token};
use serde_json::{Value, json};
use tempfile::TempDir;

const SECONDS: u64 = 4;
/// A team, the runs a second that it asks for, and clients enough to have them all under way.
type Offer = (&'static str, u64, u64);
const OFFERED: [Offer; 3] = [("greedy", 240, 120), ("birch", 30, 60), ("cedar", 30, 60)];

struct House {
    node: NodeProcess,
    folder: TempDir,
}

impl House {
    fn start() -> House {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        new_key(&key).unwrap();
        let settings = [
            models_setting(&weights().unwrap(), ", replicas=1, threads=1"),
            format!("auth.key_file={}", key.display()),
            setting("sandbox.engines", &json!(["jail"])),
            setting("sandbox.images", &json!(images(env!("CARGO_TARGET_TMPDIR")).unwrap())),
            setting("sandbox.image", &json!(IMAGE)),
        ];
        let mut node = NodeProcess::listening(&folder.path().join("data"), &settings).unwrap();
        node.wait_for("ready").unwrap();
        House { node, folder }
    }

    fn bearer(&self, team: &str) -> String {
        format!("Bearer {}", token(&self.folder.path().join("key"), team, "standard").unwrap())
    }

    fn ask(&self, team: &str, method: &str, path: &str, body: &Value) -> Answer {
        let bearer = self.bearer(team);
        let headers = [("authorization", bearer.as_str())];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut connection = self.node.connect().unwrap();
        connection.send(method, path, &headers, body.as_bytes()).unwrap();
        connection.receive().unwrap()
    }

    fn run(&self, tier: &str, code: &str) -> Value {
        let body = json!({"code": code, "isolation": "contained", "tier": tier});
        let answer = self.ask("acme", "POST", "/v1/sandbox/run", &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }
}

#[test]
fn a_run_has_its_own_files_and_a_clear_limit_and_a_session_keeps_what_it_wrote() {
    let house = House::start();
    let told = house.run("small", "print(open('/etc/passwd').read())");
    let own = told["output"].as_str().unwrap();
    let hosts = std::fs::read_to_string("/etc/passwd").unwrap();
    assert!(own.contains("sandbox:x:1000:"), "{told}");
    assert_ne!(own.trim(), hosts.trim());

    let greedy = "x = b'x' * (1 << 30)\nprint(len(x))";
    let told = house.run("small", greedy);
    assert_eq!(told["ended"], "memory", "{told}");
    let reason = told["reason"].as_str().unwrap();
    assert!(reason.contains("512 MiB") && reason.contains("the tier large"), "{told}");
    let told = house.run("large", greedy);
    assert_eq!((&told["ended"], &told["output"]), (&json!("exit 0"), &json!("1073741824\n")));

    let place = json!({"isolation": "contained"});
    let opened = house.ask("acme", "POST", "/v1/sandbox/sessions", &place);
    assert_eq!(opened.status, 201, "{}", opened.text());
    let path = format!("/v1/sandbox/sessions/{}", opened.json()["id"].as_str().unwrap());
    let run = |team: &str, code: &str| {
        house.ask(team, "POST", &format!("{path}/run"), &json!({"code": code}))
    };
    let written = run("acme", "import os\nopen(os.environ['HOME'] + '/note', 'w').write('kept')");
    assert_eq!(written.json()["ended"], "exit 0", "{}", written.text());
    assert_eq!(run("birch", "print(1)").status, 404);
    let act = |what: &str| house.ask("acme", "POST", &format!("{path}/{what}"), &Value::Null);
    let paused = act("pause");
    assert!(paused.status < 300, "{}", paused.text());
    let refused = run("acme", "print(1)");
    assert!((400..500).contains(&refused.status), "{}", refused.text());
    assert!(act("resume").status < 300);
    let read = run("acme", "import os\nprint(open(os.environ['HOME'] + '/note').read())");
    assert_eq!(read.json()["output"], "kept\n", "{}", read.text());
    assert!(act("close").status < 300);
    assert_eq!(run("acme", "print(1)").status, 404);
    are_recorded(&house);
    assert_eq!(house.node.stop().unwrap().code, Some(0));
}

/// Each run of the team has a record: those that ended well, that memory ended, and that a session
/// that was paused or closed did not take.
fn are_recorded(house: &House) {
    let sql = "select outcome, ended, refusal, count(*) from audit where team = 'acme' \
               and protocol = 'tool' group by 1, 2, 3 order by 1, 2, 3";
    let key = house.folder.path().join("key");
    let operator = format!("Bearer {}", token(&key, "platform", "operator").unwrap());
    let began = Instant::now();
    loop {
        let headers = [("authorization", operator.as_str())];
        let body = json!({ "sql": sql }).to_string();
        let mut connection = house.node.connect().unwrap();
        let answer = connection.post("/v1/audit/query", &headers, body.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let rows = answer.json()["rows"].clone();
        let of = |row: &Value| row[3].as_u64().unwrap_or_default();
        if rows.as_array().into_iter().flatten().map(of).sum::<u64>() == 7 {
            let told = rows.to_string();
            for word in ["exit 0", "memory", "session_paused", "unknown_session"] {
                assert!(told.contains(word), "{word}: {told}");
            }
            return;
        }
        assert!(began.elapsed() < HANG_TIMEOUT, "{rows}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// What became of a team's runs.
#[derive(Clone, Debug, Default)]
struct Tally {
    /// How long those took that ran, in ms.
    took_ms: Vec<u128>,
    refused: u64,
    odd: Vec<String>,
}

impl Tally {
    fn share(&self) -> f64 {
        let ran = self.took_ms.len() as f64;
        ran / (ran + self.refused as f64)
    }

    fn part(&mut self, per_mille: usize) -> u128 {
        self.took_ms.sort_unstable();
        let last = self.took_ms.len().saturating_sub(1);
        self.took_ms.get(last * per_mille / 1_000).copied().unwrap_or_default()
    }
}

/// Asks for runs at a pace that does not heed the answers.
fn offer(at: SocketAddr, bearer: &str, (team, rate, clients): Offer, seconds: u64) -> Tally {
    let (next, tally) = (AtomicU64::new(0), Mutex::new(Tally::default()));
    let began = Instant::now();
    let client = || {
        let mut connection = Connection::open(at, HANG_TIMEOUT).unwrap();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= rate * seconds {
                return;
            }
            let at = Duration::from_micros(number * 1_000_000 / rate);
            thread::sleep(at.saturating_sub(began.elapsed()));
            let code = format!("print(sum(range({number})), '{team}')");
            let body = json!({"code": code, "isolation": "contained"}).to_string();
            let headers = [("authorization", bearer)];
            let asked = Instant::now();
            let answer = connection.post("/v1/sandbox/run", &headers, body.as_bytes()).unwrap();
            let wanted = format!("{} {team}\n", number * number.saturating_sub(1) / 2);
            let is_retried = answer.header("retry-after").is_some();
            let mut tally = tally.lock().unwrap();
            match answer.status {
                200 if answer.json()["output"] == wanted.as_str() => {
                    tally.took_ms.push(asked.elapsed().as_millis());
                }
                429 if is_retried => tally.refused += 1,
                _ => tally.odd.push(answer.text()),
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(client);
        }
    });
    tally.into_inner().unwrap()
}

#[test]
fn more_runs_than_it_holds_are_told_to_come_again_and_teams_take_turns() {
    let set = std::env::var("HEADWATER_SANDBOX_SECONDS").ok();
    let seconds = set.map_or(SECONDS, |seconds| seconds.parse().expect("a number of seconds"));
    let house = House::start();
    let began = Instant::now();
    let tallies = Arc::new(Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for wanted in OFFERED {
            let (at, bearer) = (house.node.address().unwrap(), house.bearer(wanted.0));
            let tallies = Arc::clone(&tallies);
            scope.spawn(move || {
                let tally = offer(at, &bearer, wanted, seconds);
                tallies.lock().unwrap().insert(wanted.0, tally);
            });
        }
    });
    let took = began.elapsed();
    let mut tallies = tallies.lock().unwrap().clone();
    let ran: usize = tallies.values().map(|tally| tally.took_ms.len()).sum();
    println!("{:.0} runs a second", ran as f64 / took.as_secs_f64());
    for (team, tally) in &mut tallies {
        let (ran, share) = (tally.took_ms.len(), tally.share() * 100.0);
        let (half, most) = (tally.part(500), tally.part(990));
        println!("{team}: {ran} ran, {share:.0} %; p50 {half} ms, p99 {most} ms");
        assert!(tally.odd.is_empty(), "{team}: {} others, first {}", tally.odd.len(), tally.odd[0]);
    }
    // Whoever asks for little is not pushed aside by whoever asks for much.
    for team in ["birch", "cedar"] {
        let (own, greedy) = (tallies[team].share(), tallies["greedy"].share());
        assert!(own >= greedy, "{team} got {own} of its runs, greedy {greedy}");
    }
    // What waited has ended, and the node serves as before.
    let told = house.run("small", "print('well')");
    assert_eq!(told["output"], "well\n", "{told}");
    let waiting = || {
        let page = house.node.connect().unwrap().get("/metrics", &[]).unwrap().text();
        let line = page.lines().find(|line| {
            line.starts_with("headwater_sandbox_slots{") && line.contains("state=\"waiting\"")
        });
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
    };
    let began = Instant::now();
    while waiting() != Some(0) {
        assert!(began.elapsed() < HANG_TIMEOUT, "{:?} calls still wait", waiting());
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(house.node.stop().unwrap().code, Some(0));
}
