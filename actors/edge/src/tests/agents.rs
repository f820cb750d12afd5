//! `/v1/agents`: runs that are waited for or told as they go, and what bad input is told.

use headwater_actors::gateway::{AuditOutcome, MemoryAudit};
use headwater_models::chat::double::{Script, ScriptedChat};
use headwater_models::chat::{ChatEvent, Chunk, Finish, Usage};
use serde_json::{Value, json};

use super::chat::CHAT;
use super::tools::{Team, definition, team};
use super::world::{Setup, World, request, token_of};
use crate::{Grant, SigningKey};

/// The model calls a function with `query`.
fn calls(function: &str, query: &str) -> Script {
    let call = ChatEvent::ToolCall {
        choice: 0,
        index: 0,
        id: Some("m0".to_owned()),
        name: Some(function.to_owned()),
        arguments: json!({"query": query}).to_string(),
    };
    let finished = ChatEvent::Finished { choice: 0, reason: Finish::ToolCalls, stop: None };
    let usage = ChatEvent::Usage(Usage { input: 7, output: 2, ..Usage::default() });
    Ok(vec![Ok(Chunk::of(vec![call, finished, usage]))])
}

async fn world(scripts: Vec<Script>) -> (World, ScriptedChat) {
    audited(scripts, None).await
}

async fn audited(scripts: Vec<Script>, audit: Option<MemoryAudit>) -> (World, ScriptedChat) {
    let model = ScriptedChat::new(scripts);
    let world = World::with(Setup { chat: Some(model.clone()), audit, ..Setup::default() }).await;
    let acme = team(&world, "acme");
    acme.run("POST", "/v1/tools", definition("look", "read_only"), (201, "")).await;
    let mut pay = definition("pay", "stateful");
    pay["confirmation"] = "always".into();
    acme.run("POST", "/v1/tools", pay, (201, "")).await;
    (world, model)
}

const RUN: &str = "/v1/agents/run";

fn ask(text: &str) -> Value {
    json!({"model": CHAT, "input": text})
}

