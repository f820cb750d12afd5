//! What it costs to find the version of a prompt that serves, and to render it.
//!
//! 10,000 prompts of 200 teams, 500 of them with an experiment, over a memory store, as in a node
//! that follows them. The baseline is a map behind a lock with the prompts' names as its key: what a
//! cache costs that knows no pointers, experiments or canaries.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use headwater_actors::environment::Clock;
use headwater_actors::prompts::{
    Actor, Begin, Better, Commit, ExperimentAsk, Gates, Goal, GoalKind, Options, PromptDocument,
    PromptKey, PromptMetrics, PromptSettings, PromptsHandle, Scanner, Unit, Variant, Wish,
};
use headwater_actors::runtime::Runtime;
use headwater_storage::Environment;
use headwater_storage::memory::MemoryStore;
use headwater_storage::retry::{Retry, RetryPolicy};
use prometheus_client::registry::Registry;
use serde_json::{Map, Value, json};

const PROMPTS: usize = 10_000;
const TEAMS: usize = 200;
const LOOKS: usize = 1_000_000;
/// One look in so many is timed by itself.
const TIMED: usize = 8;

fn key(number: usize) -> PromptKey {
    PromptKey::new(&format!("team-{}", number % TEAMS), &format!("prompt-{number}"))
}

fn actor() -> Actor {
    let (team, name) = ("ops".to_owned(), "bench".to_owned());
    Actor { team, user: None, is_whole_team: true, is_operator: true, name }
}

/// A kilobyte with three variables.
fn document(number: usize) -> PromptDocument {
    let filler = "Answer in plain words and cite the paragraph that you found it in. ".repeat(14);
    let text = format!(
        "{filler}\nPrompt {number} for {{{{ name }}}}:{{% for one in items %}} {{{{ one }}}},\
         {{% endfor %}} {{% if is_short %}}briefly{{% endif %}}"
    );
    let document = json!({
        "messages": [{"role": "system", "content": text}],
        "variables": {"name": {}, "items": {"type": "list"}, "is_short": {"type": "boolean"}},
    });
    serde_json::from_value(document).expect("a document")
}

fn variables() -> Map<String, Value> {
    let Value::Object(variables) =
        json!({"name": "Ada", "items": ["a", "b", "c"], "is_short": true})
    else {
        unreachable!("it is an object")
    };
    variables
}

fn handle() -> PromptsHandle {
    let clock = Clock::start();
    let draws = Arc::new(std::sync::atomic::AtomicU64::new(1));
    let environment = Environment::new(
        move || clock.now_ms(),
        |ms| Box::pin(tokio::time::sleep(Duration::from_millis(ms))),
        move || {
            let next = draws.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            next.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        },
    );
    let runtime = Runtime::tokio(environment.clone(), move || 1_800_000_000_000 + clock.now_ms());
    let store = MemoryStore::new(environment.clone());
    let retry = Retry::new(Arc::new(store), environment, RetryPolicy::default());
    let metrics = PromptMetrics::register(&mut Registry::default());
    let scanner = Scanner::new(&[]).expect("own rules are good");
    let settings = PromptSettings::default();
    PromptsHandle::new(runtime, retry, settings, scanner, Vec::new(), metrics).expect("no fallback")
}

async fn fill(handle: &PromptsHandle) {
    for number in 0..PROMPTS {
        let prompt = key(number);
        let commit = Commit {
            document: document(number),
            message: String::new(),
            tags: Vec::new(),
            parent: None,
            expected_newest: None,
            overrides: Vec::new(),
        };
        handle.commit(&actor(), &prompt, commit).await.expect("committed");
        let gates = Gates { guard_ms: 0, ..Gates::default() };
        let options = Options { gates: Some(gates), ..Options::default() };
        handle.set(&actor(), &prompt, options).await.expect("set");
        let begin =
            Begin { version: 1, reason: String::new(), canary_per_mille: None, is_auto: true };
        handle.begin_promotion(&actor(), &prompt, begin).await.expect("promoted");
        if number % 20 == 0 {
            let variant = |name: &str| Variant { name: name.to_owned(), version: 1, weight: 1 };
            let goal =
                Goal { name: "ok".to_owned(), kind: GoalKind::Binary, better: Better::Higher };
            let ask = ExperimentAsk {
                name: "words".to_owned(),
                owner: "bench".to_owned(),
                variants: vec![variant("control"), variant("other")],
                control: "control".to_owned(),
                unit: Unit::User,
                segments: Vec::new(),
                layer: None,
                share: None,
                holdout: None,
                duration_ms: None,
                goals: vec![goal],
            };
            handle.begin_experiment(&actor(), &prompt, ask).await.expect("begun");
        }
    }
}

