//! Runs whose node dies: at every point of one, and at drawn points of many.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::json;

use super::{offers, user};
use crate::agent::{Agent, AgentSettings, AskedCall, Effect, Entry, Event, Finish, Message, Usage};
use crate::call::{CallResult, ToolReference};
use crate::draws::Draws;
use crate::idempotency::{self, Begin, Finish as RowEnd, Record, Repeat, Request, Settings};
use crate::steps::LoopSettings;

const ROWS: Settings = Settings { keep_ms: 1 << 40, lease_ms: 100, retry_ms: 30 };
const TOOLS: [&str; 3] = ["find", "book", "pay"];

/// What a tool does with a repetition.
fn repeat_of(tool: &str) -> Repeat {
    match tool {
        "find" => Repeat::ReadOnly,
        "book" => Repeat::SafeWithId,
        _ => Repeat::Unsafe,
    }
}

/// A run of the dispatcher for one call, on the node that may die.
#[derive(Debug)]
struct Running {
    call: String,
    tool: String,
    epoch: u64,
    has_run: bool,
}

/// What outlives a node: the journal, the rows of calls, what tools have done; and beside it what
/// does not.
struct World {
    seed: u64,
    draws: Draws,
    now_ms: u64,
    journal: Vec<Entry>,
    rows: BTreeMap<String, Record>,
    /// How often an id was done, by tools that change something.
    done: BTreeMap<String, u32>,
    approvals: BTreeMap<String, bool>,
    finishes: u32,
    agent: Option<Agent>,
    /// Effects that are not carried out yet.
    effects: VecDeque<Effect>,
    running: Vec<Running>,
    /// Questions to the model.
    asked: Vec<u64>,
    carried_out: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let settings = AgentSettings {
            wall_ms_max: 7 * 86_400_000,
            bad_calls_max: 1_000,
            loops: LoopSettings { repeats: 99, cycles: 99, ..LoopSettings::default() },
            ..AgentSettings::default()
        };
        let (agent, effects) =
            Agent::start("run", settings, user("do it"), offers(&TOOLS), 0).unwrap();
        World {
            seed,
            draws: Draws::new(seed),
            now_ms: 0,
            journal: Vec::new(),
            rows: BTreeMap::new(),
            done: BTreeMap::new(),
            approvals: BTreeMap::new(),
            finishes: 0,
            agent: Some(agent),
            effects: effects.into(),
            running: Vec::new(),
            asked: Vec::new(),
            carried_out: 0,
        }
    }

    fn take(&mut self, event: Event) {
        if let Some(agent) = &mut self.agent {
            self.effects.extend(agent.take(event, self.now_ms));
        }
    }

    /// The node dies; another one takes the run over when the lease of its calls is over.
    fn crash(&mut self) {
        (self.agent, self.effects) = (None, VecDeque::new());
        (self.running, self.asked) = (Vec::new(), Vec::new());
        self.now_ms += ROWS.lease_ms + 1;
        if self.journal.is_empty() {
            // Nobody was told that it has begun: it is begun again.
            let fresh = World::new(self.seed);
            (self.agent, self.effects) = (fresh.agent, fresh.effects);
            return;
        }
        let (agent, effects) = Agent::recover(&self.journal, self.now_ms).unwrap();
        (self.agent, self.effects) = (Some(agent), effects.into());
    }

    fn carry_out(&mut self, effect: Effect) {
        self.carried_out += 1;
        match effect {
            Effect::Persist { index, entry } => {
                assert_eq!(index, self.journal.len() as u64, "seed {}", self.seed);
                self.journal.push(entry);
            }
            Effect::AskModel { step, .. } => self.asked.push(step),
            Effect::CallTool { call, name, .. } => self.dispatch(call, name),
            Effect::CancelTool { call } => self.running.retain(|running| running.call != call),
            Effect::Tell(_) => {}
            Effect::Finish { .. } => self.finishes += 1,
        }
    }

    fn dispatch(&mut self, call: String, tool: String) {
        // Some calls of this tool need an approval; an id is asked for once.
        if tool == "book" && (call.len() as u64 + self.seed).is_multiple_of(3) {
            let is_given = self.approvals.entry(call.clone()).or_insert(false);
            if !*is_given {
                let approval = format!("for-{call}");
                return self.take(Event::ApprovalNeeded { call, approval });
            }
        }
        let reference = ToolReference {
            name: tool.clone(),
            version: "1".to_owned(),
            definition_sha256: String::new(),
        };
        let request = Request {
            id: &call,
            tool: &reference,
            arguments_sha256: "a",
            is_dry_run: false,
            repeat: repeat_of(&tool),
        };
        match idempotency::begin(self.rows.get(&call), request, "node", &ROWS, self.now_ms) {
            Begin::Run(row) | Begin::Again(row) => {
                let epoch = row.epoch;
                self.rows.insert(call.clone(), row);
                self.running.push(Running { call, tool, epoch, has_run: false });
            }
            Begin::Answer(result) => {
                let text = result.content.to_string();
                self.take(Event::CallEnded { call, text, is_error: false, microdollars: 0 });
            }
            Begin::OutcomeUnknown(row, refusal) => {
                self.rows.insert(call.clone(), row);
                let text = refusal.to_string();
                self.take(Event::CallEnded { call, text, is_error: true, microdollars: 0 });
            }
            Begin::Refuse(refusal) => {
                assert_eq!(refusal.code(), "outcome_unknown", "seed {}", self.seed);
                let text = refusal.to_string();
                self.take(Event::CallEnded { call, text, is_error: true, microdollars: 0 });
            }
            Begin::Waiting { .. } => panic!("seed {}", self.seed),
        }
    }

    /// What the model says at a step follows from the seed and the step alone.
    fn answer(&mut self, step: u64) {
        let mut draws = Draws::new(self.seed.wrapping_mul(1_000) + step);
        let calls = match step {
            0..4 => 1 + draws.below(6),
            _ => 0,
        };
        let calls = (0..calls).map(|place| AskedCall {
            model_id: format!("m-{place}"),
            name: if draws.percent(8) { "fly" } else { TOOLS[draws.below(3) as usize] }.to_owned(),
            arguments: if draws.percent(8) { "{" } else { "{}" }.to_owned(),
        });
        let usage = Usage { input_tokens: 1, output_tokens: 1, microdollars: 1 };
        let calls = calls.collect();
        self.take(Event::Answered { step, text: format!("step {step}"), calls, usage });
    }

    /// One of the things that are under way gets on.
    fn work(&mut self) {
        self.now_ms += 1;
        let waiting: Vec<String> =
            self.approvals.iter().filter(|(_, given)| !**given).map(|(id, _)| id.clone()).collect();
        let all = self.asked.len() + self.running.len() + waiting.len();
        let place = self.draws.below(all as u64) as usize;
        if place < self.asked.len() {
            let step = self.asked.remove(place);
            return self.answer(step);
        }
        let place = place - self.asked.len();
        if place >= self.running.len() {
            if let Some(call) = waiting.get(place - self.running.len()) {
                self.approvals.insert(call.clone(), true);
                self.take(Event::Decided { call: call.clone() });
            }
            return;
        }
        let running = &mut self.running[place];
        if !running.has_run {
            running.has_run = true;
            let done = self.done.entry(running.call.clone()).or_default();
            match repeat_of(&running.tool) {
                Repeat::ReadOnly => {}
                Repeat::SafeWithId => *done = 1,
                Repeat::Unsafe => *done += 1,
            }
            return;
        }
        let Running { call, epoch, .. } = self.running.remove(place);
        let result = CallResult {
            content: json!(format!("result of {call}")),
            is_error: false,
            is_cached: false,
            is_fallback: false,
            is_dry_run: false,
            duration_ms: 1,
            cost_microdollars: 1,
            deprecation: None,
        };
        let text = result.content.to_string();
        match idempotency::finish(&self.rows[&call], epoch, Ok(result), false, self.now_ms) {
            RowEnd::Kept(row) => drop(self.rows.insert(call.clone(), row)),
            end => panic!("seed {}: {end:?}", self.seed),
        }
        // The node may die between the row and the journal, too.
        self.effects.push_back(Effect::CancelTool { call: String::new() });
        self.take(Event::CallEnded { call, text, is_error: false, microdollars: 1 });
    }

    fn is_over(&self) -> bool {
        self.effects.is_empty() && self.agent.as_ref().is_some_and(|one| one.finished().is_some())
    }

    /// To the end of the run; the node dies when so many effects are carried out.
    fn run(&mut self, crashes: &BTreeSet<u64>) {
        let mut left = crashes.clone();
        for _ in 0..5_000 {
            if left.remove(&self.carried_out) {
                self.crash();
            }
            if self.is_over() {
                return;
            }
            match self.effects.pop_front() {
                Some(effect) => self.carry_out(effect),
                None => self.work(),
            }
        }
        panic!("seed {}: the run does not end", self.seed);
    }

    /// What must hold at the end, however often a node died.
    fn check(&self) {
        let seed = self.seed;
        let (agent, effects) = Agent::recover(&self.journal, self.now_ms).unwrap();
        assert_eq!(effects, [], "seed {seed}: a run that has ended does nothing");
        assert_eq!(agent.finished(), Some((Finish::Answered, "step 4")), "seed {seed}");
        for (call, times) in &self.done {
            assert!(*times <= 1, "seed {seed}: {call} was done {times} times");
        }
        // No step is lost: each call has its result, behind its answer, in its order.
        let mut messages = agent.messages().iter();
        let mut calls_seen = 0;
        while let Some(message) = messages.next() {
            let Message::Assistant { calls, .. } = message else { continue };
            for asked in calls {
                let Some(Message::Tool { call, text, is_error, .. }) = messages.next() else {
                    panic!("seed {seed}: {} has no result", asked.id)
                };
                assert_eq!(*call, asked.id, "seed {seed}");
                calls_seen += 1;
                let is_real = TOOLS.contains(&asked.name.as_str()) && asked.arguments == "{}";
                if is_real && !is_error {
                    assert_eq!(*text, format!("\"result of {call}\""), "seed {seed}");
                }
                if is_real && asked.name != "pay" {
                    assert!(!is_error, "seed {seed}: {call}: {text}");
                }
                if is_real && !is_error && asked.name != "find" {
                    assert_eq!(self.done.get(call), Some(&1), "seed {seed}: {call}");
                }
            }
        }
        assert!(calls_seen >= 4, "seed {seed}");
    }
}

