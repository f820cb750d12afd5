//! Serves four small tools over the Model Context Protocol, on a free port that it prints.

#[path = "../tests/desk/desk.rs"]
mod desk;

use std::sync::Arc;

use headwater_backends_mcp::{McpService, ServerSettings};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let settings = ServerSettings {
        name: "desk".to_owned(),
        version: "1".to_owned(),
        instructions: None,
        body_bytes_max: 1 << 20,
        hosts: vec!["127.0.0.1".to_owned()],
        timeout_ms: 10_000,
    };
    let service = McpService::new(Arc::new(desk::Desk::default()), settings);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}/mcp", listener.local_addr()?);
    axum::serve(listener, axum::Router::new().route_service("/mcp", service)).await
}
