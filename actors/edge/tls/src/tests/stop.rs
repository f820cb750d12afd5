//! The end: what runs gets to its end, nothing new begins.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use h3::error::Code;
use tokio::sync::{Notify, mpsc};

use super::rules::{exchange, head, was_reset};
use super::{Client, Files, answer, connect_quic, serve_http3, within};

#[tokio::test]
async fn running_requests_end_and_new_ones_are_refused() {
    let files = Files::new();
    let (runs, mut running) = mpsc::unbounded_channel();
    let go = Arc::new(Notify::new());
    let waits = Arc::clone(&go);
    let handler = move || async move {
        runs.send(()).unwrap();
        waits.notified().await;
        // More than is sent in one piece: the end must wait for all of it.
        "whole".repeat(200_000)
    };
    let router = Router::new().route("/", get(handler));
    let (address, stop, server) = serve_http3(router, &files.open());
    let client = Client::connect(address, &files.root).await.unwrap();
    let mut stream = client.start(super::get("/")).await;
    stream.finish().await.unwrap();
    within(running.recv()).await.unwrap();
    let idle = Client::connect(address, &files.root).await.unwrap();
    stop.send(()).unwrap();
    // A connection without a request is closed at once.
    let closed = within(idle.quic.closed()).await;
    assert!(matches!(closed, quinn::ConnectionError::ApplicationClosed(_)), "{closed}");
    assert!(connect_quic(address, &files.root).await.is_err());
    // The running connection takes no new request, by GOAWAY or by rejection.
    let rejected = async {
        let mut stream = client.send.clone().send_request(super::get("/")).await?;
        stream.finish().await?;
        stream.recv_response().await
    };
    let error = within(rejected).await.unwrap_err().to_string();
    assert!(error.contains("closing") || error.contains("H3_REQUEST_REJECTED"), "{error}");
    // So it is for a client that did not hear of the end, which may repeat it elsewhere.
    let rejected = exchange(&client.quic, &head(&[])).await;
    assert!(was_reset(rejected, Code::H3_REQUEST_REJECTED));
    assert!(!server.is_finished());
    go.notify_one();
    assert_eq!(answer(&mut stream).await.1, "whole".repeat(200_000));
    within(server).await.unwrap();
    assert!(running.is_empty());
}

#[tokio::test]
async fn an_ended_server_gives_its_address_back() {
    let files = Files::new();
    let router = Router::new().route("/", get(|| async { "here" }));
    let (address, stop, server) = serve_http3(router.clone(), &files.open());
    let client = Client::connect(address, &files.root).await.unwrap();
    assert_eq!(client.get("/").await.1, "here");
    stop.send(()).unwrap();
    within(server).await.unwrap();
    let socket = within(async {
        loop {
            // The socket's driver ends on its own, shortly after.
            match std::net::UdpSocket::bind(address) {
                Ok(socket) => return socket,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            }
        }
    });
    drop(socket.await);
}
