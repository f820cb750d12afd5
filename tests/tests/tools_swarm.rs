//! A swarm of faulty agents calls tools through three nodes while nodes, the store and slots of the
//! sandbox are killed: effects happen once, budgets hold, and nothing is left behind.
//!
//! **What a kill may do.** A tool that knows ids is asked again by the same id, so its effect is
//! there once. One that does not is never asked again once it may have heard of the call: its agent
//! is told `outcome_unknown`, and the effect is there once or not at all.
//!
//! **Money of a day.** A call that its node died with is asked again when it is sent again, which
//! wants its price once more; where the day's money is spent by then, its agent is told so. While the store is away each edge may let in `tenancy.outage_share_percent`,
//! a tenth, of a team's sum by itself. A call that was charged and did not end well, such as one
//! whose node died, has used its price up.
//!
//! HEADWATER_SWARM_CALLS says how many calls.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use headwater_tests::cluster::{Cluster, STORE, Shape};
use headwater_tests::draw::Draw;
use headwater_tests::load::Edges;
use headwater_tests::processes::{Seen, descendants, signal};
use headwater_tests::report;
use headwater_tests::sandbox::{IMAGE, images};
use headwater_tests::settings::setting;
use headwater_tests::swarm::plan::{
    Manner, SESSION_CALLS, SESSION_MICRODOLLARS, TEAMS, Tool, planned,
};
use headwater_tests::swarm::service::{Counted, Service};
use headwater_tests::swarm::{Agent, Done, gem_microdollars};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const CALLS: u64 = 2_000;
const AGENTS: usize = 24;
const OWNER: &str = "platform";
/// A node, and by what part of the calls, in percent, it dies and comes back.
const KILLS: [(&str, u64, u64); 3] = [("n3", 15, 30), ("n2", 40, 55), (STORE, 70, 0)];
/// Between two deaths of processes of the sandbox.
const SLOT_LIVES: Duration = Duration::from_millis(400);
/// What is over ends within this time.
const SETTLES: Duration = Duration::from_secs(30);

fn calls() -> u64 {
    let set = std::env::var("HEADWATER_SWARM_CALLS").ok();
    set.map_or(CALLS, |count| count.parse().expect("HEADWATER_SWARM_CALLS is a number"))
}

fn definition(tool: Tool, service: &Service, calls: u64) -> Value {
    let number = json!({"type": "integer", "minimum": 0});
    let text = json!({"type": "string"});
    let input = json!({"type": "object", "required": ["call"], "additionalProperties": false,
        "properties": {"call": number, "fault": text, "note": text}});
    let output = json!({"type": "object", "required": ["call"], "properties": {"call": number}});
    let path = match tool {
        Tool::Order => "order",
        Tool::Look => "look",
        _ => "once",
    };
    let url = format!("http://{}/{path}", service.address);
    let mut definition = json!({
        "name": tool.name(), "description": "A tool of the swarm.", "owner": OWNER,
        "input": input, "output": output, "cost_microdollars": tool.price(),
        "timeout_ms": 1_000, "output_bytes_max": 20_000,
        // Failures are a share of the plan here, and not a sign.
        "breaker": {"failures": 100, "open_ms": 100},
        "backend": {"http": {"url": url, "method": "POST"}},
    });
    let more = match tool {
        Tool::Once => json!({"kind": "stateful", "idempotent": true}),
        Tool::Order => json!({"kind": "stateful"}),
        Tool::Gem => json!({"kind": "stateful", "idempotent": true,
            "quotas": {"microdollars_per_day": gem_microdollars(calls)}}),
        Tool::Look => json!({"kind": "read_only", "cache": {"ttl_seconds": 1}}),
        Tool::Crunch => {
            let source = "import json, sys\n\
                          call = json.load(sys.stdin)['call']\n\
                          print(json.dumps({'call': call, 'sum': sum(range(call % 1000))}))";
            json!({"kind": "code", "isolation": "contained", "timeout_ms": 10_000,
                "backend": {"code": {"image": IMAGE, "source": source}}})
        }
    };
    for (name, value) in more.as_object().unwrap() {
        definition[name] = value.clone();
    }
    definition
}

struct World {
    cluster: Cluster,
    service: Service,
    tokens: Vec<String>,
    edges: Edges,
}

