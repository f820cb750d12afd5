//! What is told of a journal is what was told when it was written.

use super::super::Replay;
use super::{Agent, AgentSettings, Effect, Entry, Event, Notice, answered, ended, offers, user};

/// Goes through a run; what was told while it ran, and its journal.
fn ran(settings: AgentSettings, events: &[Event]) -> (Vec<Notice>, Vec<Entry>) {
    let started = Agent::start("run", settings, user("do it"), offers(&["find", "pay"]), 0);
    let (mut agent, mut effects) = started.unwrap();
    for event in events {
        effects.extend(agent.take(event.clone(), 1));
    }
    let (mut told, mut journal) = (Vec::new(), Vec::new());
    for effect in effects {
        match effect {
            Effect::Tell(notice) => told.push(notice),
            Effect::Persist { entry, .. } => journal.push(entry),
            _ => {}
        }
    }
    (told, journal)
}

#[test]
fn a_journal_tells_what_was_told_when_it_was_written() {
    let approval =
        |call: &str| Event::ApprovalNeeded { call: call.to_owned(), approval: "a-1".to_owned() };
    let repeats: Vec<Event> = (0..3)
        .flat_map(|step| {
            [answered(step, "", &[("find", "{}")]), ended(&format!("run.{step}.0"), "same")]
        })
        .collect();
    let most = AgentSettings::default();
    for (settings, events) in [
        (most.clone(), vec![answered(0, "done", &[])]),
        (
            most.clone(),
            vec![
                answered(0, "first", &[("find", "{}"), ("pay", "{\"n\":1}")]),
                approval("run.0.1"),
                ended("run.0.0", "x"),
                Event::Decided { call: "run.0.1".to_owned() },
                ended("run.0.1", "y"),
                answered(1, "done", &[]),
            ],
        ),
        (most.clone(), repeats),
        (
            AgentSettings { iterations_max: 1, ..most.clone() },
            vec![answered(0, "", &[("find", "{}")]), ended("run.0.0", "x")],
        ),
        (
            AgentSettings { microdollars_max: 41, ..most.clone() },
            vec![answered(0, "", &[("find", "{}")]), ended("run.0.0", "x")],
        ),
        (
            most,
            vec![answered(0, "", &[("find", "{}")]), Event::Cancelled { by: "anna".to_owned() }],
        ),
    ] {
        let (mut told, journal) = ran(settings, &events);
        let mut replay = Replay::default();
        let mut replayed = Vec::new();
        for entry in &journal {
            replayed.extend(replay.take(entry).unwrap());
        }
        // A call that waited is made again, of which the journal says nothing.
        let mut seen = std::collections::BTreeSet::new();
        told.retain(|notice| match notice {
            Notice::Calling { call, .. } => seen.insert(call.clone()),
            _ => true,
        });
        assert_eq!(replayed, told);
        let agent = replay.agent().unwrap();
        assert_eq!(agent.step() > 0, journal.len() > 1);
    }
}

#[test]
fn calls_that_cannot_be_made_are_told_with_their_ends() {
    for (calls, open) in [(vec![("fly", "{}")], 0), (vec![("fly", "{}"), ("find", "{}")], 1)] {
        let (_, journal) = ran(AgentSettings::default(), &[answered(0, "", &calls)]);
        let mut replay = Replay::default();
        let told: Vec<Notice> =
            journal.iter().flat_map(|entry| replay.take(entry).unwrap()).collect();
        let count = |is: fn(&Notice) -> bool| told.iter().filter(|notice| is(notice)).count();
        let (asked, ends) = (
            count(|notice| matches!(notice, Notice::Calling { .. })),
            count(|notice| matches!(notice, Notice::CallEnded { is_error: true, .. })),
        );
        assert_eq!((asked, ends), (calls.len(), calls.len() - open));
        // The model is asked again at once where nothing is left to be done.
        let asks = count(|notice| matches!(notice, Notice::Asking { .. }));
        assert_eq!(asks, if open == 0 { 2 } else { 1 });
    }
}

#[test]
fn an_entry_that_cannot_follow_is_refused() {
    let (_, journal) = ran(AgentSettings::default(), &[answered(0, "done", &[])]);
    let mut replay = Replay::default();
    assert!(replay.take(&journal[1]).is_err());
    replay.take(&journal[0]).unwrap();
    assert!(replay.take(&journal[0]).is_err());
}