/// The events of a stream, in their order; each names its run.
async fn events(acme: &Team<'_>, method: &str, path: &str, body: &Value) -> Vec<Value> {
    let header = format!("Bearer {}", acme.token);
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = acme.world.send(request(method, path, Some(&header), body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let run = answer.header("x-headwater-run").expect("a run").to_owned();
    let text = answer.text();
    let events = text.split("\n\n").filter(|event| !event.is_empty()).map(|event| {
        let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
        let data: Value = serde_json::from_str(line("data: ").expect("data")).expect("JSON");
        assert_eq!(line("event: "), data["type"].as_str(), "{event}");
        assert_eq!(data["run"].as_str(), Some(run.as_str()), "{event}");
        data
    });
    events.collect()
}

/// The team's run, once it waits for somebody.
async fn until_waiting(team: &Team<'_>) -> Value {
    for _ in 0..10_000 {
        let runs = team.run("GET", "/v1/agents/runs", Value::Null, (200, "list")).await;
        if runs["data"][0]["state"] == "waiting_for_approval" {
            return runs["data"][0].clone();
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("no run waits for an approval");
}

fn words(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["type"].as_str()).collect()
}

#[tokio::test]
async fn a_run_is_answered_when_it_has_ended() {
    let audit = MemoryAudit::new();
    let scripts = vec![calls("look_v1", "tea"), ScriptedChat::words(7, &["it is ", "green"])];
    let (world, model) = audited(scripts, Some(audit.clone())).await;
    let acme = team(&world, "acme");
    let mut asked = ask("which colour has tea?");
    asked["system"] = "be short".into();
    asked["tools"] = json!(["look@1"]);
    asked["id"] = "tea".into();
    let told = acme.run("POST", RUN, asked.clone(), (200, "\"object\":\"agent.run\"")).await;
    let expected = json!({
        "id": "tea", "state": "finished", "finish": "answered", "output": "it is green",
        "steps": 2, "tools": ["look_v1"], "model": CHAT,
    });
    for (field, value) in expected.as_object().expect("fields") {
        assert_eq!(&told[field], value, "{field}: {told}");
    }
    // Input at 1, output at 2 millionths of a dollar, and the call.
    assert_eq!(told["cost_microdollars"], 7 + 4 + 7 + 4 + 5, "{told}");
    let first = &model.asked()[0];
    assert_eq!((first.messages.len(), first.tools.len()), (2, 1));
    // Asked again it is told again.
    let again = acme.run("POST", RUN, asked.clone(), (200, "it is green")).await;
    assert_eq!(again, told);
    asked["input"] = "and coffee?".into();
    acme.run("POST", RUN, asked, (409, "asked for otherwise")).await;
    acme.run("GET", "/v1/agents/runs/tea", Value::Null, (200, "it is green")).await;
    let path = "/v1/agents/runs/tea?messages=true";
    let told = acme.run("GET", path, Value::Null, (200, "\"role\":\"tool\"")).await;
    assert_eq!(told["messages"].as_array().map(Vec::len), Some(5), "{told}");
    acme.run("GET", "/v1/agents/runs", Value::Null, (200, "\"id\":\"tea\"")).await;
    let session = format!("/v1/agent-sessions/{}", told["session"].as_str().expect("one"));
    acme.run("GET", &session, Value::Null, (200, "its run has ended")).await;
    let rival = team(&world, "rival");
    rival.run("GET", "/v1/agents/runs/tea", Value::Null, (404, "not_found")).await;
    rival.run("GET", "/v1/agents/runs/tea/events", Value::Null, (404, "not_found")).await;
    rival.run("POST", "/v1/agents/runs/tea/cancel", Value::Null, (404, "not_found")).await;
    // What was asked and called has its records, on this route and of this team.
    for _ in 0..1_000 {
        if audit.records().iter().filter(|one| one.route == RUN).count() >= 3 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let records = audit.records();
    let own: Vec<_> = records.iter().filter(|one| one.route == RUN).collect();
    assert_eq!(own.len(), 3, "{own:?}");
    assert!(own.iter().all(|one| one.team == "acme" && one.outcome == AuditOutcome::Whole));
}

#[tokio::test]
async fn a_run_is_told_as_it_goes() {
    let scripts = vec![
        calls("look_v1", "tea"),
        calls("pay_v1", "tea"),
        ScriptedChat::words(7, &["tea is paid"]),
    ];
    let (world, _) = world(scripts).await;
    let (acme, boss) = (team(&world, "acme"), token_of("acme", Some("boss")));
    let boss = Team { world: &world, token: boss };
    let mut asked = ask("buy tea");
    asked["stream"] = true.into();
    let approving = async {
        let run = until_waiting(&boss).await;
        let id = run["approvals"][0]["id"].as_str().expect("an approval");
        boss.run("GET", "/v1/approvals", Value::Null, (200, id)).await;
        let path = format!("/v1/approvals/{id}/approve");
        boss.run("POST", &path, Value::Null, (200, "given")).await;
    };
    let (told, ()) = tokio::join!(events(&acme, "POST", RUN, &asked), approving);
    assert_eq!(
        words(&told),
        [
            "began",
            "asking",
            "calling",
            "call_ended",
            "asking",
            "calling",
            "approval_needed",
            "call_ended",
            "asking",
            "said",
            "finished",
        ]
    );
    assert_eq!(told[2]["arguments"]["query"], "tea");
    let last = told.last().expect("one");
    assert_eq!((&last["output"], &last["finish"]), (&json!("tea is paid"), &json!("answered")));
    assert_eq!(
        (&last["steps"], last["cost_microdollars"].as_u64()),
        (&json!(3), Some(11 + 11 + 9 + 10))
    );
    let run = last["run"].as_str().expect("a run");
    // Whoever comes late hears the same, or what comes behind an event.
    let path = format!("/v1/agents/runs/{run}/events");
    assert_eq!(events(&acme, "GET", &path, &Value::Null).await, told);
    let late = events(&acme, "GET", &format!("{path}?after=3"), &Value::Null).await;
    assert_eq!(words(&late), ["approval_needed", "call_ended", "asking", "said", "finished"]);
    acme.run("GET", &format!("{path}?after=x"), Value::Null, (400, "after must be")).await;
    acme.run("GET", &format!("{path}?from=1"), Value::Null, (400, "the address takes after")).await;
}

#[tokio::test]
async fn a_run_goes_on_without_its_client_and_is_cancelled() {
    let (world, _) = world(vec![calls("pay_v1", "tea")]).await;
    let acme = team(&world, "acme");
    let mut asked = ask("buy tea");
    asked["id"] = "tea".into();
    let header = format!("Bearer {}", acme.token);
    let answer = world.send(request("POST", RUN, Some(&header), asked.to_string()));
    // The client leaves while the run waits for somebody.
    tokio::select! {
        answer = answer => panic!("it has ended: {}", answer.text()),
        run = until_waiting(&acme) => assert_eq!(run["id"], "tea"),
    }
    let path = "/v1/agents/runs/tea";
    acme.run("GET", path, Value::Null, (200, "\"state\":\"waiting_for_approval\"")).await;
    acme.run("POST", &format!("{path}/pause"), Value::Null, (400, "action: must be")).await;
    acme.run("POST", &format!("{path}/cancel"), Value::Null, (202, "cancelling")).await;
    let told = acme.run("POST", RUN, asked, (200, "\"finish\":\"cancelled\"")).await;
    let output = told["output"].as_str().expect("a reason");
    assert!(output.starts_with("cancelled by "), "{told}");
    acme.run("POST", &format!("{path}/cancel"), Value::Null, (409, "has ended already")).await;
    acme.run("POST", "/v1/agents/runs/other/cancel", Value::Null, (404, "other")).await;
}

#[tokio::test]
async fn bad_input_is_told_what_is_allowed() {
    let (world, model) = world(vec![ScriptedChat::words(7, &["hello"])]).await;
    let acme = team(&world, "acme");
    let with = |field: &str, value: Value| {
        let mut asked = ask("hello");
        asked[field] = value;
        asked
    };
    let chat = |messages: Value| json!({"model": CHAT, "messages": messages});
    for (body, status, expected) in [
        (json!({"input": "hello"}), 400, "model"),
        (with("model", "other-model".into()), 404, "model_not_found"),
        (json!({"model": CHAT}), 400, "input: is missing"),
        (with("input", " ".into()), 400, "input: is empty"),
        (with("messages", json!([])), 400, "messages: send either"),
        (chat(json!([])), 400, "messages: must end with a message of the user"),
        (chat(json!([{"role": "tool", "content": "a"}])), 400, "messages[0].role"),
        (chat(json!([{"role": "user", "content": 1}])), 400, "messages[0].content"),
        (chat(json!([{"role": "user", "content": ""}])), 400, "messages[0].content: is empty"),
        (with("system", "".into()), 400, "system: is empty"),
        (with("toolz", json!([])), 400, "toolz"),
        (with("tools", json!(["look", "Look!"])), 400, "tools[1]"),
        (with("tools", json!(["look", "lok"])), 400, "tools[1]: there is no tool lok"),
        (with("tools", "look".into()), 400, "tools"),
        (with("session", "none".into()), 404, "unknown_session"),
        (with("id", "a b".into()), 400, "id: must be"),
        (with("iterations_max", 0.into()), 400, "iterations_max: is 0; must be 1 to 10000"),
        (with("microdollars_max", (-1).into()), 400, "microdollars_max"),
        (with("timeout_ms", 0.into()), 400, "timeout_ms: is 0"),
        (with("parallel_max", 1_000.into()), 400, "parallel_max: is 1000"),
        (with("stream", "yes".into()), 400, "stream"),
    ] {
        acme.run("POST", RUN, body, (status, expected)).await;
    }
    assert_eq!(model.asked().len(), 0);
    let key = SigningKey::new(super::world::KEY.to_vec()).expect("long enough");
    let token = key.mint(&Grant::new("acme", "standard", &["none"]), 600).expect("mints");
    let narrow = Team { world: &world, token };
    narrow.run("POST", RUN, ask("hello"), (403, "model_not_allowed")).await;
    assert_eq!(model.asked().len(), 0);
    let none = World::new().await;
    team(&none, "acme").run("POST", RUN, ask("hello"), (404, "gateway")).await;
}