fn report(what: &str, mut each: Vec<Duration>, whole: Duration, looks: usize) -> f64 {
    each.sort();
    let at = |share: f64| each[((each.len() - 1) as f64 * share) as usize].as_nanos();
    let mean = whole.as_nanos() as f64 / looks as f64;
    println!(
        "{what:<58} {mean:>8.0} ns  p50 {:>6} ns  p99 {:>6} ns  p99.9 {:>7} ns",
        at(0.5),
        at(0.99),
        at(0.999)
    );
    mean
}

async fn looks(what: &str, handle: &PromptsHandle, step: usize) -> f64 {
    let keys: Vec<PromptKey> = (0..PROMPTS).step_by(step).map(key).collect();
    let wishes: Vec<Wish> = (0..1_000)
        .map(|user| Wish { user: Some(format!("user-{user}")), ..Wish::default() })
        .collect();
    let (mut each, began) = (Vec::with_capacity(LOOKS / TIMED), Instant::now());
    for look in 0..LOOKS {
        let (prompt, wish) = (&keys[look * 7_919 % keys.len()], &wishes[look % wishes.len()]);
        let timed = (look % TIMED == 0).then(Instant::now);
        black_box(handle.resolve(prompt, wish).await.expect("served"));
        each.extend(timed.map(|timed| timed.elapsed()));
    }
    report(what, each, began.elapsed(), LOOKS)
}

fn baseline() -> f64 {
    let map: RwLock<HashMap<(String, String), Arc<String>>> = RwLock::default();
    let keys: Vec<(String, String)> =
        (0..PROMPTS).map(key).map(|prompt| (prompt.team, prompt.name)).collect();
    for one in &keys {
        map.write().expect("no panic").insert(one.clone(), Arc::new(String::new()));
    }
    let (mut each, began) = (Vec::with_capacity(LOOKS / TIMED), Instant::now());
    for look in 0..LOOKS {
        let one = &keys[look * 7_919 % keys.len()];
        let timed = (look % TIMED == 0).then(Instant::now);
        black_box(map.read().expect("no panic").get(one).cloned());
        each.extend(timed.map(|timed| timed.elapsed()));
    }
    report("baseline: a map behind a lock", each, began.elapsed(), LOOKS)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let handle = handle();
    let began = Instant::now();
    fill(&handle).await;
    println!("{PROMPTS} prompts made in {:.1} s", began.elapsed().as_secs_f64());
    let began = Instant::now();
    handle.refresh().await.expect("read");
    println!("and read anew in {:.2} s", began.elapsed().as_secs_f64());
    let base = baseline();
    let all = looks("resolve, all prompts, one in 20 with an experiment", &handle, 1).await;
    let experiments =
        looks("resolve, prompts with an experiment of two variants", &handle, 20).await;
    println!("ratio to the baseline: {:.1} and {:.1}", all / base, experiments / base);
    let resolved = handle.resolve(&key(1), &Wish::default()).await.expect("served");
    let (given, mut each, began) = (variables(), Vec::new(), Instant::now());
    const RENDERS: usize = 100_000;
    for _ in 0..RENDERS {
        let timed = Instant::now();
        black_box(resolved.ready.compiled.render(black_box(&given)).expect("rendered"));
        each.push(timed.elapsed());
    }
    report("render, 1 KB with three variables", each, began.elapsed(), RENDERS);
}
