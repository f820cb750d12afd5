//! Clients that leave: the handler's future goes, also while it is silent.

use std::future::pending;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use h3::error::Code;
use http_body_util::BodyExt;
use quinn::VarInt;
use tokio::sync::mpsc;

use super::{Client, Files, Guard, Parts, Stream, part, serve_http3, within};

type Told = mpsc::UnboundedReceiver<&'static str>;

/// A handler that never answers, one whose body falls silent after a part, and one that reads.
fn silent() -> (Router, Told) {
    let (told, hears) = mpsc::unbounded_channel();
    let (tells, says, reads) = (told.clone(), told.clone(), told);
    let never = move || async move {
        let _guard = Guard::new(&tells);
        pending::<()>().await;
    };
    let once = move || async move {
        let (parts, made) = mpsc::unbounded_channel();
        parts.send(Bytes::from("one")).unwrap();
        // Kept open, so that the body is silent and not over.
        let guard = Guard::new(&says);
        tokio::spawn(async move {
            parts.closed().await;
        });
        Body::new(Parts { made, _guard: Some(guard) })
    };
    let reading = move |body: Body| async move {
        let _guard = Guard::new(&reads);
        let _ = body.collect().await;
        pending::<()>().await;
    };
    let router = Router::new()
        .route("/never", get(never.clone()).post(never))
        .route("/once", get(once))
        .route("/reads", post(reading));
    (router, hears)
}

async fn start(client: &Client, told: &mut Told, path: &str) -> Stream {
    let mut stream = client.start(super::get(path)).await;
    stream.finish().await.unwrap();
    assert_eq!(within(told.recv()).await, Some("runs"));
    stream
}

#[tokio::test]
async fn a_closed_connection_drops_silent_handlers() {
    let files = Files::new();
    let (router, mut told) = silent();
    let (address, _stop, _) = serve_http3(router, &files.open());
    let client = Client::connect(address, &files.root).await.unwrap();
    let first = start(&client, &mut told, "/never").await;
    let second = start(&client, &mut told, "/once").await;
    client.quic.close(VarInt::from_u32(0x100), b"");
    assert_eq!(within(told.recv()).await, Some("dropped"));
    assert_eq!(within(told.recv()).await, Some("dropped"));
    drop((first, second));
}

#[tokio::test]
async fn a_stopped_stream_drops_a_silent_handler() {
    let files = Files::new();
    let (router, mut told) = silent();
    let (address, _stop, _) = serve_http3(router, &files.open());
    let client = Client::connect(address, &files.root).await.unwrap();
    let other = start(&client, &mut told, "/never").await;
    let mut stream = start(&client, &mut told, "/never").await;
    stream.stop_sending(Code::H3_REQUEST_CANCELLED);
    assert_eq!(within(told.recv()).await, Some("dropped"));
    // The one beside it runs on, and so does the connection.
    let mut stream = start(&client, &mut told, "/once").await;
    within(stream.recv_response()).await.unwrap();
    assert_eq!(part(&mut stream).await.unwrap(), "one");
    // Its body is silent now; a stream that is dropped is stopped.
    drop(stream);
    assert_eq!(within(told.recv()).await, Some("dropped"));
    assert!(told.is_empty());
    drop(other);
    assert_eq!(within(told.recv()).await, Some("dropped"));
}

#[tokio::test]
async fn a_stopped_stream_drops_a_handler_whose_body_is_still_open() {
    let files = Files::new();
    let (router, mut told) = silent();
    let (address, _stop, _) = serve_http3(router, &files.open());
    let client = Client::connect(address, &files.root).await.unwrap();
    let mut stream = client.start(super::post("/never")).await;
    stream.send_data(Bytes::from("begin")).await.unwrap();
    assert_eq!(within(told.recv()).await, Some("runs"));
    stream.stop_stream(Code::H3_REQUEST_CANCELLED);
    stream.stop_sending(Code::H3_REQUEST_CANCELLED);
    assert_eq!(within(told.recv()).await, Some("dropped"));
}

#[tokio::test]
async fn a_body_broken_off_ends_the_request_that_reads_it() {
    let files = Files::new();
    let (router, mut told) = silent();
    let (address, _stop, _) = serve_http3(router, &files.open());
    let client = Client::connect(address, &files.root).await.unwrap();
    let mut stream = client.start(super::post("/reads")).await;
    stream.send_data(Bytes::from("begin")).await.unwrap();
    assert_eq!(within(told.recv()).await, Some("runs"));
    stream.stop_stream(Code::H3_REQUEST_CANCELLED);
    assert_eq!(within(told.recv()).await, Some("dropped"));
    let error = within(stream.recv_response()).await.unwrap_err().to_string();
    assert!(error.contains("H3_REQUEST_CANCELLED"), "{error}");
}
