//! Runs over a store: answers, ends, approvals, and nodes that die at any moment.

mod deaths;
pub(in crate::tools) mod world;

use headwater_tools::agent::{AgentSettings, Finish, Message};
use headwater_tools::session::{SessionBudget, Standing};

use super::RunAsk;
use crate::cluster::tests::world::{until, within};
use crate::tools::{Decided, RunState, ToolCaller, ToolsError};
use world::{
    ANSWER_MICRODOLLARS, CALL_MICRODOLLARS, Running, Turn, World, ask, caller, calls, definition,
    new_key, word,
};

#[tokio::test(start_paused = true)]
async fn a_run_answers_after_its_calls() {
    let turns = [
        calls(&[("find_v1", "tea"), ("pay_v1", "tea")]),
        calls(&[("pay_v1", "cake")]),
        Turn::Says("tea and cake"),
    ];
    let world = World::new(&turns).await;
    let one = world.node("one").await;
    let begun = one.begin(ask("buy")).await;
    assert_eq!((begun.state, begun.finish, begun.output), (RunState::Running, None, None));
    assert_eq!(begun.tools, ["delete_v1", "find_v1", "order_v1", "pay_v1"]);
    let ended = one.end(&begun.id).await;
    assert_eq!(ended.finish, Some(Finish::Answered), "{ended:?}");
    assert_eq!(ended.output.as_deref(), Some("tea and cake"));
    assert_eq!(ended.steps, 3);
    let cost = 3 * ANSWER_MICRODOLLARS + 3 * CALL_MICRODOLLARS;
    assert_eq!(ended.cost_microdollars, cost);
    for call in ["0.1", "1.0"] {
        assert_eq!(world.backend.effects_of(&format!("{}.{call}", begun.id)), 1, "{call}");
    }
    // The model has read all of it, in the form of the gateway.
    let asked = world.model.asked();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[0].tools.len(), 4);
    assert_eq!(asked[0].tools[1].parameters["required"][0], "query");
    let parts: Vec<usize> = asked[2].messages.iter().map(|message| message.parts.len()).collect();
    assert_eq!(parts, [1, 2, 2, 1, 1]);
    let events = one.events(&begun.id, u64::MAX).await;
    let words: Vec<&str> = events.iter().map(word).collect();
    assert_eq!(
        words,
        [
            "began",
            "asking",
            "calling",
            "calling",
            "call_ended",
            "call_ended",
            "asking",
            "calling",
            "call_ended",
            "asking",
            "said",
            "finished",
        ]
    );
    assert_eq!(events.last().map(|event| event.cost_microdollars), Some(cost));
    // What comes after an entry begins with the next one.
    let mut rest = one.tools.run_events(&caller("anna"), &begun.id, Some(5)).await.unwrap();
    assert_eq!(within(rest.next()).await.unwrap().unwrap().index, 6);
    // Its own session has ended with it.
    let session = one.tools.session(&caller("anna"), &begun.session).await.unwrap();
    assert!(matches!(session.standing, Standing::Ended { .. }));
    assert_eq!(session.left.calls, session.budget.calls_max - 3);
}

/// A run of these turns, whose settings are changed so.
async fn run_of(
    turns: &[Turn],
    change: impl FnOnce(&mut RunAsk),
) -> (World, Running, super::RunTold) {
    let world = World::new(turns).await;
    let one = world.node("one").await;
    let mut asked = ask("do it");
    change(&mut asked);
    let begun = one.begin(asked).await;
    let ended = one.end(&begun.id).await;
    (world, one, ended)
}