impl World {
    fn start(calls: u64) -> World {
        let service = Service::start().unwrap();
        let mut shape = Shape::loopback(3).unwrap();
        shape.engine = "embedded";
        shape.settings = vec![
            "embedding.models=[]".to_owned(),
            setting("tools.internal_hosts", &json!([service.address.to_string()])),
            setting("sandbox.engines", &json!(["jail"])),
            setting("sandbox.images", &json!(images(env!("CARGO_TARGET_TMPDIR")).unwrap())),
            setting("sandbox.image", &json!(IMAGE)),
            setting("sandbox.small", &json!({"warm_min": 1, "slots_max": 2})),
        ];
        let cluster = Cluster::start(shape).unwrap();
        let edges = Edges::new(cluster.addresses().unwrap());
        let tokens = TEAMS.map(|team| cluster.token(team, "standard").unwrap()).to_vec();
        let world = World { cluster, service, tokens, edges };
        world.publish(calls);
        world
    }

    fn operate(&self, method: &str, path: &str, body: &Value) {
        let operator = self.cluster.operator();
        let answer = self.cluster.ask(STORE, method, path, operator, body).unwrap();
        assert!(answer.status < 300, "{method} {path}: {}", answer.text());
    }

    fn publish(&self, calls: u64) {
        for tool in Tool::ALL {
            self.operate("POST", "/v1/tools", &definition(tool, &self.service, calls));
            for team in TEAMS {
                let grant = json!({"team": team, "tool": tool.name()});
                self.operate("PUT", &format!("/v1/tool-grants/{team}-{}", tool.name()), &grant);
            }
        }
        let mut vault = definition(Tool::Once, &self.service, calls);
        vault["name"] = json!("vault");
        self.operate("POST", "/v1/tools", &vault);
    }

    fn kill(&mut self, node: &str) {
        self.edges.set(node, None);
        self.cluster.kill_node(node).unwrap();
    }

    fn begin(&mut self, node: &str) {
        self.cluster.start_node(node).unwrap();
        self.edges.set(node, Some(self.cluster.address(node).unwrap()));
    }
}

/// What the agents share.
struct Work {
    calls: u64,
    next: AtomicU64,
    done: Mutex<Vec<Done>>,
}

fn work(work: &Work, mut agent: Agent) {
    loop {
        let number = work.next.fetch_add(1, Ordering::Relaxed);
        if number >= work.calls {
            return;
        }
        let done = agent.make(planned(number));
        work.done.lock().unwrap().push(done);
    }
}

/// Kills processes of sandboxes, one after the other, and tells all that there were.
struct Reaper {
    nodes: Arc<Mutex<BTreeSet<u32>>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(BTreeSet<Seen>, u64)>,
}

impl Reaper {
    fn start() -> Reaper {
        let nodes = Arc::<Mutex<BTreeSet<u32>>>::default();
        let stop = Arc::<AtomicBool>::default();
        let (of, until) = (Arc::clone(&nodes), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let (mut seen, mut killed, mut draw) = (BTreeSet::new(), 0, Draw::new(7));
            while !until.load(Ordering::Relaxed) {
                let nodes: Vec<u32> = of.lock().unwrap().iter().copied().collect();
                let all: Vec<Seen> =
                    nodes.into_iter().flat_map(|node| descendants(node).unwrap()).collect();
                seen.extend(all.iter().copied());
                if !all.is_empty() {
                    let victim = draw.one_of(&all);
                    killed += u64::from(victim.is_alive() && signal(victim.id, 9).is_ok());
                }
                thread::sleep(SLOT_LIVES);
            }
            (seen, killed)
        });
        Reaper { nodes, stop, thread }
    }

    /// The nodes whose slots it kills.
    fn watch(&self, world: &mut World) {
        let running = world.cluster.running();
        let ids = running.iter().map(|node| world.cluster.node(node).unwrap().id());
        *self.nodes.lock().unwrap() = ids.collect();
    }

    fn end(self) -> (BTreeSet<Seen>, u64) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// All agents at work while nodes die, each for a part of the time, the one with the store too.
fn run(world: &mut World, calls: u64, reaper: &Reaper) -> Vec<Done> {
    let shared = Arc::new(Work { calls, next: AtomicU64::new(0), done: Mutex::default() });
    let start = |number| {
        let (shared, tokens) = (Arc::clone(&shared), world.tokens.clone());
        let agent = Agent::new(number, world.edges.clone(), tokens);
        thread::spawn(move || work(&shared, agent))
    };
    let agents: Vec<_> = (0..AGENTS).map(start).collect();
    let until = |percent: u64| {
        while shared.next.load(Ordering::Relaxed) < calls * percent / 100 {
            thread::sleep(Duration::from_millis(1));
        }
    };
    for (node, dies, comes) in KILLS {
        until(dies);
        reaper.nodes.lock().unwrap().clear();
        world.kill(node);
        reaper.watch(world);
        until(comes);
        world.begin(node);
        reaper.watch(world);
    }
    for agent in agents {
        agent.join().unwrap();
    }
    std::mem::take(&mut *shared.done.lock().unwrap())
}

