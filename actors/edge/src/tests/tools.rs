//! `/v1/tools`, calls, approvals, sessions and sandboxes: what is answered, who may do what, and
//! what bad input is told.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use headwater_actors::gateway::{AuditHandle, GatewayHandle};
use headwater_actors::runtime::Runtime;
use headwater_actors::tenancy::TenancyHandle;
use headwater_actors::tools::sandbox::{
    Engine, Image, ImageName, SandboxHandle, SandboxMetrics, SandboxParts,
};
use headwater_actors::tools::{
    AgentFollower, Backend, CallRunner, Definition, PoolSettings, ToolCaller, ToolsHandle,
    ToolsMetrics, ToolsSettings,
};
use headwater_backends::memory::{Fault, MemoryBackend};
use headwater_sandbox::Isolation;
use headwater_sandbox::double::DoubleEngine;
use headwater_storage::retry::Retry;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use super::prompts::check;
use super::world::{Setup, World, request, token_of};

fn sandboxes(runtime: &Runtime, registry: &mut Registry) -> SandboxHandle {
    let abilities = headwater_sandbox::Abilities {
        isolation: Isolation::UserKernel,
        ..DoubleEngine::ABILITIES
    };
    let pause = |ms| Box::pin(tokio::time::sleep(Duration::from_millis(ms))) as _;
    let engine: Arc<dyn Engine> = Arc::new(DoubleEngine::new(abilities, pause));
    let image = |name: &ImageName| match name.as_str() {
        "python" => Ok(Image {
            name: name.clone(),
            digest: String::new(),
            root: PathBuf::new(),
            python: String::new(),
            preload: Vec::new(),
        }),
        other => Err(format!("image {other}: is not there")),
    };
    let parts = SandboxParts {
        engines: vec![engine],
        images: Arc::new(image),
        ways: None,
        image: ImageName::new("python").expect("a name"),
        small: PoolSettings::default(),
        large: PoolSettings { warm_min: 0, ..PoolSettings::default() },
        sessions_max: 2,
        session_idle_ms: 60_000,
    };
    SandboxHandle::new(runtime.clone(), parts, SandboxMetrics::register(registry))
}

/// Tools that one backend in memory answers, and sandboxes of a double.
pub(super) async fn served(
    runtime: &Runtime,
    store: &Retry,
    tenancy: &TenancyHandle,
    (audit, gateway): (Option<&AuditHandle>, Option<&GatewayHandle>),
    registry: &mut Registry,
) -> (ToolsHandle, Arc<MemoryBackend>) {
    let backend = Arc::new(MemoryBackend::new().knows_calls());
    let answers = Arc::clone(&backend);
    let find = move |_: &Definition| Ok(Arc::clone(&answers) as Arc<dyn Backend>);
    let metrics = ToolsMetrics::register(registry);
    let tools = ToolsHandle::new(
        runtime.clone(),
        store.clone(),
        tenancy.clone(),
        ToolsSettings::default(),
        Arc::new(find),
        metrics,
    );
    audit.into_iter().for_each(|audit| tools.record_to(audit.clone()));
    gateway.into_iter().for_each(|gateway| tools.ask_through(gateway.clone()));
    tools.run_code_in(sandboxes(runtime, registry));
    tools.refresh().await.expect("a store in memory");
    runtime.spawn(CallRunner::new(tools.clone()).run());
    runtime.spawn(AgentFollower::new(tools.clone()).run());
    (tools, backend)
}

/// Stands where the node puts MCP, and says who asks.
pub(super) fn speak(request: Request<Body>) -> Pin<Box<dyn Future<Output = Response> + Send>> {
    let caller = request.extensions().get::<ToolCaller>().expect("the edge knows it").clone();
    let told = json!({"team": caller.team, "agent": caller.agent});
    Box::pin(async move { axum::Json(told).into_response() })
}