fn settings(change: impl FnOnce(&mut AgentSettings)) -> AgentSettings {
    let mut settings = AgentSettings::default();
    change(&mut settings);
    settings
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_with_its_reason() {
    let looks =
        [calls(&[("find_v1", "a")]), calls(&[("find_v1", "b")]), calls(&[("find_v1", "c")])];
    let most = AgentSettings::default();
    for (turns, settings, finish, output) in [
        (
            looks.to_vec(),
            settings(|one| one.iterations_max = 2),
            Finish::Iterations,
            "2 answers of the model led to no end",
        ),
        (
            looks.to_vec(),
            settings(|one| one.microdollars_max = ANSWER_MICRODOLLARS + CALL_MICRODOLLARS),
            Finish::Money,
            "32 of 32 microdollars are spent",
        ),
        (
            vec![Turn::Hangs],
            settings(|one| one.wall_ms_max = 5_000),
            Finish::Deadline,
            "took longer than 5000 ms",
        ),
        (vec![Turn::Refuses], most.clone(), Finish::Refused, "I will not"),
        (vec![Turn::Says(" ")], most.clone(), Finish::Error, "neither text nor calls"),
        (
            vec![calls(&[("find_v1", "a")])],
            most.clone(),
            Finish::Loop,
            "find_v1 was called 5 times",
        ),
        (vec![Turn::Breaks, Turn::Says("again")], most.clone(), Finish::Answered, "again"),
        (vec![Turn::Breaks], most, Finish::Error, "the line is dead"),
    ] {
        let (_world, one, ended) = run_of(&turns, |asked| asked.settings = settings).await;
        assert_eq!(ended.finish, Some(finish), "{ended:?}");
        let told = ended.output.unwrap_or_default();
        assert!(told.contains(output), "{told} has no '{output}'");
        assert_eq!(one.events(&ended.id, u64::MAX).await.last().map(word), Some("finished"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_called_is_told_to_the_model() {
    let turns = [
        Turn::Calls(vec![("fly_v1", "{}".to_owned()), ("pay_v1", "{\"amount\": 1}".to_owned())]),
        calls(&[("pay_v1", "tea")]),
        Turn::Says("I could not"),
    ];
    let (world, one, ended) = run_of(&turns, |asked| {
        asked.tools = Some(vec!["pay".to_owned(), "find@1".to_owned()]);
        asked.settings.microdollars_max = 100;
    })
    .await;
    assert_eq!(ended.finish, Some(Finish::Answered), "{ended:?}");
    let results = one.results(&ended.id).await;
    assert!(results[0].contains("there is no tool \"fly_v1\""), "{results:?}");
    assert!(results[1].contains("do not fit the schema of pay@1"), "{results:?}");
    assert_eq!(world.backend.effects().len(), 1);
    // A tool that is dearer than what is left is not asked.
    let mut dear = definition("dear", "stateful");
    dear["cost_microdollars"] = 1_000.into();
    one.tools.publish(&caller("anna"), &dear).await.unwrap();
    one.tools.refresh().await.unwrap();
    world.model.then(&[calls(&[("dear_v1", "a")]), Turn::Says("too dear")]);
    let asked = RunAsk { settings: settings(|one| one.microdollars_max = 500), ..ask("buy") };
    let ended = one.end(&one.begin(asked).await.id).await;
    let results = one.results(&ended.id).await;
    assert!(results[0].contains("has used up its microdollars_max of 500"), "{results:?}");
    assert_eq!(world.backend.effects().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_its_approval() {
    for (decided, result) in [
        (Decided::Approve, "echo"),
        (Decided::Refuse { reason: "not today".to_owned() }, "not today"),
    ] {
        let world = World::new(&[calls(&[("delete_v1", "all")]), Turn::Says("done")]).await;
        let one = world.node("one").await;
        let begun = one.begin(ask("clean up")).await;
        let events = one.events(&begun.id, 2).await;
        assert_eq!(events.last().map(word), Some("approval_needed"));
        let told = one.tools.agent_run(&caller("anna"), &begun.id).await.unwrap();
        assert_eq!(told.state, RunState::WaitingForApproval);
        let [(call, approval)] = told.approvals.as_slice() else { panic!("{told:?}") };
        assert_eq!(call, &format!("{}.0.0", begun.id));
        assert_eq!(world.backend.effects_of(call), 0);
        let boss = caller("boss");
        let is_given = decided == Decided::Approve;
        one.tools.decide(&boss, approval, decided).await.unwrap();
        let ended = one.end(&begun.id).await;
        assert_eq!(ended.finish, Some(Finish::Answered));
        assert!(one.results(&begun.id).await[0].contains(result));
        assert_eq!(world.backend.effects_of(call), u64::from(is_given));
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_is_cancelled() {
    let world = World::new(&[Turn::Hangs]).await;
    let one = world.node("one").await;
    let begun = one.begin(ask("think")).await;
    until(|| world.model.asked().len() == 1).await;
    let told = one.tools.cancel_run(&caller("boss"), &begun.id).await.unwrap();
    assert_eq!(told.state, RunState::Cancelling);
    let ended = one.end(&begun.id).await;
    assert_eq!(ended.finish, Some(Finish::Cancelled));
    assert_eq!(ended.output.as_deref(), Some("cancelled by boss"));
    let again = one.tools.cancel_run(&caller("boss"), &begun.id).await;
    assert!(matches!(again, Err(ToolsError::Conflict(_))), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_ends_when_its_key_does_on_this_node_or_the_next() {
    let world = World::new(&[calls(&[("find_v1", "a")]), Turn::Hangs]).await;
    let one = world.node("one").await;
    let keys = world.keys(&one);
    one.tools.end_with_keys_of(keys.clone());
    let (key, _) = keys.create(new_key()).await.unwrap();
    let by_key = ToolCaller { key_id: Some(key.id.clone()), ..caller("anna") };
    let begun = within(one.tools.begin_run(&by_key, ask("think"))).await.unwrap();
    let other = one.begin(ask("think, too")).await;
    until(|| world.model.asked().len() == 4).await;
    keys.revoke(&key.id).await.unwrap();
    let ended = one.end(&begun.id).await;
    assert_eq!(ended.finish, Some(Finish::Cancelled));
    assert_eq!(ended.output, Some(format!("cancelled by the end of its key {}", key.id)));
    let told = one.tools.agent_run(&caller("anna"), &other.id).await.unwrap();
    assert_eq!(told.state, RunState::Running, "it was begun without a key");
    let late = within(one.tools.begin_run(&by_key, ask("once more"))).await.unwrap();
    assert_eq!(one.end(&late.id).await.finish, Some(Finish::Cancelled));
    assert_eq!(world.model.asked().len(), 4, "nobody is asked for a key that has ended");
}

#[tokio::test(start_paused = true)]
async fn one_id_is_one_run() {
    let world = World::new(&[Turn::Says("done")]).await;
    let (one, two) = (world.node("one").await, world.node("two").await);
    let named = |text: &str| RunAsk { id: Some("mine".to_owned()), ..ask(text) };
    let begun = one.begin(named("a")).await;
    let ended = one.end("mine").await;
    assert_eq!(begun.id, "mine");
    // On another node, too.
    assert_eq!(two.begin(named("a")).await, ended);
    assert_eq!(world.model.asked().len(), 1);
    let other = two.tools.begin_run(&caller("anna"), named("b")).await;
    assert!(matches!(other, Err(ToolsError::Conflict(_))), "{other:?}");
    // Another team's run of this name is another one.
    let mut rival = caller("rita");
    rival.team = "rival".to_owned();
    let unknown = one.tools.agent_run(&rival, "mine").await;
    assert!(matches!(unknown, Err(ToolsError::Unknown { .. })), "{unknown:?}");
    let begun = one.tools.begin_run(&rival, named("b")).await.unwrap();
    assert_eq!(begun.tools, Vec::<String>::new());
    assert_eq!(one.tools.agent_runs(&rival, None).await.unwrap().len(), 1);
    assert_eq!(one.tools.agent_runs(&rival, Some("mine")).await.unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_named_session_bounds_its_runs() {
    let world = World::new(&[calls(&[("find_v1", "a")]), Turn::Says("done")]).await;
    let one = world.node("one").await;
    let budget = SessionBudget { iterations_max: 3, ..SessionBudget::default() };
    let session = one.tools.begin_session(&caller("anna"), budget).await.unwrap().id;
    let asked = || RunAsk { session: Some(session.clone()), ..ask("look") };
    let ended = one.end(&one.begin(asked()).await.id).await;
    assert_eq!((ended.finish, &ended.session), (Some(Finish::Answered), &session));
    let told = one.tools.session(&caller("anna"), &session).await.unwrap();
    assert_eq!((told.left.iterations, told.standing), (1, Standing::Active));
    let ended = one.end(&one.begin(asked()).await.id).await;
    assert_eq!(ended.finish, Some(Finish::Refused));
    assert!(ended.output.unwrap_or_default().contains("iterations_max of 3"));
    one.tools.end_session(&caller("anna"), &session).await.unwrap();
    let refused = one.tools.begin_run(&caller("anna"), asked()).await.unwrap_err();
    assert!(refused.to_string().contains("has ended"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_run_is_told() {
    let world = World::new(&[Turn::Hangs]).await;
    let one = world.node("one").await;
    let named = |tools: &[&str]| RunAsk {
        tools: Some(tools.iter().map(ToString::to_string).collect()),
        ..ask("a")
    };
    let of = |change: fn(&mut AgentSettings)| RunAsk { settings: settings(change), ..ask("a") };
    let long = Message::User { text: "a".repeat(1_000_001) };
    for (asked, expected) in [
        (RunAsk { model: "other".to_owned(), ..ask("a") }, "model: 'other' is not served"),
        (RunAsk { id: Some("a b".to_owned()), ..ask("a") }, "id: must be 1 to"),
        (RunAsk { id: Some("a".repeat(101)), ..ask("a") }, "id: has more than 100"),
        (RunAsk { messages: vec![], ..ask("a") }, "messages: are none"),
        (RunAsk { messages: vec![long], ..ask("a") }, "messages: have 1000001 bytes"),
        (named(&["pay", "Pay!"]), "tools[1]: "),
        (named(&["find", "fnd"]), "tools[1]: there is no tool fnd"),
        (named(&["find", "find@1"]), "tools[1]: find@1 is named twice"),
        (RunAsk { session: Some("none".to_owned()), ..ask("a") }, "there is no session none"),
        (of(|one| one.iterations_max = 0), "iterations_max: is 0; must be 1 to"),
        (of(|one| one.wall_ms_max = 0), "timeout_ms: is 0"),
        (of(|one| one.parallel_max = 65), "parallel_max: is 65"),
        (of(|one| one.microdollars_max = u64::MAX), "microdollars_max: is"),
    ] {
        let refused = one.tools.begin_run(&caller("anna"), asked).await.unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused} has no '{expected}'");
    }
    let mut rival = caller("rita");
    rival.team = "rival".to_owned();
    let refused = one.tools.begin_run(&rival, named(&["find"])).await.unwrap_err().to_string();
    assert!(refused.contains("tools[0]: rival may not call find"), "{refused}");
    // There is room for two runs of a team.
    one.begin(ask("a")).await;
    one.begin(ask("a")).await;
    let refused = one.tools.begin_run(&caller("anna"), ask("a")).await.unwrap_err().to_string();
    assert!(refused.contains("too many calls wait for runs of agents of team acme"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn of_many_tools_those_are_offered_that_fit() {
    let world = World::new(&[Turn::Says("done")]).await;
    let one = world.node("one").await;
    for number in 0..40 {
        let mut tool = definition(&format!("tool-{number}"), "read_only");
        tool["description"] = format!("Measures the depth of lake {number}").into();
        one.tools.publish(&caller("anna"), &tool).await.unwrap();
    }
    one.tools.refresh().await.unwrap();
    let begun = one.begin(ask("how is the depth of lake 37?")).await;
    assert_eq!(begun.tools.len(), super::OFFERED_MAX);
    assert!(begun.tools.contains(&"tool-37_v1".to_owned()), "{:?}", begun.tools);
    one.end(&begun.id).await;
}
