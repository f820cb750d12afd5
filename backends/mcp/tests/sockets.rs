//! Our client against our service over real sockets, in both lives of the protocol.

#[path = "desk/desk.rs"]
mod desk;

use std::sync::Arc;

use headwater_backends::{Backend, BackendError, Content, Egress, Invocation, Refusal, no_headers};
use headwater_backends_mcp::{ClientSettings, McpBackend, McpService, ServerSettings};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use desk::Desk;

struct Server {
    desk: Arc<Desk>,
    url: String,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve() -> Server {
    let settings = ServerSettings {
        name: "desk".to_owned(),
        version: "1".to_owned(),
        instructions: None,
        body_bytes_max: 10_000,
        hosts: vec!["127.0.0.1".to_owned()],
        timeout_ms: 20_000,
    };
    let desk = Arc::new(Desk::default());
    let service = McpService::new(desk.clone(), settings);
    let router = axum::Router::new().route_service("/mcp", service);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let url = format!("http://{}/mcp", listener.local_addr().expect("an address"));
    let task = tokio::spawn(async move {
        let _ = axum::serve(listener, router).await;
    });
    Server { desk, url, task }
}

fn client(url: &str) -> McpBackend {
    McpBackend::new(ClientSettings::http(url), no_headers(), Egress::everywhere())
        .expect("a client")
}

fn invocation(tool: &str, arguments: Value) -> Invocation {
    Invocation {
        tool: tool.to_owned(),
        version: String::new(),
        call: "call-7".to_owned(),
        tenant: "acme".to_owned(),
        session: None,
        arguments,
        dry_run: false,
        deadline_ms: 20_000,
        output_bytes_max: 1_000,
    }
}

#[tokio::test]
async fn the_client_lists_and_calls() {
    let server = serve().await;
    let client = client(&server.url);
    let listed = client.list().await.expect("a list");
    let names: Vec<&str> = listed.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["add", "fail", "pay", "wait"]);
    assert_eq!(listed[0].hints.read_only, Some(true));
    assert_eq!(listed[0].digest.len(), 64);
    let answer = client.call(&invocation("add", json!({"a": 2, "b": 3}))).await;
    let answer = answer.expect("an answer");
    assert_eq!((answer.content, answer.is_error), (Content::Json(json!({"sum": 5})), false));
    let calls = server.desk.calls.lock().expect("not poisoned").clone();
    assert_eq!(calls, [Some("call-7".to_owned())]);
    let failed = client.call(&invocation("fail", json!({}))).await.expect("an answer");
    assert_eq!((failed.content, failed.is_error), (Content::text("it broke"), true));
    let pay = client.call(&invocation("pay", json!({}))).await.expect("an answer");
    let told = pay.content.to_json().to_string();
    assert!(pay.is_error && told.contains("approval-7"), "{told}");
}

#[tokio::test]
async fn failures_are_told_apart() {
    let server = serve().await;
    let client = client(&server.url);
    let error = client.call(&invocation("none", json!({}))).await.expect_err("not found");
    assert!(matches!(error, BackendError::NotFound { .. }), "{error}");
    let error = client.call(&invocation("add", json!([]))).await.expect_err("arguments");
    assert!(matches!(error, BackendError::Arguments { .. }), "{error}");
    let short = Invocation { output_bytes_max: 2, ..invocation("add", json!({"a": 1, "b": 1})) };
    let error = client.call(&short).await.expect_err("too large");
    assert_eq!(error, BackendError::TooLarge { bytes_max: 2 });
    let dry = Invocation { dry_run: true, ..invocation("add", json!({"a": 1, "b": 1})) };
    let error = client.call(&dry).await.expect_err("no dry run");
    assert!(matches!(error, BackendError::Refused { .. }), "{error}");
    let refuse = Egress::new(|_, _| Err(Refusal { why: "closed".to_owned() }), |_, _| Ok(()));
    let refused = McpBackend::new(ClientSettings::http(&server.url), no_headers(), refuse);
    let error = refused.expect("a client").list().await.expect_err("refused");
    assert_eq!(error, BackendError::Refused { why: "closed".to_owned() });
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_is_given_up() {
    let server = serve().await;
    let client = client(&server.url);
    let call = Invocation { deadline_ms: 200, ..invocation("wait", json!({})) };
    let error = client.call(&call).await.expect_err("no answer");
    assert!(matches!(error, BackendError::TimedOut { .. }), "{error}");
    // Bounded by the test's own runtime: it ends when the service has heard of it.
    while *server.desk.given_up.lock().expect("not poisoned") == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_new_connection_is_made_where_the_old_one_is_gone() {
    let server = serve().await;
    let client = client(&server.url);
    client.list().await.expect("a list");
    client.close().await;
    let answer = client.call(&invocation("add", json!({"a": 1, "b": 1}))).await;
    assert_eq!(answer.expect("an answer").content, Content::Json(json!({"sum": 2})));
}

/// One request of the older life, by hand: no session, no `_meta`.
async fn post(url: &str, body: &Value) -> (u16, Value) {
    let response = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client")
        .post(url)
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json")
        .body(body.to_string())
        .send()
        .await
        .expect("an answer");
    let status = response.status().as_u16();
    let text = response.text().await.expect("text");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[tokio::test]
async fn the_older_revisions_are_served_without_sessions() {
    let server = serve().await;
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"}}});
    let (status, told) = post(&server.url, &initialize).await;
    assert_eq!((status, &told["result"]["protocolVersion"]), (200, &json!("2025-11-25")));
    let request = |method: &str, params: Value| json!({"jsonrpc": "2.0", "id": 2, "method": method, "params": params});
    let (_, told) = post(&server.url, &request("ping", json!({}))).await;
    assert_eq!(told["result"], json!({}));
    let (_, first) = post(&server.url, &request("tools/list", json!({}))).await;
    assert_eq!(first["result"]["nextCursor"], "second");
    let (_, wrong) = post(&server.url, &request("tools/list", json!({"cursor": "x"}))).await;
    assert_eq!(wrong["error"]["code"], -32602);
    let add = json!({"name": "add", "arguments": {"a": 1, "b": 2}});
    let (_, told) = post(&server.url, &request("tools/call", add)).await;
    assert_eq!(told["result"]["structuredContent"], json!({"sum": 3}));
    assert_eq!(told["result"]["content"][0]["text"], "{\"sum\":3}");
    let pay = json!({"name": "pay", "arguments": {}});
    let (_, told) = post(&server.url, &request("tools/call", pay)).await;
    assert_eq!(told["result"]["isError"], true);
    assert_eq!(told["result"]["_meta"]["headwater.dev/approval"], "approval-7");
    let none = json!({"name": "none", "arguments": {}});
    let (_, told) = post(&server.url, &request("tools/call", none)).await;
    assert_eq!(told["error"]["code"], -32602);
    let long = json!({"name": "add", "arguments": {"a": "x".repeat(20_000)}});
    assert_eq!(post(&server.url, &request("tools/call", long)).await.0, 413);
}