pub(super) fn definition(name: &str, kind: &str) -> Value {
    json!({
        "name": name,
        "description": "Looks things up",
        "owner": "acme",
        "kind": kind,
        "cost_microdollars": 5,
        "input": {
            "type": "object",
            "properties": {"query": {"type": "string"}},
            "required": ["query"],
            "additionalProperties": false,
        },
        "backend": {"http": {"url": "https://tools.example.org/search", "method": "POST"}},
    })
}

pub(super) struct Team<'w> {
    pub(super) world: &'w World,
    pub(super) token: String,
}

impl Team<'_> {
    pub(super) async fn run(
        &self,
        method: &str,
        path: &str,
        body: Value,
        expected: (u16, &str),
    ) -> Value {
        check(self.world, &self.token, method, path, body, expected).await
    }

    async fn call(&self, body: Value, expected: (u16, &str)) -> Value {
        self.run("POST", "/v1/tools/call", body, expected).await
    }
}

pub(super) fn team<'w>(world: &'w World, name: &str) -> Team<'w> {
    Team { world, token: token_of(name, None) }
}

#[tokio::test]
async fn a_tool_is_published_found_and_called() {
    let world = World::new().await;
    let acme = team(&world, "acme");
    let search = definition("web-search", "read_only");
    acme.run("POST", "/v1/tools", search.clone(), (201, "\"reference\":\"web-search@1\"")).await;
    acme.run("POST", "/v1/tools", search.clone(), (200, "\"is_new\":false")).await;
    let mut changed = search.clone();
    changed["input"]["required"] = json!(["query", "limit"]);
    changed["input"]["properties"]["limit"] = json!({"type": "integer"});
    acme.run("POST", "/v1/tools", changed, (201, "\"severity\":\"breaking\"")).await;
    acme.run("GET", "/v1/tools", Value::Null, (200, "\"reference\":\"web-search@2\"")).await;
    acme.run("GET", "/v1/tools?format=openai", Value::Null, (200, "web-search_v2")).await;
    acme.run("GET", "/v1/tools?format=anthropic", Value::Null, (200, "input_schema")).await;
    acme.run("GET", "/v1/tools?format=mcp", Value::Null, (200, "inputSchema")).await;
    acme.run("GET", "/v1/tools?format=soap", Value::Null, (400, "format: must be one of")).await;
    acme.run("GET", "/v1/tools/web-search", Value::Null, (200, "\"version\":1")).await;
    acme.run("GET", "/v1/tools/nothing", Value::Null, (404, "not_found")).await;
    let found = json!({"query": "look something up"});
    acme.run("POST", "/v1/tools/search", found, (200, "\"score\":")).await;
    let ask = json!({"tool": "web-search@1", "arguments": {"query": "tea"}});
    let told = acme.call(ask.clone(), (200, "\"content\":")).await;
    let pinned = format!("web-search@1#{}", told["sha256"].as_str().expect("a hash"));
    let ask_pinned = json!({"tool": pinned, "arguments": {"query": "tea"}});
    acme.call(ask_pinned, (200, "\"cost_microdollars\":5")).await;
    let other = json!({"tool": "web-search@2#00000000", "arguments": {"query": "a", "limit": 1}});
    acme.call(other, (400, "is not what was pinned")).await;
    acme.call(json!({"tool": "web-search_v1", "arguments": {"query": "b"}}), (200, "content"))
        .await;
    acme.call(json!({"tool": "web-search@1"}), (422, "\"pointer\":\"")).await;
    acme.call(json!({"tool": "web-serch", "arguments": {}}), (404, "web-search")).await;
    acme.call(json!({"tool": "Web Search"}), (400, "a tool's name")).await;
    acme.call(json!({"tool": "web-search@1", "arguments": []}), (400, "arguments")).await;
    let slow = json!({"tool": "web-search@1", "arguments": {"query": "c"}, "timeout_ms": 60_000});
    acme.call(slow, (400, "timeout_ms")).await;
    let withdraw = json!({"reason": "it told lies"});
    let path = "/v1/tools/web-search/versions/1/withdraw";
    acme.run("POST", path, json!({}), (400, "reason: must say why")).await;
    acme.run("POST", path, withdraw, (204, "")).await;
    acme.call(ask, (403, "it told lies")).await;
}

