//! The official SDKs of other languages against our service.

#[path = "desk/desk.rs"]
mod desk;

use std::path::Path;
use std::sync::Arc;

use headwater_backends_mcp::{McpService, ServerSettings};
use serde_json::{Value, json};
use tokio::process::Command;

async fn serve() -> String {
    let settings = ServerSettings {
        name: "desk".to_owned(),
        version: "1".to_owned(),
        instructions: None,
        body_bytes_max: 1 << 20,
        hosts: vec!["127.0.0.1".to_owned()],
        timeout_ms: 20_000,
    };
    let service = McpService::new(Arc::new(desk::Desk::default()), settings);
    let router = axum::Router::new().route_service("/mcp", service);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let url = format!("http://{}/mcp", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// What the client has printed, a line of JSON each.
async fn run(program: &str, arguments: &[&str]) -> Vec<Value> {
    let output = Command::new(program)
        .args(arguments)
        .envs([("NO_PROXY", "*"), ("no_proxy", "*")])
        .output()
        .await
        .expect("starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let told = String::from_utf8(output.stdout).expect("text");
    told.lines().map(|line| serde_json::from_str(line).expect("json")).collect()
}

fn script(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name).display().to_string()
}

fn expected() -> Value {
    json!({"names": ["add", "fail", "pay", "wait"], "sum": {"sum": 5}, "failed": true})
}

#[tokio::test]
async fn the_python_sdk_lists_and_calls_in_both_lives() {
    let Ok(python) = std::env::var("HEADWATER_PYTHON") else {
        eprintln!("skipped: HEADWATER_PYTHON names no Python with the package mcp");
        return;
    };
    let url = serve().await;
    let told = run(&python, &[&script("list_and_call.py"), &url]).await;
    let with = |mode: &str| {
        let mut expected = expected();
        expected["mode"] = json!(mode);
        expected
    };
    assert_eq!(told, [with("legacy"), with("auto")]);
}

#[tokio::test]
async fn the_typescript_sdk_lists_and_calls() {
    let Ok(folder) = std::env::var("HEADWATER_NODE_MODULES") else {
        eprintln!("skipped: HEADWATER_NODE_MODULES names no folder with @modelcontextprotocol/sdk");
        return;
    };
    let url = serve().await;
    let told = run("node", &[&script("list_and_call.mjs"), &folder, &url]).await;
    assert_eq!(told, [expected()]);
}
