//! Mixed chats of four teams through three nodes, one of which is killed in the midst: the ledger,
//! the audit and the provider's own count agree, to the token and the millionth of a dollar.
//!
//! **What a killed node may lose.** A client has the end of its answer once the ledger has its
//! charge, so whatever was answered counts. In flight is what the node had begun and its client had
//! not heard to the end; and what a client had left just before, as nobody waits for that charge.
//! Those may be in the ledger and the audit or not, each at most once and for no more than was
//! reserved; the provider may have produced something for each. They are printed. What the spill
//! of the killed node held comes into the lake when the node starts again. A record waits for some
//! milliseconds in memory, so that the one of a refusal just before, which costs nothing, may be
//! missing, too, as may that of a client that had just left.
//!
//! HEADWATER_COST_REQUESTS says how many chats.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use headwater_tests::chat::books::{Books, COLUMNS, Prices, Row, Sums, cost, reserved};
use headwater_tests::chat::plan::{Kind, MODELS, Planned, TEAMS, planned, user};
use headwater_tests::chat::{Client, Heard};
use headwater_tests::cluster::{Cluster, Shape, command, until};
use headwater_tests::load::Edges;
use headwater_tests::node::HANG_TIMEOUT;
use headwater_tests::settings::{backend, setting, target};
use headwater_tests::upstream::{Outcome, Record, Simulator, UPSTREAM_KEY};
use serde_json::{Value, json};
use tempfile::TempDir;

const REQUESTS: u64 = 3_000;
const CLIENTS: u64 = 24;
const KILLED: &str = "n3";
/// Most tries of a client that is told to come again.
const COMES_AGAIN: usize = 100;
/// Longest time that a charge takes which nobody waits for.
const SETTLES: Duration = Duration::from_secs(2);
/// Chats whose records are read at once.
const PAGE: u64 = 5_000;

/// In millionths of a US dollar for a million tokens.
const PRICES: [(&str, (u64, u64)); 6] = [
    ("river-1", (1_000_000, 2_000_000)),
    ("delta-1", (150_000, 600_000)),
    ("lake-1", (3_000_000, 5_000_000)),
    ("lake-2", (7_000_000, 9_000_000)),
    ("strait-1", (2_000_000, 4_000_000)),
    ("strait-2", (4_000_000, 8_000_000)),
];

fn requests() -> u64 {
    let set = std::env::var("HEADWATER_COST_REQUESTS").ok();
    set.map_or(REQUESTS, |count| count.parse().expect("HEADWATER_COST_REQUESTS is a number"))
}

fn listed(model: &str) -> (f64, f64) {
    let (_, (input, output)) = PRICES.into_iter().find(|(name, _)| *name == model).unwrap();
    (input as f64 / 1e6, output as f64 / 1e6)
}

/// What is served: of an OpenAI, of an Anthropic, with a fallback to the other, and of both.
fn models() -> Value {
    let own = |backend: &str, model: &str, weight| target(backend, model, weight, listed(model));
    json!([
        {"name": "river", "targets": [own("oa", "river-1", 1)]},
        {"name": "delta", "targets": [own("an", "delta-1", 1)]},
        {"name": "lake", "targets": [own("an", "lake-1", 1)], "fallbacks": [own("oa", "lake-2", 1)]},
        {"name": "strait", "targets": [own("oa", "strait-1", 3), own("an", "strait-2", 1)]},
    ])
}

struct World {
    cluster: Cluster,
    provider: Simulator,
    folder: TempDir,
}

impl World {
    fn start() -> World {
        let (folder, provider) = (tempfile::tempdir().unwrap(), Simulator::start().unwrap());
        let key = folder.path().join("upstream");
        std::fs::write(&key, UPSTREAM_KEY).unwrap();
        let of = |name: &str, protocol: &str| backend(name, protocol, &provider, &key);
        let backends = json!([of("oa", "openai"), of("an", "anthropic")]);
        let mut shape = Shape::loopback(3).unwrap();
        shape.engine = "embedded";
        shape.settings = vec![
            setting("gateway.backends", &backends),
            setting("gateway.models", &models()),
            // One for the failure of the plan, the rest for connections that the provider had cut.
            "gateway.tries=5".to_owned(),
            // Failures are a share of the plan here, and not a sign.
            "gateway.breaker_failures=1000".to_owned(),
            setting("audit.location", &json!(folder.path().join("lake"))),
            "audit.flush_interval_ms=1000".to_owned(),
            "audit.query_rows=100000".to_owned(),
        ];
        World { cluster: Cluster::start(shape).unwrap(), provider, folder }
    }

