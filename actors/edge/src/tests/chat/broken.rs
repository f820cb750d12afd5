//! Streams that do not come to their end: cut by the backend, or left by the client.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use headwater_actors::gateway::{ChatError, Chunk, Finish, Protocol};
use headwater_models::chat::double::{Script, ScriptedChat};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tower::ServiceExt;

use super::{CHAT, call, events, finished, json_of, said, saying, started, stream_of, text};
use crate::tests::world::World;

const OPENAI: &str = "/v1/chat/completions";
const ANTHROPIC: &str = "/v1/messages";
const PATIENCE: Duration = Duration::from_secs(60);

fn ask(stream: bool) -> Value {
    let messages = json!([{"role": "user", "content": "hi"}]);
    json!({"model": CHAT, "max_tokens": 5, "messages": messages, "stream": stream})
}

fn cut(own: Option<Protocol>) -> Script {
    let word = match own {
        Some(protocol) => said(protocol, None, "{\"own\":1}", vec![text("Hell")]),
        None => Chunk::of(vec![text("Hell")]),
    };
    let gone = ChatError::Cut { reason: "the line went dead".to_owned() };
    Ok(vec![Ok(Chunk::of(vec![started()])), Ok(word), Err(gone)])
}

async fn begin(world: &World, path: &str) -> Response {
    let request = world.request("POST", path, ask(true).to_string());
    let response = timeout(PATIENCE, world.router.clone().oneshot(request)).await;
    response.expect("hangs").expect("never fails")
}

/// What comes until the body ends, and whether it ends well.
async fn drained(mut body: Body) -> (String, bool) {
    let mut text = String::new();
    loop {
        match timeout(PATIENCE, body.frame()).await.expect("hangs") {
            None => return (text, true),
            Some(Err(_)) => return (text, false),
            Some(Ok(frame)) => {
                let data = frame.into_data().expect("data");
                text.push_str(std::str::from_utf8(&data).expect("UTF-8"));
            }
        }
    }
}

#[tokio::test]
async fn a_cut_stream_is_no_clean_end() {
    for own in [None, Some(Protocol::OpenAiChat), Some(Protocol::AnthropicMessages)] {
        let (world, _) = saying(cut(own)).await;
        let response = begin(&world, OPENAI).await;
        assert_eq!(response.status(), 200);
        let (text, clean) = drained(response.into_body()).await;
        assert!(!clean && !text.contains("[DONE]"), "{text}");
        let (name, last) = stream_of(&text).pop().expect("an event");
        assert_eq!((name, &json_of(&last)["error"]["code"]), (None, &json!("answer_cut")));

        let response = begin(&world, ANTHROPIC).await;
        let (text, clean) = drained(response.into_body()).await;
        assert!(!clean && !text.contains("message_stop"), "{text}");
        let (name, last) = stream_of(&text).pop().expect("an event");
        assert_eq!(name.as_deref(), Some("error"));
        assert_eq!(json_of(&last)["error"]["type"], "api_error");
        assert!(last.contains("the line went dead") && last.contains("not complete"));
    }
}

#[tokio::test]
async fn an_answer_at_once_that_is_cut_is_an_error() {
    let (world, _) = saying(cut(None)).await;
    let answer = world.post(OPENAI, &ask(false)).await;
    answer.is_error(502, "answer_cut", None, &["the line went dead", "not complete"]);
    assert_eq!(world.post(ANTHROPIC, &ask(false)).await.status, 502);
}

#[tokio::test]
async fn a_call_that_goes_on_too_late_is_not_lost_silently() {
    let script = || {
        events(vec![
            started(),
            call(0, Some("f"), "{"),
            call(1, Some("g"), "{}"),
            call(0, None, "}"),
            finished(Finish::ToolCalls),
        ])
    };
    let (world, model) = saying(script()).await;
    let (text, clean) = drained(begin(&world, ANTHROPIC).await.into_body()).await;
    assert!(!clean && text.contains("ask without a stream"), "{text}");
    assert_eq!(model.dropped(), 1);
    let whole = world.post(ANTHROPIC, &ask(false)).await.ok();
    let inputs: Vec<_> = [0, 1].iter().map(|at| &whole["content"][at]["input"]).collect();
    assert_eq!(inputs, [&json!({}), &json!({})]);
}

#[tokio::test]
async fn a_client_that_leaves_drops_the_stream() {
    let (world, model) = saying(ScriptedChat::words(1, &["a", "b", "c"])).await;
    for (path, left) in [(OPENAI, 1), (ANTHROPIC, 2)] {
        let mut body = begin(&world, path).await.into_body();
        body.frame().await.expect("a frame").expect("no error");
        assert_eq!(model.dropped(), left - 1);
        drop(body);
        assert_eq!(model.dropped(), left);
        assert_eq!(world.gate.inside(), 0);
    }
}

#[tokio::test]
async fn the_drain_waits_for_streams() {
    let (world, _) = saying(ScriptedChat::words(1, &["a", "b"])).await;
    let body = begin(&world, OPENAI).await.into_body();
    assert_eq!(world.gate.inside(), 1);
    world.gate.drain();
    let soon = timeout(Duration::from_millis(20), world.gate.empty()).await;
    assert!(soon.is_err(), "the drain did not wait");
    let (text, clean) = drained(body).await;
    assert!(clean && text.ends_with("data: [DONE]\n\n"), "{text}");
    timeout(PATIENCE, world.gate.empty()).await.expect("drains");
    // A body of one piece is held until it is sent, too.
    let (world, _) = saying(ScriptedChat::words(1, &["a"])).await;
    let request = world.request("POST", OPENAI, ask(false).to_string());
    let response = world.router.clone().oneshot(request).await.expect("never fails");
    assert_eq!(world.gate.inside(), 1);
    drained(response.into_body()).await;
    assert_eq!(world.gate.inside(), 0);
}

async fn over_a_socket(router: Router, request: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let mut client = TcpStream::connect(address).await.expect("connects");
    client.write_all(request.as_bytes()).await.expect("writes");
    let mut answer = Vec::new();
    // The server may reset the connection once all that it has to say is read.
    let _ = timeout(PATIENCE, client.read_to_end(&mut answer)).await.expect("hangs");
    server.abort();
    String::from_utf8(answer).expect("UTF-8")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_stream_breaks_the_connection_after_its_error_is_sent() {
    for (script, whole) in [(cut(None), false), (ScriptedChat::words(1, &["a"]), true)] {
        let (world, _) = saying(script).await;
        let body = ask(true).to_string();
        let request = format!(
            "POST {OPENAI} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: Bearer \
             {}\r\ncontent-length: {}\r\n\r\n{body}",
            world.token,
            body.len(),
        );
        let answer = over_a_socket(world.router.clone(), request).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        // The last chunk of HTTP's own framing, without which no client takes the body for whole.
        assert_eq!(answer.ends_with("\r\n0\r\n\r\n"), whole, "{answer}");
        assert_eq!(answer.contains("answer_cut"), !whole, "{answer}");
        assert_eq!(answer.contains("[DONE]"), whole, "{answer}");
    }
}