#[tokio::test]
async fn mcp_hears_who_asks() {
    let world = World::new().await;
    let acme = team(&world, "acme");
    acme.run("POST", "/mcp", json!({}), (200, "{\"agent\":null,\"team\":\"acme\"}")).await;
    acme.run("GET", "/mcp", json!({}), (405, "")).await;
    let refused = world.send(super::world::request("POST", "/mcp", None, Body::empty())).await;
    assert_eq!(refused.status, 401);
}

#[tokio::test]
async fn other_teams_need_a_grant_and_operators_give_them() {
    let world = World::new().await;
    let (acme, rival) = (team(&world, "acme"), team(&world, "rival"));
    acme.run("POST", "/v1/tools", definition("lookup", "read_only"), (201, "")).await;
    rival.run("POST", "/v1/tools", definition("stolen", "read_only"), (403, "acme")).await;
    let ask = json!({"tool": "lookup", "arguments": {"query": "tea"}});
    rival.call(ask.clone(), (403, "has no grant")).await;
    rival.run("GET", "/v1/tools/lookup", Value::Null, (404, "not_found")).await;
    let grant = json!({
        "team": "rival",
        "tool": "lookup",
        "arguments": {"properties": {"query": {"maxLength": 5}}},
    });
    let path = "/v1/tool-grants/rivals";
    rival.run("PUT", path, grant.clone(), (403, "")).await;
    check(&world, &world.operator, "PUT", path, grant, (204, "")).await;
    rival.call(ask, (200, "content")).await;
    let long = json!({"tool": "lookup", "arguments": {"query": "much too long"}});
    rival.call(long, (403, "not_permitted")).await;
    rival.run("GET", "/v1/tool-grants", Value::Null, (200, "\"id\":\"rivals\"")).await;
    check(&world, &world.operator, "DELETE", path, Value::Null, (204, "")).await;
    check(&world, &world.operator, "DELETE", path, Value::Null, (404, "rivals")).await;
    let ask = json!({"tool": "lookup", "arguments": {"query": "tea"}});
    rival.call(ask, (403, "not_permitted")).await;
}

#[tokio::test]
async fn a_repeated_call_gets_its_first_answer() {
    let world = World::new().await;
    let acme = team(&world, "acme");
    acme.run("POST", "/v1/tools", definition("pay", "stateful"), (201, "")).await;
    let ask = |query: &str| json!({"tool": "pay", "id": "p1", "arguments": {"query": query}});
    let first = acme.call(ask("tea"), (200, "content")).await;
    let again = acme.call(ask("tea"), (200, "content")).await;
    assert_eq!(first["content"], again["content"]);
    assert_eq!(world.backend.effects_of("p1"), 1);
    acme.call(ask("milk"), (409, "id_conflict")).await;
    // The answer is lost, and the tool may have done it: it is not asked again.
    world.backend.inject(Fault::LostAnswer);
    let lost = json!({"tool": "pay", "id": "p2", "arguments": {"query": "tea"}});
    acme.call(lost.clone(), (502, "outcome_unknown")).await;
    acme.call(lost, (502, "outcome_unknown")).await;
    assert_eq!(world.backend.calls().iter().filter(|one| one.call == "p2").count(), 1);
    // Where the tool knows ids it is asked again by the same one.
    let mut safe = definition("order", "stateful");
    safe["idempotent"] = true.into();
    acme.run("POST", "/v1/tools", safe, (201, "")).await;
    world.backend.inject(Fault::LostAnswer);
    let order = json!({"tool": "order", "id": "o1", "arguments": {"query": "tea"}});
    acme.call(order, (200, "content")).await;
    assert_eq!(world.backend.effects_of("o1"), 1);
}

