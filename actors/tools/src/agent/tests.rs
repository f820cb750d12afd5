//! Ways through a run step by step.

mod crashes;
mod replay;

use serde_json::json;

use super::{
    Agent, AgentSettings, AskedCall, Effect, Entry, Event, Finish, Message, Notice, ToolOffer,
    Usage, bytes_of, trim,
};

fn user(text: &str) -> Vec<Message> {
    vec![Message::User { text: text.to_owned() }]
}

fn offers(names: &[&str]) -> Vec<ToolOffer> {
    names.iter().map(|name| ToolOffer { name: (*name).to_owned(), is_polling: false }).collect()
}

fn start(settings: AgentSettings) -> Agent {
    let started = Agent::start("run", settings, user("do it"), offers(&["find", "pay"]), 0);
    let (agent, effects) = started.unwrap();
    assert!(matches!(
        effects.as_slice(),
        [
            Effect::Persist { index: 0, entry: Entry::Began { .. } },
            Effect::Tell(Notice::Began { .. }),
            Effect::Tell(Notice::Asking { step: 0 }),
            Effect::AskModel { step: 0, .. },
        ]
    ));
    agent
}

/// The model answers; each call as `(name, arguments)`.
fn answered(step: u64, text: &str, calls: &[(&str, &str)]) -> Event {
    let asked = |(place, (name, arguments)): (usize, &(&str, &str))| AskedCall {
        model_id: format!("m{place}"),
        name: (*name).to_owned(),
        arguments: (*arguments).to_owned(),
    };
    Event::Answered {
        step,
        text: text.to_owned(),
        calls: calls.iter().enumerate().map(asked).collect(),
        usage: Usage { input_tokens: 10, output_tokens: 5, microdollars: 40 },
    }
}

fn ended(call: &str, text: &str) -> Event {
    Event::CallEnded {
        call: call.to_owned(),
        text: text.to_owned(),
        is_error: false,
        microdollars: 1,
    }
}

fn calls_of(effects: &[Effect]) -> Vec<String> {
    let call = |effect: &Effect| match effect {
        Effect::CallTool { call, .. } => Some(call.clone()),
        _ => None,
    };
    effects.iter().filter_map(call).collect()
}

fn finish_of(effects: &[Effect]) -> Option<(Finish, String)> {
    match effects.last() {
        Some(Effect::Finish { reason, text }) => Some((*reason, text.clone())),
        _ => None,
    }
}

/// What the model is asked with.
fn asked(effects: &[Effect]) -> Vec<Message> {
    match effects.last() {
        Some(Effect::AskModel { messages, .. }) => messages.clone(),
        _ => panic!("{effects:?}"),
    }
}

#[test]
fn an_answer_ends_the_run() {
    let mut agent = start(AgentSettings::default());
    let effects = agent.take(answered(0, "done", &[]), 5);
    let reason = Finish::Answered;
    let text = "done".to_owned();
    assert!(matches!(
        effects.as_slice(),
        [
            Effect::Persist { index: 1, entry: Entry::Answered { .. } },
            Effect::Tell(Notice::Said { .. }),
            Effect::Persist { index: 2, entry: Entry::Finished { .. } },
            Effect::Tell(Notice::Finished { .. }),
            Effect::Finish { .. },
        ]
    ));
    assert_eq!(finish_of(&effects), Some((reason, text)));
    assert_eq!(agent.finished(), Some((reason, "done")));
    assert_eq!(agent.spent_microdollars(), 40);
    for late in [answered(0, "again", &[]), Event::Tick, Event::Cancelled { by: "a".to_owned() }] {
        assert_eq!(agent.take(late, 1 << 40), []);
    }
}

