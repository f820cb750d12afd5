//! After the world has healed: every run has ended, every node tells the same of it, and what was
//! done is what its journal tells.

use std::collections::{BTreeMap, BTreeSet};

use headwater_actors::tools::{RunFinish, RunNotice, RunTold};
use serde_json::Value;

use super::book::{Heard, KEY_HEARD_MS, Run, Runs};
use super::client::{PATIENCE_MS, hear};
use super::{RUNS_CHECK_MS, ended, tool_called};
use crate::shared_store::SharedStore;
use crate::tools::agent::{caller, on_node};
use crate::tools::book::Book;
use crate::tools::catalog::{Entry, Nature};
use crate::tools::node::{BASE_MS, Node};
use crate::tools::{HEAL_MS, Stage};
use crate::world::World;

/// A call, as the journal of its run has it.
struct Asked {
    tool: Option<Entry>,
    number: Option<u64>,
    /// Whether it has failed, for each of its ends.
    ends: Vec<bool>,
    /// Of one answer of its run.
    calls_max: u32,
}

/// Heals the world, waits for the runs, and checks everything.
pub(in crate::tools) async fn check(stage: Stage, runs: Runs, store: SharedStore) {
    let Stage { world, nodes, book, .. } = &stage;
    world.sleep(HEAL_MS).await;
    world.note("the world heals");
    store.heal();
    nodes.iter().for_each(Node::heal);
    world.sleep(RUNS_CHECK_MS - HEAL_MS).await;
    let begun = begun(&stage, &runs).await;
    for id in &begun {
        for node in nodes.iter() {
            ends(&stage, &runs, node, id).await;
        }
    }
    let all = runs.all();
    for run in all.iter().filter(|run| begun.contains(&run.wanted.id)) {
        caps(world, book, run);
        match run.ended.as_ref().and_then(|told| told.finish) {
            Some(finish) => {
                world.count(ended(finish));
                key(world, &runs, run, finish);
            }
            None => {
                let seen = format!("{} has not: {:?}", run.wanted.id, run.told);
                world.violated("an_agent_run_ends_once", seen);
            }
        }
    }
    for run in all.iter().filter(|run| !begun.contains(&run.wanted.id)) {
        if run.told.is_some() || !run.journal.is_empty() {
            let seen = format!("{:?} has begun, and nodes know nothing of it", run.wanted);
            world.violated("an_agent_run_ends_once", seen);
        }
    }
    effects(world, book, &all);
    runs.checked();
    world.count("everything checked");
}

/// Long after its key, no run ends otherwise.
fn key(world: &World, runs: &Runs, run: &Run, finish: RunFinish) {
    let Some(key_ended_ms) = runs.key_ended_ms(&run.wanted) else { return };
    let told = run.ended.as_ref();
    let ended_ms = told.and_then(|told| told.ended_ms).unwrap_or_default().saturating_sub(BASE_MS);
    if finish != RunFinish::Cancelled && ended_ms > key_ended_ms.max(HEAL_MS) + KEY_HEARD_MS {
        let seen = format!("its key ended at {key_ended_ms}, it at {ended_ms}: {told:?}");
        world.violated("a_run_ends_with_its_key", seen);
    }
}

/// The runs that all nodes know of.
async fn begun(stage: &Stage, runs: &Runs) -> BTreeSet<String> {
    let mut known: Option<BTreeSet<String>> = None;
    for node in stage.nodes.iter() {
        let runs = runs.clone();
        let listed = on_node(stage, node, PATIENCE_MS, |tools, place| async move {
            let listed: Vec<RunTold> = tools.agent_runs(&caller("swarm"), None).await.ok()?;
            listed.iter().for_each(|told| runs.told(place, told));
            Some(listed.into_iter().map(|told| told.id).collect::<BTreeSet<String>>())
        });
        let Some(listed) = listed.await.flatten() else {
            let seen = format!("{:?} lists no runs", node.place());
            stage.world.violated("an_agent_run_ends_once", seen);
            continue;
        };
        let known = known.get_or_insert_with(|| listed.clone());
        if *known != listed {
            let seen = format!("{:?} lists {listed:?} and not {known:?}", node.place());
            stage.world.violated("an_agent_run_ends_once", seen);
        }
    }
    known.unwrap_or_default()
}