#[tokio::test]
async fn what_asks_for_approval_waits_for_somebody_else() {
    let world = World::new().await;
    let acme = team(&world, "acme");
    let mut delete = definition("delete", "stateful");
    delete["confirmation"] = "always".into();
    acme.run("POST", "/v1/tools", delete, (201, "")).await;
    let ask = json!({"tool": "delete", "id": "d1", "arguments": {"query": "all"}});
    let told = acme.call(ask.clone(), (202, "tool.input_required")).await;
    let approval = told["approval"].as_str().expect("an approval").to_owned();
    acme.call(ask.clone(), (202, &approval)).await;
    assert_eq!(world.backend.effects_of("d1"), 0);
    let path = format!("/v1/approvals/{approval}/approve");
    acme.run("POST", &path, Value::Null, (400, "is who calls")).await;
    let boss = Team { world: &world, token: token_of("acme", Some("boss")) };
    boss.run("GET", "/v1/approvals", Value::Null, (200, "\"state\":\"open\"")).await;
    boss.run("POST", &path, Value::Null, (200, "\"state\":\"given\"")).await;
    acme.call(ask.clone(), (200, "content")).await;
    acme.call(ask, (200, "content")).await;
    assert_eq!(world.backend.effects_of("d1"), 1);
    let second = json!({"tool": "delete", "id": "d2", "arguments": {"query": "more"}});
    let told = acme.call(second.clone(), (202, "approval")).await;
    let path = format!("/v1/approvals/{}/refuse", told["approval"].as_str().expect("one"));
    boss.run("POST", &path, Value::Null, (400, "reason")).await;
    boss.run("POST", &path, json!({"reason": "no"}), (200, "\"state\":\"refused\"")).await;
    acme.call(second, (403, "approval_refused")).await;
}

#[tokio::test]
async fn a_session_has_its_own_budget_notes_and_trace() {
    let world = World::new().await;
    let acme = team(&world, "acme");
    acme.run("POST", "/v1/tools", definition("look", "read_only"), (201, "")).await;
    let budget = json!({"calls_max": 3, "microdollars_max": 100});
    let told = acme.run("POST", "/v1/agent-sessions", budget, (201, "\"calls\":3")).await;
    let id = told["id"].as_str().expect("an id").to_owned();
    let at = |rest: &str| format!("/v1/agent-sessions/{id}{rest}");
    let ask = |query: &str| json!({"tool": "look", "session": id, "arguments": {"query": query}});
    acme.call(ask("a"), (200, "content")).await;
    acme.run("POST", &at("/pause"), Value::Null, (200, "paused")).await;
    acme.call(ask("b"), (409, "session_paused")).await;
    acme.run("POST", &at("/resume"), Value::Null, (200, "active")).await;
    acme.call(ask("b"), (200, "content")).await;
    acme.call(ask("c"), (200, "content")).await;
    acme.call(ask("d"), (429, "session_budget")).await;
    acme.run("GET", &at(""), Value::Null, (200, "\"microdollars\":85")).await;
    acme.run("GET", &at("/steps"), Value::Null, (200, "look@1")).await;
    acme.run("PUT", &at("/notes/plan"), json!({"value": "first tea"}), (204, "")).await;
    acme.run("GET", &at("/notes"), Value::Null, (200, "first tea")).await;
    acme.run("DELETE", &at("/notes/plan"), Value::Null, (204, "")).await;
    acme.run("GET", &at("/notes"), Value::Null, (200, "{}")).await;
    let rival = team(&world, "rival");
    rival.run("GET", &at(""), Value::Null, (404, "unknown_session")).await;
    acme.run("POST", &at("/end"), Value::Null, (200, "ended")).await;
    acme.call(ask("e"), (410, "session_ended")).await;
    let bad = json!({"calls_max": 10_000_000});
    acme.run("POST", "/v1/agent-sessions", bad, (400, "calls_max")).await;
}