#[test]
fn results_stand_in_the_order_of_the_calls() {
    let mut agent = start(AgentSettings { parallel_max: 2, ..AgentSettings::default() });
    let calls = [("find", r#"{"a": 1}"#), ("pay", ""), ("find", "{}")];
    let effects = agent.take(answered(0, "look", &calls), 1);
    assert_eq!(calls_of(&effects), ["run.0.0", "run.0.1"]);
    assert!(effects.contains(&Effect::CallTool {
        call: "run.0.0".to_owned(),
        name: "find".to_owned(),
        arguments: json!({"a": 1}),
    }));
    assert_eq!(calls_of(&agent.take(ended("run.0.1", "paid"), 2)), ["run.0.2"]);
    assert_eq!(calls_of(&agent.take(ended("run.0.2", "two"), 3)), Vec::<String>::new());
    // Twice, and of nobody.
    assert_eq!(agent.take(ended("run.0.2", "other"), 3), []);
    assert_eq!(agent.take(ended("run.9.9", "other"), 3), []);
    let messages = asked(&agent.take(ended("run.0.0", "one"), 4));
    let results = messages.iter().filter_map(|message| match message {
        Message::Tool { call, model_id, text, .. } => Some(format!("{call} {model_id} {text}")),
        _ => None,
    });
    let expected = ["run.0.0 m0 one", "run.0.1 m1 paid", "run.0.2 m2 two"];
    assert_eq!(results.collect::<Vec<_>>(), expected);
    assert_eq!(agent.spent_microdollars(), 43);
}

#[test]
fn bad_calls_are_told_to_the_model_a_few_times() {
    let settings = AgentSettings { bad_calls_max: 4, calls_max: 3, ..AgentSettings::default() };
    let mut agent = start(settings);
    let calls = [("fly", "{}"), ("find", "{a"), ("find", "[1]"), ("find", "{}")];
    let messages = asked(&agent.take(answered(0, "", &calls), 1));
    let results: Vec<&str> = messages
        .iter()
        .filter_map(|message| match message {
            Message::Tool { text, is_error: true, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    for (text, expected) in results.iter().zip([
        "there is no tool \"fly\"; call one of these: find, pay",
        "the arguments are not JSON (",
        "the arguments must be a JSON object; call it again with one",
        "at most 3 calls at once; call it in the next answer",
    ]) {
        assert!(text.starts_with(expected), "{text}");
    }
    assert_eq!(results.len(), 4);
    let effects = agent.take(answered(1, "", &[("fly", "{}")]), 2);
    let (reason, text) = finish_of(&effects).unwrap();
    assert_eq!(reason, Finish::Error);
    assert!(text.contains("5 calls of unknown tools"), "{text}");
}

#[test]
fn a_run_ends_in_every_way() {
    let many = AgentSettings::default();
    let one_call = answered(0, "", &[("find", "{}")]);
    for (settings, events, expected) in [
        (
            AgentSettings { iterations_max: 1, ..many.clone() },
            vec![one_call.clone(), ended("run.0.0", "x")],
            (Finish::Iterations, "1 answers of the model led to no end"),
        ),
        (
            AgentSettings { microdollars_max: 41, ..many.clone() },
            vec![one_call.clone(), ended("run.0.0", "x")],
            (Finish::Money, "41 of 41 microdollars are spent"),
        ),
        (
            many.clone(),
            vec![Event::ModelFailed { step: 0, why: "no".to_owned(), is_refusal: true }],
            (Finish::Refused, "no"),
        ),
        (
            many.clone(),
            vec![Event::ModelFailed { step: 0, why: "down".to_owned(), is_refusal: false }],
            (Finish::Error, "down"),
        ),
        (
            many.clone(),
            vec![answered(0, " ", &[])],
            (Finish::Error, "the model answered with neither text nor calls"),
        ),
        (
            many.clone(),
            vec![one_call.clone(), Event::Cancelled { by: "anna".to_owned() }],
            (Finish::Cancelled, "cancelled by anna"),
        ),
    ] {
        let mut agent = start(settings);
        let mut effects = Vec::new();
        for event in events {
            effects = agent.take(event, 1);
        }
        let (reason, text) = expected;
        assert_eq!(finish_of(&effects), Some((reason, text.to_owned())));
        let is_cancelled = effects.contains(&Effect::CancelTool { call: "run.0.0".to_owned() });
        assert_eq!(is_cancelled, reason == Finish::Cancelled);
    }
}

#[test]
fn the_deadline_ends_what_is_under_way() {
    let mut agent = start(AgentSettings { wall_ms_max: 100, ..AgentSettings::default() });
    agent.take(answered(0, "", &[("find", "{}")]), 1);
    assert_eq!((agent.take(Event::Tick, 99), agent.deadline_ms()), (vec![], 100));
    let effects = agent.take(Event::Tick, 100);
    assert!(effects.contains(&Effect::CancelTool { call: "run.0.0".to_owned() }));
    assert_eq!(finish_of(&effects).unwrap().0, Finish::Deadline);
}

#[test]
fn a_loop_is_warned_of_and_then_ends_the_run() {
    let mut agent = start(AgentSettings::default());
    let mut warned = 0;
    for step in 0..5 {
        agent.take(answered(step, "", &[("find", "{\"a\": 1}")]), 1);
        let effects = agent.take(ended(&format!("run.{step}.0"), "same"), 1);
        let is_warned =
            effects.iter().any(|effect| matches!(effect, Effect::Tell(Notice::Warned { .. })));
        let is_noted = matches!(agent.messages().last(), Some(Message::Note { .. }));
        assert_eq!((is_warned, is_noted), ((2..4).contains(&step), (2..4).contains(&step)));
        warned += u32::from(is_warned);
        assert_eq!(finish_of(&effects).is_some_and(|end| end.0 == Finish::Loop), step == 4);
    }
    assert_eq!(warned, 2);
}

#[test]
fn a_call_waits_for_its_approval() {
    let mut agent = start(AgentSettings { parallel_max: 1, ..AgentSettings::default() });
    agent.take(answered(0, "", &[("pay", "{}"), ("find", "{}")]), 1);
    let call = "run.0.0".to_owned();
    let needed = Event::ApprovalNeeded { call: call.clone(), approval: "a-1".to_owned() };
    let effects = agent.take(needed.clone(), 2);
    assert!(matches!(
        effects.as_slice(),
        [
            Effect::Persist { index: 2, entry: Entry::ApprovalNeeded { .. } },
            Effect::Tell(Notice::ApprovalNeeded { .. }),
            Effect::Tell(Notice::Calling { .. }),
            Effect::CallTool { .. },
        ]
    ));
    // While it waits, another one may run; then it is made again, with its id.
    assert_eq!(calls_of(&effects), ["run.0.1"]);
    assert_eq!(calls_of(&agent.take(ended("run.0.1", "x"), 3)), Vec::<String>::new());
    assert_eq!(agent.take(Event::Decided { call: "run.0.1".to_owned() }, 3), []);
    assert_eq!(calls_of(&agent.take(Event::Decided { call: call.clone() }, 4)), ["run.0.0"]);
    // Not yet, after all: that is known already.
    assert_eq!(agent.take(needed, 5), []);
    agent.take(Event::Decided { call: call.clone() }, 6);
    asked(&agent.take(ended(&call, "paid"), 7));
}

#[test]
fn long_results_are_cut_and_old_ones_make_room() {
    let settings =
        AgentSettings { result_bytes: 100, context_bytes: 1_000, ..AgentSettings::default() };
    let mut agent = start(settings);
    for step in 0..20 {
        agent.take(answered(step, "", &[("find", &format!("{{\"a\":{step}}}"))]), 1);
        let text = "é".repeat(300);
        let messages = asked(&agent.take(ended(&format!("run.{step}.0"), &text), 1));
        assert!(messages.iter().map(bytes_of).sum::<u64>() <= 2_000);
        assert_eq!(messages.len(), agent.messages().len());
        match messages.last() {
            Some(Message::Tool { text, .. }) if step < 5 => {
                assert!(text.starts_with("ééé") && text.ends_with("of 600 bytes]"), "{text}");
            }
            message => assert!(matches!(message, Some(Message::Tool { .. })), "{message:?}"),
        }
        let first = &messages[2];
        let is_note = matches!(first, Message::Tool { text, .. } if text.starts_with("[left out"));
        assert_eq!(is_note, step >= 6, "step {step}: {first:?}");
    }
    assert_eq!(trim(&user("a"), 0), user("a"));
}

#[test]
fn what_is_no_run_is_told() {
    let begin = |run: &str, settings, messages| Agent::start(run, settings, messages, vec![], 0);
    let settings = AgentSettings::default();
    let bad = AgentSettings { parallel_max: 0, ..settings.clone() };
    for (agent, field) in [
        (begin("", settings.clone(), user("a")), "run"),
        (begin(&"r".repeat(101), settings.clone(), user("a")), "run"),
        (begin("run", bad, user("a")), "parallel_max"),
        (begin("run", settings.clone(), vec![]), "messages"),
        (Agent::recover(&[], 0), "journal"),
    ] {
        assert_eq!(agent.unwrap_err().field, field);
    }
    let (_, effects) = begin("run", settings, user("a")).unwrap();
    let Some(Effect::Persist { entry: began, .. }) = effects.into_iter().next() else { panic!() };
    let call = "run.0.0".to_owned();
    let (text, at_ms) = (String::new(), 0);
    let finished = Entry::Finished { reason: Finish::Error, text: text.clone(), at_ms };
    for (journal, expected) in [
        (vec![finished.clone()], "does not begin"),
        (vec![began.clone(), began.clone()], "entry 1 cannot follow: the run has begun"),
        (
            vec![began.clone(), Entry::ApprovalNeeded { call, approval: text, at_ms }],
            "entry 1 cannot follow: call run.0.0 is not waited for",
        ),
        (vec![began, finished.clone(), finished], "entry 2 cannot follow: the run has ended"),
    ] {
        let problem = Agent::recover(&journal, 0).unwrap_err().problem;
        assert!(problem.starts_with(expected), "{problem}");
    }
}