    /// Rows of the audit, asked of the node that was killed: it sees its own spill, too.
    fn ask(&self, sql: &str) -> Value {
        let (token, body) = (self.cluster.operator(), json!({ "sql": sql }));
        let answer = self.cluster.ask(KILLED, "POST", "/v1/audit/query", token, &body).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["truncated"], false, "{sql}");
        answer.json()["rows"].clone()
    }

    /// A command as the operator, and what it prints.
    fn command(&self, arguments: &[&str]) -> String {
        let address = self.cluster.address(KILLED).unwrap().to_string();
        let flags = ["--at", address.as_str(), "--token", self.cluster.operator()];
        command(&[arguments, &flags[..]].concat()).unwrap()
    }

    /// The ledger by team and model.
    fn ledger(&self) -> BTreeMap<(String, String), Sums> {
        let mut ledger: BTreeMap<(String, String), Sums> = BTreeMap::new();
        for team in TEAMS {
            let told = self.command(&["tenant", "usage", team]);
            for line in told.lines().skip(1) {
                let cells: Vec<&str> = line.split_whitespace().collect();
                let number = |place: usize| cells[place].parse::<u64>().unwrap();
                let sums = Sums { requests: number(1), tokens: number(2), micro_usd: number(3) };
                ledger.entry((team.to_owned(), cells[4].to_owned())).or_default().add(sums);
            }
        }
        ledger
    }

    /// The audit by chat.
    fn rows(&self, requests: u64) -> BTreeMap<String, Vec<Row>> {
        let mut rows: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        for first in (0..requests).step_by(PAGE as usize) {
            let (from, to) = (user(first), user(first + PAGE));
            let sql = format!(
                "select {COLUMNS} from audit where user_id >= '{from}' and user_id < '{to}'"
            );
            for cells in self.ask(&sql).as_array().unwrap() {
                let row = Row::read(cells);
                rows.entry(row.user.clone()).or_default().push(row);
            }
        }
        rows
    }
}

/// One chat that has ended for its client.
struct Done {
    number: u64,
    /// Of its last try.
    edge: String,
    heard: Heard,
    answers: usize,
    ended: Instant,
}

/// What the clients share.
struct Work {
    requests: u64,
    next: AtomicU64,
    edges: Edges,
    tokens: BTreeMap<&'static str, String>,
    done: Mutex<Vec<Done>>,
    /// Once a node was killed, when it was gone for certain.
    gone: Mutex<Option<Instant>>,
}