/// What is wrong with one call, by what its agent was told and what the service counted.
fn problem(done: &Done, counted: &Counted) -> Option<String> {
    let (planned, last) = (&done.planned, done.told.last()?);
    let answers: Vec<&Value> =
        done.told.iter().filter(|told| told.is_answer()).map(|told| &told.content).collect();
    let wrong = |what: &str| Some(format!("{what}: {planned:?} {:?} {counted:?}", done.told));
    if last.code == "silence" || last.status == 503 {
        return wrong("no answer that stays");
    }
    if planned.manner.is_refused() {
        let is_sound = (400..500).contains(&last.status) && last.status != 429;
        return if is_sound { None } else { wrong("it is to be refused") };
    }
    if answers.iter().any(|answer| **answer != *answers[0]) && planned.tool.has_effect() {
        return wrong("a repetition has another answer");
    }
    if !planned.tool.has_effect() {
        return None;
    }
    if counted.effects > 1 {
        return wrong("more than one effect");
    }
    if counted.ids.len() > 1 {
        return wrong("more than one id");
    }
    let receipt = answers.first().map(|answer| answer["receipt"].as_u64());
    if receipt.is_some_and(|receipt| counted.effects != 1 || receipt != Some(counted.receipt)) {
        return wrong("an answer without its effect");
    }
    if planned.manner == Manner::Changed && !answers.is_empty() && last.code != "id_conflict" {
        return wrong("an id was taken for another call");
    }
    let unheard = ["session_budget", "session_ended"];
    if answers.is_empty() && unheard.contains(&last.code.as_str()) && counted.effects > 0 {
        return wrong("a refused call has an effect");
    }
    None
}

/// Whether its node died while it had its effect, and then there was no money to ask again with.
fn is_unpaid(done: &Done, counted: &Counted) -> bool {
    let is_refused = done.told.iter().all(|told| told.code == "money_per_day");
    is_refused && counted.effects > 0
}

/// What the calls came to, by tool and word.
fn table(all: &[Done]) {
    let mut words: BTreeMap<(Tool, String), u64> = BTreeMap::new();
    for done in all {
        let first = &done.told[0];
        let word = if first.is_answer() { "answered".to_owned() } else { first.code.clone() };
        *words.entry((done.planned.tool, word)).or_default() += 1;
    }
    for ((tool, word), count) in words {
        println!("  {:<8} {word:<20} {count:>8}", tool.name());
    }
}

fn check_calls(all: &[Done], counted: &BTreeMap<u64, Counted>) {
    let none = Counted::default();
    // A number of the tools that only read stands for many calls.
    let of = |done: &Done| match done.planned.tool.has_effect() {
        true => counted.get(&done.planned.number).unwrap_or(&none),
        false => &none,
    };
    let problems: Vec<String> = all.iter().filter_map(|done| problem(done, of(done))).collect();
    let unpaid = all.iter().filter(|done| is_unpaid(done, of(done))).count();
    println!("{unpaid} calls were lost with their node and are not paid");
    assert!(unpaid <= AGENTS * KILLS.len(), "{unpaid} calls were refused and had effects");
    let first = &problems[..problems.len().min(20)];
    assert!(problems.is_empty(), "{} of {} calls\n{}", problems.len(), all.len(), report(first));
}

/// No session went over its caps, by what the service counted; and nothing was forgotten.
fn check_sessions(world: &World, all: &[Done], counted: &BTreeMap<u64, Counted>) {
    let mut sessions: BTreeMap<(&str, usize), (u64, u64, u64)> = BTreeMap::new();
    for done in all.iter().filter(|done| done.planned.tool.has_effect()) {
        let Some(session) = &done.session else { continue };
        let used = sessions.entry((session, done.planned.team)).or_default();
        let effects = counted.get(&done.planned.number).map_or(0, |call| call.effects);
        used.0 += effects;
        used.1 += effects * done.planned.tool.price();
        used.2 += u64::from(done.told.iter().any(|told| told.is_answer()));
    }
    let (mut full, mut spent) = (0, 0);
    for ((session, team), (calls, money, answers)) in &sessions {
        assert!(*calls <= SESSION_CALLS, "{session}: {calls} calls had effects");
        assert!(*money <= SESSION_MICRODOLLARS, "{session}: {money} were spent");
        let path = format!("/v1/agent-sessions/{session}");
        let told = world.cluster.ask(STORE, "GET", &path, &world.tokens[*team], &Value::Null);
        let told = told.unwrap().json();
        let left = |what: &str| told["left"][what].as_u64().unwrap();
        assert!(SESSION_CALLS - left("calls") >= *answers, "{told}: {answers} were answered");
        let used = SESSION_MICRODOLLARS - left("microdollars");
        assert!(used >= *money, "{told}: {money} were spent");
        full += u64::from(left("calls") == 0);
        spent += u64::from(left("microdollars") < Tool::Gem.price());
    }
    println!("{} sessions, {full} without calls, {spent} without money", sessions.len());
    assert!(full + spent > 0, "no session came to its end");
}

