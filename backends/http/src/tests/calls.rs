//! Calls of one operation: what goes out, what comes back, and each way to fail.

use std::sync::Arc;

use headwater_backends::{
    Answer, Backend, BackendError, Content, Egress, Invocation, Refusal, SecretHeader,
    SecretHeaders, no_headers,
};
use serde_json::{Value, json};

use super::server::{Reply, Server};
use crate::{Body, HttpClient, HttpSettings, Method, Operation};

const TOKEN: &str = "Bearer tok-0123456789";

pub(super) fn invocation(arguments: Value) -> Invocation {
    Invocation {
        tool: "t".to_owned(),
        version: "1".to_owned(),
        call: "call-1".to_owned(),
        tenant: "acme".to_owned(),
        session: None,
        arguments,
        dry_run: false,
        deadline_ms: 10_000,
        output_bytes_max: 1_000,
    }
}

pub(super) fn client(egress: Egress) -> HttpClient {
    HttpClient::new(&HttpSettings::default(), egress).expect("a client")
}

fn with_token() -> SecretHeaders {
    Arc::new(|_| Box::pin(async { Ok(vec![SecretHeader::new("authorization", TOKEN)]) }))
}

fn json_reply(status: u16, body: &Value) -> Reply {
    let headers = vec![("content-type", "application/json; charset=utf-8".to_owned())];
    Reply::Whole(status, headers, body.to_string().into_bytes())
}

async fn post(url: &str, invocation: &Invocation) -> Result<Answer, BackendError> {
    let operation = Operation::of(Method::Post, url, Body::Rest).expect("an operation");
    let backend = client(Egress::everywhere()).backend(operation, with_token());
    backend.expect("a backend").call(invocation).await
}

#[tokio::test]
async fn a_call_is_one_request() {
    let server = Server::start(|_| json_reply(201, &json!({"made": 7}))).await;
    let call = invocation(json!({"id": "a/b", "title": "hi"}));
    let answer = post(&server.url("/things/{id}"), &call).await.expect("an answer");
    assert_eq!(answer.content, Content::Json(json!({"made": 7})));
    assert!(!answer.is_error);
    assert_eq!(answer.bytes_in, 10);
    assert_eq!(answer.reached.len(), 1);
    assert_eq!(
        (answer.reached[0].host.as_str(), answer.reached[0].port),
        ("127.0.0.1", server.port)
    );
    let asked = server.asked();
    assert_eq!(asked.len(), 1);
    for part in [
        "POST /things/a%2Fb HTTP/1.1\r\n",
        "\r\nidempotency-key: call-1\r\n",
        "\r\nauthorization: Bearer tok-0123456789\r\n",
        "\r\ncontent-type: application/json\r\n",
        "\r\n\r\n{\"title\":\"hi\"}",
    ] {
        assert!(asked[0].contains(part), "{part} in {}", asked[0]);
    }
}