#[tokio::test]
async fn an_agent_that_goes_in_circles_is_told_and_stopped() {
    let world = World::new().await;
    let acme = team(&world, "acme");
    acme.run("POST", "/v1/tools", definition("look", "read_only"), (201, "")).await;
    let told = acme.run("POST", "/v1/agent-sessions", Value::Null, (201, "")).await;
    let session = told["id"].as_str().expect("an id");
    let ask =
        |query: &str| json!({"tool": "look", "session": session, "arguments": {"query": query}});
    acme.call(ask("a"), (200, "\"warning\":null")).await;
    acme.call(ask("a"), (200, "\"warning\":null")).await;
    acme.call(ask("a"), (200, "do something else")).await;
    acme.call(ask("a"), (200, "warning")).await;
    acme.call(ask("a"), (200, "warning")).await;
    acme.call(ask("a"), (409, "\"loop\"")).await;
    acme.call(ask("b"), (200, "\"warning\":null")).await;
}

#[tokio::test]
async fn a_call_for_later_is_made_polled_and_cancelled() {
    let world = World::new().await;
    let acme = team(&world, "acme");
    let mut report = definition("report", "stateful");
    report["asynchronous"] = true.into();
    report["timeout_ms"] = 60_000.into();
    acme.run("POST", "/v1/tools", report, (201, "")).await;
    let ask = |id: &str| json!({"tool": "report", "id": id, "mode": "async", "arguments": {"query": "q"}});
    acme.call(ask("later"), (202, "\"state\":\"queued\"")).await;
    let done = until_ended(&acme, "later").await;
    assert_eq!(done["state"], "done", "{done}");
    assert_eq!(world.backend.effects_of("later"), 1);
    acme.call(ask("later"), (202, "\"state\":\"done\"")).await;
    world.backend.inject(Fault::Hang);
    acme.call(ask("stuck"), (202, "queued")).await;
    let path = "/v1/tool-calls/stuck/cancel";
    acme.run("POST", path, Value::Null, (200, "\"state\":\"cancelled\"")).await;
    acme.run("POST", path, Value::Null, (409, "already")).await;
    acme.run("GET", "/v1/tool-calls/nothing", Value::Null, (404, "nothing")).await;
}