/// No team spent more in a day than it may.
fn check_money(calls: u64, all: &[Done], counted: &BTreeMap<u64, Counted>) {
    let limit = gem_microdollars(calls);
    for (team, name) in TEAMS.iter().enumerate() {
        let own =
            all.iter().filter(|done| (done.planned.tool, done.planned.team) == (Tool::Gem, team));
        let (mut spent, mut refused) = (0, 0);
        for done in own {
            let effects = counted.get(&done.planned.number).map_or(0, |call| call.effects);
            spent += effects * Tool::Gem.price();
            refused += u64::from(done.told.iter().any(|told| told.code == "money_per_day"));
        }
        println!("{name}: {spent} of {limit} spent, {refused} calls refused for money");
        assert!(spent <= limit + 3 * limit / 10, "{name} spent {spent} of {limit}");
        assert!(refused > 0, "{name} was never told that its money is spent");
        assert!(spent >= limit / 2, "{name} spent only {spent} of {limit}");
    }
}

/// All folders of cgroups below here whose name says that they are of this folder of state.
fn groups(of: &Path, prefix: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(of) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                found.push(path.clone());
            }
            groups(&path, prefix, found);
        }
    }
}

/// Mounts, cgroups and processes that are left of the nodes.
fn left_behind(folders: &[PathBuf], processes: &BTreeSet<Seen>) -> Vec<String> {
    let mut left = Vec::new();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    for folder in folders {
        let text = folder.display().to_string();
        left.extend(mounts.lines().filter(|line| line.contains(&text)).map(str::to_owned));
        let digest = Sha256::digest(folder.as_os_str().as_encoded_bytes());
        let short: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let mut found = Vec::new();
        groups(Path::new("/sys/fs/cgroup"), &format!("headwater-{short}-"), &mut found);
        left.extend(found.iter().map(|path| path.display().to_string()));
    }
    let alive = processes.iter().filter(|process| process.is_alive());
    left.extend(alive.map(|process| format!("process {process:?}")));
    left
}

fn check_nothing_is_left(world: &mut World, processes: &BTreeSet<Seen>) {
    let state = |node: String| PathBuf::from(world.cluster.path(&format!("{node}/sandbox/jail")));
    let folders = world.cluster.names().into_iter().map(state);
    let folders: Vec<PathBuf> = folders.map(|path| path.canonicalize().unwrap()).collect();
    assert!(!left_behind(&folders, processes).is_empty(), "there was nothing to look for");
    for node in ["n3", "n2", STORE] {
        assert_eq!(world.cluster.stop_node(node).unwrap().code, Some(0), "{node}");
    }
    let began = Instant::now();
    loop {
        let left = left_behind(&folders, processes);
        if left.is_empty() {
            return;
        }
        assert!(began.elapsed() < SETTLES, "{}", report(&left));
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_faulty_swarm_has_each_effect_once_and_leaves_nothing() {
    let calls = calls();
    let mut world = World::start(calls);
    let reaper = Reaper::start();
    reaper.watch(&mut world);
    let began = Instant::now();
    let all = run(&mut world, calls, &reaper);
    let took = began.elapsed();
    let (mut processes, killed) = reaper.end();
    let sent: usize = all.iter().map(|done| done.tries).sum();
    println!("{} calls, sent {sent} times, in {took:.1?}; {killed} processes killed", all.len());
    table(&all);
    let counted = world.service.calls();
    assert_eq!(all.len() as u64, calls);
    assert!(killed > 0, "no process of a sandbox was killed");
    check_calls(&all, &counted);
    check_sessions(&world, &all, &counted);
    check_money(calls, &all, &counted);
    for node in world.cluster.running() {
        let id = world.cluster.node(&node).unwrap().id();
        processes.extend(descendants(id).unwrap());
    }
    check_nothing_is_left(&mut world, &processes);
}