#[tokio::test]
async fn failures_say_what_to_do_and_keep_secrets() {
    let echo = json!({"error": {"message": format!("no {TOKEN} here")}});
    for (status, kind) in [
        (400, "arguments"),
        (401, "refused"),
        (404, "not found"),
        (429, "busy"),
        (500, "answer was lost"),
    ] {
        let echo = echo.clone();
        let server = Server::start(move |_| json_reply(status, &echo)).await;
        let error = post(&server.url("/x"), &invocation(json!({}))).await.expect_err(kind);
        let (told, shown) = (error.to_string(), format!("{error:?}"));
        assert!(told.contains(kind), "{told}");
        assert!(!shown.contains("tok-0123456789") && told.contains("[secret]"), "{shown}");
    }
    let server = Server::start(|_| json_reply(409, &json!({"message": "there already"}))).await;
    let answer = post(&server.url("/x"), &invocation(json!({}))).await.expect("an answer");
    assert!(answer.is_error);
    assert_eq!(answer.content, Content::Json(json!({"message": "there already"})));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let other = Server::start(|_| json_reply(200, &json!({}))).await;
    let to = other.url("/stolen");
    let server =
        Server::start(move |_| Reply::Whole(307, vec![("location", to.clone())], vec![])).await;
    let error = post(&server.url("/x"), &invocation(json!({}))).await.expect_err("refused");
    assert!(matches!(error, BackendError::Refused { .. }), "{error}");
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn a_lost_answer_is_told_from_a_call_that_was_not_sent() {
    let server = Server::start(|_| Reply::Close).await;
    let error = post(&server.url("/x"), &invocation(json!({}))).await.expect_err("lost");
    assert!(matches!(error, BackendError::Unknown { .. }), "{error}");
    assert!(!error.is_without_effect());
    let closed = server.url("/x");
    drop(server);
    tokio::task::yield_now().await;
    let mut error = post(&closed, &invocation(json!({}))).await.expect_err("nobody there");
    // The listener goes when its task has ended, which may be after the first try.
    for _ in 0..100 {
        if matches!(error, BackendError::Unsent { .. }) {
            break;
        }
        tokio::task::yield_now().await;
        error = post(&closed, &invocation(json!({}))).await.expect_err("nobody there");
    }
    assert!(matches!(error, BackendError::Unsent { .. }), "{error}");
}

#[tokio::test]
async fn a_call_ends_by_its_deadline_and_within_its_bytes() {
    let server = Server::start(|_| Reply::Silent).await;
    let call = Invocation { deadline_ms: 50, ..invocation(json!({})) };
    let error = post(&server.url("/x"), &call).await.expect_err("no answer");
    assert_eq!(error, BackendError::TimedOut { after_ms: 50, sent: true });
    let long = || Reply::Whole(200, vec![], vec![b'x'; 1_001]);
    for reply in [Reply::Endless, long()] {
        let server = Server::start(move |_| reply.clone()).await;
        let error = post(&server.url("/x"), &invocation(json!({}))).await.expect_err("too long");
        assert_eq!(error, BackendError::TooLarge { bytes_max: 1_000 });
    }
}

#[tokio::test]
async fn the_rules_of_egress_are_asked_for_the_host_and_its_address() {
    let refusal = || Err(Refusal { why: "not allowed by the rules".to_owned() });
    let server = Server::start(|_| json_reply(200, &json!({}))).await;
    let port = server.port;
    let by_host = Egress::new(move |_, _| refusal(), |_, _| Ok(()));
    let by_address = || Egress::new(|_, _| Ok(()), move |_, _| refusal());
    for (egress, host) in
        [(by_host, "localhost"), (by_address(), "localhost"), (by_address(), "127.0.0.1")]
    {
        let url = format!("http://{host}:{port}/x");
        let operation = Operation::of(Method::Get, &url, Body::None).expect("an operation");
        let backend = client(egress).backend(operation, no_headers()).expect("a backend");
        let error = backend.call(&invocation(json!({}))).await.expect_err("refused");
        let expected = BackendError::Refused { why: "not allowed by the rules".to_owned() };
        assert_eq!(error, expected, "{host}");
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_proxy_is_asked_in_place_of_the_host() {
    let proxy = Server::start(|_| json_reply(200, &json!({"by": "proxy"}))).await;
    let settings = HttpSettings { proxy: Some(proxy.url("")), ..HttpSettings::default() };
    let client = HttpClient::new(&settings, Egress::everywhere()).expect("a client");
    let url = "http://nowhere.invalid/x";
    let operation = Operation::of(Method::Get, url, Body::None).expect("an operation");
    let backend = client.backend(operation, no_headers()).expect("a backend");
    let answer = backend.call(&invocation(json!({}))).await.expect("an answer");
    assert_eq!(answer.content, Content::Json(json!({"by": "proxy"})));
    assert!(proxy.asked()[0].starts_with("GET http://nowhere.invalid/x HTTP/1.1"));
}

#[tokio::test]
async fn secrets_that_cannot_be_had_stop_the_call() {
    let server = Server::start(|_| json_reply(200, &json!({}))).await;
    let refuse: SecretHeaders =
        Arc::new(|_| Box::pin(async { Err(BackendError::Refused { why: "no".to_owned() }) }));
    let broken: SecretHeaders = Arc::new(|_| {
        Box::pin(async { Ok(vec![SecretHeader::new("authorization", "tok-1\n23456")]) })
    });
    let slow: SecretHeaders = Arc::new(|_| Box::pin(std::future::pending()));
    for (headers, expected) in
        [(refuse, "refused: no"), (broken, "`authorization` holds"), (slow, "nothing was sent")]
    {
        let operation = Operation::of(Method::Get, &server.url("/x"), Body::None);
        let backend = client(Egress::everywhere()).backend(operation.expect("good"), headers);
        let call = Invocation { deadline_ms: 50, ..invocation(json!({})) };
        let error = backend.expect("a backend").call(&call).await.expect_err("stops");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.is_without_effect() && !error.to_string().contains("tok-1"), "{error}");
    }
    assert!(server.asked().is_empty());
}