/// Holds chats of the plan until there are no more.
fn client(number: u64, work: &Work) {
    let mut clients: BTreeMap<&str, Client> = BTreeMap::new();
    let client = |(team, token): (&&'static str, &String)| (*team, Client::new(token));
    clients.extend(work.tokens.iter().map(client));
    loop {
        let chat_number = work.next.fetch_add(1, Ordering::Relaxed);
        if chat_number >= work.requests {
            return;
        }
        let Planned { team, kind, chat } = planned(chat_number);
        let client = clients.get_mut(team).unwrap();
        let mut answers = 0;
        for again in 0.. {
            let (edge, address) = work.edges.of(number as usize).unwrap();
            let began = Instant::now();
            let heard = client.hold(address, &chat);
            let ended = Instant::now();
            answers += usize::from(!matches!(heard, Heard::Lost | Heard::Unreached));
            let has_gone = edge == KILLED && work.gone.lock().unwrap().is_some_and(|at| began > at);
            let is_told_to = kind != Kind::Exhausted
                && matches!(
                    heard,
                    Heard::Refused { status: 503 | 529, retry_after_s: Some(_), .. }
                );
            let is_unheard = heard == Heard::Unreached || heard == Heard::Lost && has_gone;
            if again < COMES_AGAIN && (is_told_to || is_unheard) {
                thread::sleep(Duration::from_millis(200));
                continue;
            }
            let done = Done { number: chat_number, edge, heard, answers, ended };
            work.done.lock().unwrap().push(done);
            break;
        }
    }
}

/// All clients at work, and the death of a node when half is done. Gives what they heard, and when
/// the node died.
fn run(world: &mut World, requests: u64) -> (Vec<Done>, Instant) {
    let token = |team| (team, world.cluster.token(team, "standard").unwrap());
    let work = Arc::new(Work {
        requests,
        next: AtomicU64::new(0),
        edges: Edges::new(world.cluster.addresses().unwrap()),
        tokens: TEAMS.into_iter().map(token).collect(),
        done: Mutex::default(),
        gone: Mutex::default(),
    });
    let start = |number| {
        let work = Arc::clone(&work);
        thread::spawn(move || client(number, &work))
    };
    let clients: Vec<_> = (0..CLIENTS).map(start).collect();
    while work.next.load(Ordering::Relaxed) < requests / 2 {
        thread::sleep(Duration::from_millis(1));
    }
    let died = Instant::now();
    world.cluster.node(KILLED).unwrap().kill().unwrap();
    // What is sent from now on nobody hears, though the ports close a little later.
    *work.gone.lock().unwrap() = Some(Instant::now());
    work.edges.set(KILLED, None);
    world.cluster.kill_node(KILLED).unwrap();
    for client in clients {
        client.join().unwrap();
    }
    (std::mem::take(&mut *work.done.lock().unwrap()), died)
}

/// Waits until all that is to be written down is: in the ledger, and in the lake.
fn settle(world: &mut World, done: &[Done], died: Instant) {
    world.provider.settled(HANG_TIMEOUT).expect("the provider's work ends");
    world.cluster.start_node(KILLED).unwrap();
    world.cluster.until_written().unwrap();
    let certain = done.iter().filter(|one| !may_be_unrecorded(one, died));
    let least: usize = certain.map(|one| one.answers).sum();
    let began = Instant::now();
    // What does not come is named by the books.
    until("the records in the lake", || {
        let mut waiting = 0;
        for node in world.cluster.running() {
            waiting += world.cluster.metric(&node, "headwater_audit_spill_records")?;
        }
        let count = world.ask("select count(*) from audit")[0][0].as_u64().unwrap();
        let is_there = waiting == 0 && count >= least as u64;
        Ok(is_there || began.elapsed() > Duration::from_secs(60))
    })
    .unwrap();
}

/// Whether the killed node may have had it in flight.
fn was_in_flight(done: &Done, died: Instant) -> bool {
    let has_left = matches!(done.heard, Heard::Left { .. }) && done.edge == KILLED;
    done.heard == Heard::Lost || has_left && done.ended + SETTLES > died
}

/// Whether its record may have died with the node: nobody waited for it.
fn may_be_unrecorded(done: &Done, died: Instant) -> bool {
    let is_unawaited = matches!(done.heard, Heard::Refused { .. } | Heard::Left { .. });
    is_unawaited && done.edge == KILLED && done.ended + SETTLES > died
}

fn by_user(records: Vec<Record>) -> BTreeMap<String, Vec<Record>> {
    let mut users: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    for record in records {
        users.entry(record.user.clone().unwrap_or_default()).or_default().push(record);
    }
    users
}

/// The three books of every chat, side by side, and the sums of each team and model.
struct Sides {
    problems: Vec<String>,
    /// Of all that was not in flight at the kill.
    certain: BTreeMap<(String, String), Sums>,
    /// What the rest may be at most.
    uncertain: BTreeMap<(String, String), Sums>,
    in_flight: Vec<String>,
    outcomes: BTreeMap<String, Sums>,
}

fn compare(
    done: &[Done],
    died: Instant,
    rows: &BTreeMap<String, Vec<Row>>,
    records: &BTreeMap<String, Vec<Record>>,
) -> Sides {
    let prices: Prices = PRICES.into_iter().collect();
    let mut sides = Sides {
        problems: Vec::new(),
        certain: BTreeMap::new(),
        uncertain: BTreeMap::new(),
        in_flight: Vec::new(),
        outcomes: BTreeMap::new(),
    };
    for one in done {
        let plan = planned(one.number);
        let user = &plan.chat.user;
        let own_rows = rows.get(user).map_or(&[][..], Vec::as_slice);
        let own_records = records.get(user).map_or(&[][..], Vec::as_slice);
        let answers = match may_be_unrecorded(one, died) {
            true => one.answers.min(own_rows.len()),
            false => one.answers,
        };
        let (heard, prices) = (&one.heard, &prices);
        let (planned, rows, records) = (&plan, own_rows, own_records);
        let books = Books { planned, heard, answers, rows, records, prices };
        sides.problems.extend(books.problems());
        let place = (plan.team.to_owned(), plan.chat.model.clone());
        if was_in_flight(one, died) {
            let charged = own_rows.iter().find(|row| row.is_charged()).map(Sums::of);
            let most = charged.unwrap_or_else(|| reserved(prices, &plan.chat));
            sides.uncertain.entry(place).or_default().add(most);
            let provider: Vec<_> =
                own_records.iter().map(|one| (one.outcome, one.input, one.output)).collect();
            let audit: Vec<_> =
                own_rows.iter().map(|row| (&row.outcome, row.input, row.output)).collect();
            let (kind, team, model) = (plan.kind, plan.team, &plan.chat.model);
            let told =
                format!("{user} {team} {model} {kind:?}: provider {provider:?} audit {audit:?}");
            sides.in_flight.push(told);
        } else {
            let sums = sides.certain.entry(place).or_default();
            own_rows.iter().filter(|row| row.is_charged()).for_each(|row| sums.add(Sums::of(row)));
        }
        for row in own_rows {
            let name = if row.is_kept { "kept" } else { row.outcome.as_str() };
            sides.outcomes.entry(name.to_owned()).or_default().add(Sums::of(row));
        }
    }
    sides
}

/// The ledger says what the records say.
fn check_ledger(sides: &Sides, ledger: &BTreeMap<(String, String), Sums>) {
    println!(
        "{:<14} {:>9} {:>12} {:>12}   in flight",
        "team, model", "requests", "tokens", "micro_usd"
    );
    let places: BTreeSet<&(String, String)> = sides.certain.keys().chain(ledger.keys()).collect();
    let mut all = Sums::default();
    for place in places {
        let of = |books: &BTreeMap<(String, String), Sums>| {
            books.get(place).copied().unwrap_or_default()
        };
        let (charged, certain, uncertain) = (of(ledger), of(&sides.certain), of(&sides.uncertain));
        let (team, model) = place;
        let Sums { requests, tokens, micro_usd } = charged;
        println!(
            "{team:<7}{model:<7} {requests:>9} {tokens:>12} {micro_usd:>12}   {}",
            uncertain.requests
        );
        let mut most = certain;
        most.add(uncertain);
        assert!(
            certain.is_within(&charged) && charged.is_within(&most),
            "{team} {model}: the ledger has {charged:?}, the audit {certain:?}; in flight when a \
             node was killed were {uncertain:?}"
        );
        all.add(charged);
    }
    println!("{:<14} {:>9} {:>12} {:>12}", "all", all.requests, all.tokens, all.micro_usd);
}

/// The commands that people ask with say the same as the rows.
fn check_command(world: &World, rows: &BTreeMap<String, Vec<Row>>) {
    let mut expected: BTreeMap<(String, String), Sums> = BTreeMap::new();
    for row in rows.values().flatten() {
        expected.entry((row.team.clone(), row.model.clone())).or_default().add(Sums::of(row));
    }
    let sql = "select team, model_asked, count(*), sum(tokens_in + tokens_out), \
               sum(cost_micro_usd) from audit where user_id is not null group by 1, 2 order by 1, 2";
    let told = world.command(&["audit", "query", sql, "--format", "csv"]);
    let lines = expected.iter().map(|((team, model), sums)| {
        format!("{team},{model},{},{},{}", sums.requests, sums.tokens, sums.micro_usd)
    });
    let told: Vec<&str> = told.lines().skip(1).map(str::trim_end).collect();
    assert_eq!(told, lines.collect::<Vec<String>>());
}

#[test]
fn ledger_audit_and_provider_agree_to_the_token() {
    let (mut world, requests) = (World::start(), requests());
    let began = Instant::now();
    let (done, died) = run(&mut world, requests);
    let took = began.elapsed();
    assert_eq!(done.len() as u64, requests);
    settle(&mut world, &done, died);
    let (rows, ledger) = (world.rows(requests), world.ledger());
    let records = by_user(world.provider.settled(HANG_TIMEOUT).unwrap());
    let sides = compare(&done, died, &rows, &records);

    let rate = requests as f64 / took.as_secs_f64();
    println!("{requests} chats of {CLIENTS} clients in {took:.1?}, {rate:.0} a second");
    for (outcome, Sums { requests, tokens, micro_usd }) in &sides.outcomes {
        println!("  {outcome:<14} {requests:>9} {tokens:>12} {micro_usd:>12}");
    }
    // A whole answer that breaks off in its body was paid for, and its client got another one.
    let broken =
        records.values().flatten().filter(|one| one.outcome == Outcome::Broken && !one.stream);
    let (count, tokens) =
        broken.fold((0, 0), |(count, tokens), one| (count + 1, tokens + one.input + one.output));
    println!("  broken before their clients saw anything: {count} answers, {tokens} tokens");
    println!("{} in flight at the kill:", sides.in_flight.len());
    sides.in_flight.iter().for_each(|one| println!("  {one}"));
    let first: Vec<&String> = sides.problems.iter().take(20).collect();
    assert!(first.is_empty(), "{} do not fit, first {first:#?}", sides.problems.len());
    let lost = done.iter().filter(|one| one.heard == Heard::Lost).count() as u64;
    assert!(lost <= CLIENTS, "{lost} chats were lost by {CLIENTS} clients");
    check_ledger(&sides, &ledger);
    check_command(&world, &rows);
    for node in world.cluster.running() {
        assert_eq!(world.cluster.metric(&node, "headwater_audit_dropped").unwrap(), 0, "{node}");
    }
    check_what_if(&world, &rows);
}

/// US dollars as `what-if` prints them.
fn usd(micro_usd: u64) -> String {
    format!("{:.6}", micro_usd as f64 / 1e6)
}

/// Past chats at other prices and weights, by hand and by the command.
fn check_what_if(world: &World, rows: &BTreeMap<String, Vec<Row>>) {
    let file = world.folder.path().join("what-if.json");
    let document = json!({"models": [
        {"name": "river", "targets": [target("oa", "river-1", 1, (10.0, 1.0))]},
        {"name": "delta", "targets": [target("an", "delta-1", 1, listed("delta-1"))]},
        {"name": "lake", "targets": [target("an", "lake-1", 1, (1.5, 6.0))]},
        {"name": "strait", "targets": [
            target("oa", "strait-1", 1, listed("strait-1")),
            target("an", "strait-2", 3, listed("strait-2")),
        ]},
    ]});
    std::fs::write(&file, document.to_string()).unwrap();
    let prices = Prices::from([
        ("river", (10_000_000, 1_000_000)),
        ("delta", (150_000, 600_000)),
        ("lake", (1_500_000, 6_000_000)),
        ("strait-1", (2_000_000, 4_000_000)),
        ("strait-2", (4_000_000, 8_000_000)),
    ]);
    let days = world.ask("select min(day), max(day) from audit");
    let (from, to) = (days[0][0].as_str().unwrap(), days[0][1].as_str().unwrap());
    let file = file.display().to_string();
    let told = world.command(&["gateway", "what-if", &file, "--from", from, "--to", to]);
    println!("{told}");
    let (mut all, mut was_all, mut would_all) = (0, 0, 0);
    for model in MODELS {
        let rows = rows.values().flatten().filter(|row| row.model == model && row.input > 0);
        let rows: Vec<&Row> = rows.collect();
        let (count, was) = (rows.len(), rows.iter().map(|row| row.micro_usd).sum::<u64>());
        let at = |name: &str| {
            rows.iter().map(|row| cost(&prices, name, row.input, row.output)).sum::<u64>()
        };
        let would = match model {
            // One part in four, and three.
            "strait" => {
                let part = |name, share: f64| (at(name) as f64 * share).round() as u64;
                part("strait-1", 0.25) + part("strait-2", 0.75)
            }
            name => at(name),
        };
        let line = told.lines().find(|line| line.starts_with(model)).unwrap();
        let cells: Vec<&str> = line.split_whitespace().take(4).collect();
        assert_eq!(cells, [model, &count.to_string(), &usd(was), &usd(would)], "{told}");
        if model == "delta" {
            assert!(line.ends_with("+0.0%") && was == would, "{told}");
        }
        (all, was_all, would_all) = (all + count, was_all + was, would_all + would);
    }
    let last = told.lines().find(|line| line.starts_with("all that is served")).unwrap();
    let cells: Vec<&str> = last.split_whitespace().skip(4).take(3).collect();
    assert_eq!(cells, [&all.to_string(), &usd(was_all), &usd(would_all)], "{told}");
}