/// Asks after a call until it has ended.
async fn until_ended(acme: &Team<'_>, id: &str) -> Value {
    let path = format!("/v1/tool-calls/{id}");
    for _ in 0..600 {
        let told = acme.run("GET", &path, Value::Null, (200, id)).await;
        if !told["ended_ms"].is_null() {
            return told;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the call {id} did not end");
}

#[tokio::test]
async fn code_runs_in_a_sandbox_and_a_weaker_one_is_never_taken() {
    let world = World::new().await;
    let acme = team(&world, "acme");
    acme.run("GET", "/v1/sandbox", Value::Null, (200, "\"isolation\":\"user_kernel\"")).await;
    let run = |body: Value, expected| acme.run("POST", "/v1/sandbox/run", body, expected);
    run(json!({"code": "print hi\ncat", "input": "in"}), (200, "hi\\nin")).await;
    run(json!({"code": "exit 3"}), (200, "\"ended\":\"exit 3\"")).await;
    run(json!({"code": "violate"}), (200, "asked for what no guest may do")).await;
    run(json!({"code": "print", "isolation": "machine"}), (501, "machine")).await;
    run(json!({"code": "print", "isolation": "none"}), (400, "isolation: must be one of")).await;
    run(json!({"code": "print", "image": "other"}), (501, "is not there")).await;
    run(json!({"code": "print", "collect": ["../x"]}), (400, "collect[0]")).await;
    run(json!({"code": "crash"}), (502, "lost")).await;
    let files = json!([{"path": "a", "text": "x"}]);
    let body = json!({"code": "need a", "files": files, "collect": ["a"]});
    run(body, (200, "\"text\":\"x\"")).await;
    let streamed = json!({"code": "print hi", "stream": true});
    let header = format!("Bearer {}", acme.token);
    let answer =
        world.send(request("POST", "/v1/sandbox/run", Some(&header), streamed.to_string())).await;
    let text = answer.text();
    assert!(text.contains("event: output") && text.contains("event: result"), "{text}");
}

#[tokio::test]
async fn a_sandbox_session_keeps_its_files_for_its_own_team() {
    let world = World::new().await;
    let (acme, rival) = (team(&world, "acme"), team(&world, "rival"));
    let told = acme.run("POST", "/v1/sandbox/sessions", Value::Null, (201, "open")).await;
    let id = told["id"].as_str().expect("an id").to_owned();
    let at = |rest: &str| format!("/v1/sandbox/sessions/{id}{rest}");
    acme.run("POST", &at("/run"), json!({"code": "need a"}), (200, "exit 2")).await;
    acme.run("POST", &at("/files"), json!({"path": "a", "text": "x"}), (204, "")).await;
    acme.run("POST", &at("/run"), json!({"code": "need a"}), (200, "exit 0")).await;
    acme.run("GET", &at("/files"), Value::Null, (200, "\"path\":\"a\"")).await;
    rival.run("POST", &at("/run"), json!({"code": "need a"}), (404, "unknown_session")).await;
    acme.run("POST", &at("/pause"), Value::Null, (204, "")).await;
    acme.run("POST", &at("/run"), json!({"code": "print"}), (409, "paused")).await;
    acme.run("POST", &at("/resume"), Value::Null, (204, "")).await;
    acme.run("POST", "/v1/sandbox/sessions", Value::Null, (201, "")).await;
    acme.run("POST", "/v1/sandbox/sessions", Value::Null, (429, "sandbox sessions")).await;
    acme.run("POST", &at("/close"), Value::Null, (204, "")).await;
    acme.run("GET", &at("/files"), Value::Null, (404, "unknown_session")).await;
}

#[tokio::test]
async fn a_tool_of_code_says_json_or_what_went_wrong() {
    let world = World::new().await;
    let acme = team(&world, "acme");
    let code = |name: &str, source: &str| {
        let mut code = definition(name, "code");
        code["backend"] = json!({"code": {"image": "python", "source": source}});
        code
    };
    acme.run("POST", "/v1/tools", code("echo", "cat"), (201, "")).await;
    acme.run("POST", "/v1/tools", code("words", "print hello"), (201, "")).await;
    acme.run("POST", "/v1/tools", code("fails", "exit 4"), (201, "")).await;
    let ask = |tool: &str| json!({"tool": tool, "arguments": {"query": "tea"}});
    let told = acme.call(ask("echo"), (200, "content")).await;
    assert_eq!(told["content"], json!({"query": "tea"}));
    acme.call(ask("words"), (502, "it is no JSON")).await;
    acme.call(ask("fails"), (200, "\"is_error\":true")).await;
}

#[tokio::test]
async fn every_call_leaves_a_record() {
    let lake = headwater_storage::audit::MemoryAudit::new();
    let world = World::with(Setup { audit: Some(lake.clone()), ..Setup::default() }).await;
    let acme = team(&world, "acme");
    acme.run("POST", "/v1/tools", definition("look", "read_only"), (201, "")).await;
    let ask = json!({"tool": "look", "id": "c1", "arguments": {"query": "tea"}});
    acme.call(ask, (200, "content")).await;
    acme.call(json!({"tool": "nothing", "id": "c2", "arguments": {}}), (404, "")).await;
    let records = loop {
        let records = lake.records();
        if records.len() >= 2 {
            break records;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let of = |id: &str| {
        let found = records.iter().find(|one| one.tool.as_ref().is_some_and(|t| t.call_id == id));
        found.expect("a record").clone()
    };
    let (done, refused) = (of("c1"), of("c2"));
    assert_eq!((done.model_served.as_str(), done.cost_micro_usd), ("look@1", 5));
    let tool = done.tool.expect("a tool");
    assert!(
        tool.output_sha256.is_some() && tool.input_sha256.len() == 64 && tool.refusal.is_none()
    );
    let refusal = refused.tool.expect("a tool").refusal;
    assert_eq!(refusal.as_deref(), Some("unknown_tool"));
}