/// A node tells the end of a run, and its whole journal.
async fn ends(stage: &Stage, runs: &Runs, node: &Node, id: &str) {
    let (world, place) = (&stage.world, node.place());
    let (telling, of) = (runs.clone(), id.to_owned());
    let told = on_node(stage, node, PATIENCE_MS, |tools, place| async move {
        let told = tools.agent_run(&caller("swarm"), &of).await.ok()?;
        telling.told(place, &told);
        Some(told)
    });
    let Some(told) = told.await.flatten() else {
        let seen = format!("{place:?} does not tell {id}");
        return world.violated("an_agent_run_ends_once", seen);
    };
    if told.finish.is_none() {
        // What has not ended has no end to listen for.
        let seen = format!("{place:?} tells that {id} has not: {told:?}");
        return world.violated("an_agent_run_ends_once", seen);
    }
    let Some(heard) = hear(stage, node, runs, id, Heard::default()).await else {
        let seen = format!("{place:?} does not tell the journal of {id} to its end");
        return world.violated("a_journal_only_grows", seen);
    };
    let Some((last, event)) = runs.run(id).and_then(|run| run.journal.into_iter().next_back())
    else {
        return world.violated("a_journal_only_grows", format_args!("{id} has none"));
    };
    if heard.last != Some(last) {
        let seen = format!("{place:?} ends {id} at {:?} and not at {last:?}", heard.last);
        world.violated("a_journal_only_grows", seen);
    }
    let is_end = matches!(event.notice, RunNotice::Finished { .. });
    let is_same = (event.steps, event.cost_microdollars) == (told.steps, told.cost_microdollars);
    if !is_end || !is_same {
        let seen = format!("{id} is {told:?}, and its journal ends with {event:?}");
        world.violated("an_agent_run_ends_once", seen);
    }
}

/// The model is not asked once answers or money are used up, and calls do not cost more than that.
fn caps(world: &World, book: &Book, run: &Run) {
    let settings = &run.wanted.settings;
    let (mut steps, mut cost, mut calls) = (0, 0, 0);
    for event in run.journal.values() {
        if event.steps > steps && cost >= settings.microdollars_max {
            let seen = format!("{cost} were spent before {event:?}: {:?}", run.wanted);
            world.violated("a_run_keeps_its_caps", seen);
        }
        (steps, cost) = (event.steps, event.cost_microdollars);
        if let RunNotice::Finished { .. } = &event.notice {
            world.note(format_args!("{} ends after {steps} steps and {cost}", run.wanted.id));
        }
    }
    for (call, one) in calls_of(run) {
        let Some(tool) = one.tool else { continue };
        let is_done = book.done(&call).effects > 0;
        let counts = match tool.nature {
            Nature::Reads => false,
            Nature::KnowsIds => is_done && one.ends == [false],
            Nature::Forgets => is_done,
        };
        calls += u64::from(counts) * tool.price;
    }
    if steps > settings.iterations_max || calls > settings.microdollars_max {
        let seen = format!("{steps} answers, {calls} for calls: {:?}", run.wanted);
        world.violated("a_run_keeps_its_caps", seen);
    }
}

/// The calls that a journal tells of.
fn calls_of(run: &Run) -> BTreeMap<String, Asked> {
    let mut asked: BTreeMap<String, Asked> = BTreeMap::new();
    for event in run.journal.values() {
        match &event.notice {
            RunNotice::Calling { call, name, arguments } => {
                let arguments: Value = serde_json::from_str(arguments).unwrap_or_default();
                let (tool, ends) = (tool_called(name), Vec::new());
                let number = arguments.get("n").and_then(Value::as_u64);
                let calls_max = run.wanted.settings.calls_max;
                asked.insert(call.clone(), Asked { tool, number, ends, calls_max });
            }
            RunNotice::CallEnded { call, is_error, .. } => {
                if let Some(asked) = asked.get_mut(call) {
                    asked.ends.push(*is_error);
                }
            }
            _ => {}
        }
    }
    asked
}

/// What was done is what journals have asked for, once; and what they tell as done was done.
fn effects(world: &World, book: &Book, all: &[Run]) {
    let asked: BTreeMap<String, Asked> = all.iter().flat_map(calls_of).collect();
    let wrong = |seen: String| world.violated("an_agent_asks_no_tool_twice", seen);
    for (call, one) in &asked {
        if one.ends.len() > 1 {
            wrong(format!("{call} has ended {} times", one.ends.len()));
        }
        let changes = one.tool.is_some_and(|tool| tool.nature != Nature::Reads);
        let effects = book.done(call).effects;
        if changes && one.ends == [false] && effects != 1 {
            wrong(format!("{call} was answered, and done {effects} times"));
        }
    }
    for (call, done) in book.all_done().into_iter().filter(|(_, done)| done.effects > 0) {
        let Some(one) = asked.get(&call) else {
            wrong(format!("{call} was done, and no journal has asked for it"));
            continue;
        };
        let wanted: Vec<(Entry, u64)> = one.tool.zip(one.number).into_iter().collect();
        if done.did != wanted {
            wrong(format!("{call} was done as {:?} and asked for as {wanted:?}", done.did));
        }
        if done.effects > 1 && one.tool.is_some_and(|tool| tool.nature == Nature::Forgets) {
            wrong(format!("{call} was done {} times", done.effects));
        }
        let place = call.rsplit_once('.').and_then(|(_, place)| place.parse::<u32>().ok());
        if place.is_none_or(|place| place >= one.calls_max) {
            let seen = format!("{call} was done, of at most {} calls", one.calls_max);
            world.violated("a_run_keeps_its_caps", seen);
        }
    }
}