fn without_crash(seed: u64) -> World {
    let mut world = World::new(seed);
    world.run(&BTreeSet::new());
    world.check();
    world
}

#[test]
fn a_node_may_die_behind_every_effect() {
    let mut unknown = 0;
    for seed in 0..15 {
        let whole = without_crash(seed);
        let (agent, _) = Agent::recover(&whole.journal, 0).unwrap();
        for at in 0..=whole.carried_out {
            let mut world = World::new(seed);
            world.run(&BTreeSet::from([at]));
            world.check();
            assert!(world.finishes <= 1, "seed {seed}");
            // Where nothing is in doubt, the run is the one that nobody died in.
            let (other, _) = Agent::recover(&world.journal, 0).unwrap();
            let doubt = |message: &Message| matches!(message, Message::Tool { text, .. } if text.contains("may or may not"));
            if other.messages().iter().any(doubt) {
                unknown += 1;
            } else {
                assert_eq!(other.messages(), agent.messages(), "seed {seed}, died at {at}");
            }
        }
    }
    assert!(unknown > 30, "an unknown outcome was seen {unknown} times");
}

#[test]
fn every_prefix_of_a_journal_is_one() {
    for seed in 0..60 {
        let whole = without_crash(seed);
        for length in 1..whole.journal.len() {
            let (prefix, others) = whole.journal.split_at(length);
            let (agent, effects) = Agent::recover(prefix, whole.now_ms).unwrap();
            let (again, same) = Agent::recover(prefix, whole.now_ms).unwrap();
            assert_eq!((again.messages(), same), (agent.messages(), effects.clone()));
            // It goes on with something: a question, calls that have not ended, or its end.
            let ended = |call: &String| {
                prefix.iter().any(
                    |entry| matches!(entry, Entry::CallEnded { call: other, .. } if other == call),
                )
            };
            let mut goes_on = false;
            for effect in &effects {
                match effect {
                    Effect::CallTool { call, .. } => assert!(!ended(call), "seed {seed}"),
                    Effect::AskModel { step, .. } => assert_eq!(*step, agent.step()),
                    Effect::Finish { .. } => assert!(matches!(others, [Entry::Finished { .. }])),
                    _ => continue,
                }
                goes_on = true;
            }
            assert!(goes_on, "seed {seed}: after {length} entries nothing is done");
        }
    }
}

#[test]
fn nodes_may_die_again_and_again() {
    for seed in 0..1_500 {
        let mut draws = Draws::new(!seed);
        let crashes = (0..draws.below(8)).map(|_| draws.below(120)).collect();
        let mut world = World::new(seed);
        world.run(&crashes);
        world.check();
    }
}
