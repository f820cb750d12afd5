//! The audit over HTTP: one record for each request, seen by its team and by operators.

use axum::body::Body;
use headwater_actors::gateway::{AuditOutcome, AuditRecord, ChatEvent, Chunk, Finish, MemoryAudit};
use headwater_models::chat::double::ScriptedChat;
use serde_json::{Value, json};

use super::chat::CHAT;
use super::world::{Answer, Setup, World, request, token_for};

struct Audited {
    world: World,
    lake: MemoryAudit,
}

impl Audited {
    async fn new() -> Audited {
        let events = vec![
            ChatEvent::Started { id: None, model: None },
            ChatEvent::Text { choice: 0, text: "Deep.".to_owned() },
            ChatEvent::Finished { choice: 0, reason: Finish::Stop, stop: None },
        ];
        let script = Ok(vec![Ok(Chunk::of(events))]);
        let (model, lake) = (ScriptedChat::new(vec![script]), MemoryAudit::new());
        let setup = Setup { chat: Some(model), audit: Some(lake.clone()), ..Setup::default() };
        Audited { world: World::with(setup).await, lake }
    }

    /// All records, once there are so many.
    async fn records(&self, count: usize) -> Vec<AuditRecord> {
        for _ in 0..2_000 {
            let records = self.lake.records();
            if records.len() >= count {
                assert_eq!(records.len(), count);
                return records;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!("{:?} of {count} records", self.lake.records());
    }

    async fn ask(&self, token: &str, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        self.world.send(request(method, path, Some(&format!("Bearer {token}")), body)).await
    }
}

fn chat(model: &str, stream: bool) -> Value {
    let messages = json!([{"role": "user", "content": "How deep is the lake?"}]);
    json!({"model": model, "stream": stream, "messages": messages, "user": "u-7"})
}

#[tokio::test]
async fn every_request_past_parsing_has_one_record() {
    let audited = Audited::new().await;
    let world = &audited.world;
    for stream in [false, true] {
        assert_eq!(world.post("/v1/chat/completions", &chat(CHAT, stream)).await.status, 200);
    }
    let mut asked = chat(CHAT, false);
    asked["max_tokens"] = json!(10);
    asked.as_object_mut().expect("is one").remove("user");
    assert_eq!(world.post("/v1/messages", &asked).await.status, 200);
    assert_eq!(world.post("/v1/chat/completions", &chat("nobody", false)).await.status, 404);
    let narrow = token_for(&["another"]);
    let refused = audited.ask(&narrow, "POST", "/v1/chat/completions", &chat(CHAT, false)).await;
    assert_eq!(refused.status, 403);
    // What cannot be read is no request yet.
    assert_eq!(world.post("/v1/chat/completions", &json!({"model": 7})).await.status, 400);
    let records = audited.records(5).await;
    let told: Vec<(&str, AuditOutcome, &str)> = records
        .iter()
        .map(|one| (one.route.as_str(), one.outcome, one.protocol.as_str()))
        .collect();
    let expected = [
        ("/v1/chat/completions", AuditOutcome::Whole, "openai.chat"),
        ("/v1/chat/completions", AuditOutcome::Whole, "openai.chat"),
        ("/v1/messages", AuditOutcome::Whole, "anthropic.messages"),
        ("/v1/chat/completions", AuditOutcome::UnknownModel, "openai.chat"),
        ("/v1/chat/completions", AuditOutcome::Blocked, "openai.chat"),
    ];
    assert_eq!(told, expected);
    let (first, unknown) = (&records[0], &records[3]);
    assert_eq!((first.team.as_str(), first.user.as_deref()), ("acme", Some("u-7")));
    assert_eq!((first.model_asked.as_str(), first.backend.as_str()), (CHAT, "scripted"));
    assert!(first.tokens_in > 0 && first.cost_micro_usd > 0 && first.is_estimated, "{first:?}");
    assert!(first.ttft_ms.is_some() && first.content.is_none(), "{first:?}");
    assert_eq!((unknown.backend.as_str(), unknown.tokens_in, unknown.ttft_ms), ("", 0, None));
    let mut ids: Vec<&str> = records.iter().map(|one| one.id.as_str()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 5);
}

#[tokio::test]
async fn a_team_asks_for_its_own_and_an_operator_for_all() {
    let audited = Audited::new().await;
    let world = &audited.world;
    assert_eq!(world.post("/v1/chat/completions", &chat(CHAT, false)).await.status, 200);
    let (path, body) = ("/v1/chat/completions", chat(CHAT, false));
    assert_eq!(audited.ask(&world.operator, "POST", path, &body).await.status, 200);
    audited.records(2).await;
    let sql = json!({"sql": "select team from audit"});
    let path = "/v1/audit/query";
    let own = audited.ask(&world.token, "POST", path, &sql).await.ok();
    assert_eq!(own, json!({"columns": ["team"], "rows": [["acme"]], "truncated": false}));
    let all = audited.ask(&world.operator, "POST", path, &sql).await.ok();
    assert_eq!(all["rows"], json!([["acme"], ["ops"]]));
    let csv = world.get("/v1/audit/query?sql=select+team,outcome+from%20audit&format=csv").await;
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(csv.text(), "team,outcome\r\nacme,whole\r\n");
}

#[tokio::test]
async fn a_wrong_question_is_told_what_is_wrong() {
    let audited = Audited::new().await;
    let world = &audited.world;
    let post = |body: Value| async move { world.post("/v1/audit/query", &body).await };
    let sql = "drop table audit";
    post(json!({ "sql": sql })).await.is_error(400, "invalid_sql", Some("sql"), &["select"]);
    let format = json!({"sql": "select 1", "format": "xml"});
    post(format).await.is_error(400, "invalid_field", Some("format"), &["xml", "json, csv"]);
    assert_eq!(post(json!({"query": "select 1"})).await.status, 400);
    for (path, code, param, words) in [
        ("/v1/audit/query", "missing_field", "sql", "sql is missing"),
        ("/v1/audit/query?sql=x&team=other", "unknown_parameter", "team", "sql, format"),
        ("/v1/audit/query?sql=x&sql=y", "invalid_field", "sql", "twice"),
        ("/v1/audit/cost?from=yesterday", "invalid_field", "from", "2026-12-01"),
        ("/v1/audit/cost?from=2026-12-02&to=2026-12-01", "invalid_field", "from", "earlier"),
        ("/v1/audit/cost?by=weather", "invalid_field", "by", "model_served"),
        ("/v1/audit/cost?format=xml", "invalid_field", "format", "json, csv"),
    ] {
        world.get(path).await.is_error(400, code, Some(param), &[words]);
    }
    let without = World::new().await;
    without.get("/v1/audit/cost").await.is_error(404, "no_audit", None, &["audit.enabled"]);
}
