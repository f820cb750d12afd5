//! Fetches follow redirects as far as the rules permit, hop by hop.

use headwater_backends::{Answer, Backend, BackendError, Content, Egress, Refusal};
use serde_json::{Value, json};

use super::calls::{client, invocation};
use super::server::{Reply, Server};
use crate::FetchLimits;

async fn fetch(egress: Egress, arguments: Value) -> Result<Answer, BackendError> {
    client(egress).fetcher(FetchLimits::default()).call(&invocation(arguments)).await
}

fn page() -> Reply {
    Reply::Whole(200, vec![("content-type", "text/html".to_owned())], b"<p>hi</p>".to_vec())
}

fn to(place: String) -> Reply {
    Reply::Whole(302, vec![("location", place)], vec![])
}

#[tokio::test]
async fn a_page_is_read_through_redirects() {
    let server = Server::start(|request| {
        if request.starts_with("GET /start") { to("/page?a=1".to_owned()) } else { page() }
    })
    .await;
    let answer = fetch(Egress::everywhere(), json!({"url": server.url("/start#part")})).await;
    let answer = answer.expect("an answer");
    let expected = json!({
        "url": server.url("/page?a=1"),
        "status": 200,
        "media_type": "text/html",
        "content": {"media_type": "text/html", "text": "<p>hi</p>"},
    });
    assert_eq!(answer.content, Content::Json(expected));
    assert_eq!(answer.reached.len(), 2);
    assert!(!server.asked()[0].contains("idempotency-key"));
}

#[tokio::test]
async fn a_status_of_an_error_is_an_answer() {
    let server = Server::start(|_| Reply::Whole(404, vec![], b"gone".to_vec())).await;
    let arguments = json!({"url": server.url("/x"), "method": "GET"});
    let answer = fetch(Egress::everywhere(), arguments).await.expect("an answer");
    assert!(answer.is_error);
    let server = Server::start(|_| Reply::Whole(200, vec![], vec![])).await;
    let arguments = json!({"url": server.url("/x"), "method": "HEAD"});
    let answer = fetch(Egress::everywhere(), arguments).await.expect("an answer");
    assert!(!answer.is_error && server.asked()[0].starts_with("HEAD /x"));
}

#[tokio::test]
async fn every_hop_is_asked_for() {
    let inner = Server::start(|_| page()).await;
    let secret = inner.url("/secret");
    let outer = Server::start(move |_| to(secret.clone())).await;
    let (inside, outside) = (inner.port, outer.port);
    let egress = Egress::new(
        move |_, port| match port == outside {
            true => Ok(()),
            false => Err(Refusal { why: format!("port {inside} is closed") }),
        },
        |_, _| Ok(()),
    );
    let error = fetch(egress, json!({"url": outer.url("/")})).await.expect_err("refused");
    assert_eq!(error, BackendError::Refused { why: format!("port {inside} is closed") });
    assert!(inner.asked().is_empty());
}

#[tokio::test]
async fn redirects_end() {
    let server = Server::start(|_| to("/again".to_owned())).await;
    let error = fetch(Egress::everywhere(), json!({"url": server.url("/")})).await;
    assert!(matches!(error, Err(BackendError::Refused { .. })), "{error:?}");
    assert_eq!(server.asked().len(), 6);
    for place in ["ftp://a/b", "http://user:pass@a/", "file:///etc/passwd", "http://["] {
        let server = Server::start(move |_| to(place.to_owned())).await;
        let error = fetch(Egress::everywhere(), json!({"url": server.url("/")})).await;
        assert!(matches!(error, Err(BackendError::Refused { .. })), "{place}: {error:?}");
    }
}

#[tokio::test]
async fn wrong_arguments_are_named() {
    for (arguments, named) in [
        (json!({}), "`url`"),
        (json!({"url": 7}), "`url`"),
        (json!({"url": "nothing"}), "`url`"),
        (json!({"url": "file:///etc/passwd"}), "`url`"),
        (json!({"url": "http://a:b@c/"}), "`url`"),
        (json!({"url": format!("http://a/{}", "x".repeat(9_000))}), "`url`"),
        (json!({"url": "http://a/", "method": "POST"}), "`method`"),
    ] {
        let error = fetch(Egress::everywhere(), arguments).await.expect_err(named);
        assert!(matches!(error, BackendError::Arguments { .. }), "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[tokio::test]
async fn a_body_has_its_limit() {
    let server = Server::start(|_| Reply::Endless).await;
    let error = fetch(Egress::everywhere(), json!({"url": server.url("/")})).await;
    assert_eq!(error, Err(BackendError::TooLarge { bytes_max: 1_000 }));
}
