//! HTTP/3 as a client of h3's own sees it.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri};
use http_body_util::BodyExt;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::{Client, Files, Parts, answer, part, serve_http3, within};

/// What a client gets back is what it sent, part by part.
async fn echo(body: Body) -> Body {
    body
}

fn router() -> Router {
    Router::new()
        .route("/", get(|uri: Uri, fields: HeaderMap| async move { format!("{uri} {fields:?}") }))
        .route("/echo", post(echo))
        .route("/number/{number}", get(|Path(number): Path<u32>| async move { number.to_string() }))
}

#[tokio::test]
async fn answers_come_with_their_heads() {
    let files = Files::new();
    let (address, _stop, _) = serve_http3(router(), &files.open());
    let client = Client::connect(address, &files.root).await.unwrap();
    let (head, body) = client.get("/?a=b").await;
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(head.headers()["content-length"], body.len().to_string());
    assert!(head.headers().contains_key("date"));
    assert!(body.starts_with(b"https://localhost/?a=b "), "{body:?}");
    let (head, body) = client.get("/nowhere").await;
    assert_eq!((head.status(), body.len()), (StatusCode::NOT_FOUND, 0));
    let (head, _) = client.get("/echo").await;
    assert_eq!(head.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_comes_back_whole() {
    let files = Files::new();
    let (address, _stop, _) = serve_http3(router(), &files.open());
    let client = Client::connect(address, &files.root).await.unwrap();
    let sent: Vec<u8> =
        (0..2 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let sent = Bytes::from(sent);
    for size in [sent.len(), 100_000, 1000] {
        let (mut send, mut recv) = client.start(super::post("/echo")).await.split();
        let parts = sent.clone();
        let sender = tokio::spawn(async move {
            for at in (0..parts.len()).step_by(size) {
                let end = parts.len().min(at + size);
                send.send_data(parts.slice(at..end)).await.unwrap();
            }
            send.finish().await.unwrap();
        });
        assert_eq!(within(recv.recv_response()).await.unwrap().status(), StatusCode::OK);
        let mut got = Vec::new();
        while let Some(part) = within(recv.recv_data()).await.unwrap() {
            bytes::BufMut::put(&mut got, part);
        }
        assert!(got == sent, "{} bytes came back in parts of {size}", got.len());
        within(sender).await.unwrap();
    }
}

#[tokio::test]
async fn parts_flow_before_the_next_is_made() {
    let files = Files::new();
    let (parts, made) = mpsc::unbounded_channel();
    let made = Arc::new(Mutex::new(Some(made)));
    let stream = move || async move {
        Body::new(Parts { made: made.lock().await.take().unwrap(), _guard: None })
    };
    let router = Router::new().route("/", get(stream));
    let (address, _stop, _) = serve_http3(router, &files.open());
    let client = Client::connect(address, &files.root).await.unwrap();
    let mut stream = client.start(super::get("/")).await;
    stream.finish().await.unwrap();
    assert_eq!(within(stream.recv_response()).await.unwrap().status(), StatusCode::OK);
    for text in ["one", "two", "three"] {
        // Each is made only now, when the one before has arrived.
        parts.send(Bytes::from(text)).unwrap();
        assert_eq!(part(&mut stream).await.unwrap(), text);
    }
    drop(parts);
    assert_eq!(part(&mut stream).await, None);
}

#[tokio::test]
async fn a_body_is_read_as_the_handler_asks() {
    let files = Files::new();
    let (seen, mut told) = mpsc::unbounded_channel();
    let listen = move |mut body: Body| async move {
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            seen.send(String::from_utf8(data.to_vec()).unwrap()).unwrap();
        }
        "heard"
    };
    let (address, _stop, _) = serve_http3(Router::new().route("/", post(listen)), &files.open());
    let client = Client::connect(address, &files.root).await.unwrap();
    let mut stream = client.start(super::post("/")).await;
    for text in ["one", "two"] {
        stream.send_data(Bytes::from(text)).await.unwrap();
        assert_eq!(within(told.recv()).await.unwrap(), text);
    }
    stream.finish().await.unwrap();
    assert_eq!(answer(&mut stream).await.1, "heard");
}

#[tokio::test]
async fn a_handler_need_not_read_the_body() {
    let files = Files::new();
    let router = Router::new().route("/", post(|| async { StatusCode::PAYLOAD_TOO_LARGE }));
    let (address, _stop, _) = serve_http3(router, &files.open());
    let client = Client::connect(address, &files.root).await.unwrap();
    let (mut send, mut recv) = client.start(super::post("/")).await.split();
    let sender = tokio::spawn(async move {
        // The server says to stop, at some point before all that its window could hold.
        loop {
            if let Err(error) = send.send_data(Bytes::from(vec![0; 100_000])).await {
                return error.to_string();
            }
        }
    });
    let head = within(recv.recv_response()).await.unwrap();
    assert_eq!(head.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(within(sender).await.unwrap().contains("H3_NO_ERROR"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_run_at_once() {
    let files = Files::new();
    let (address, _stop, _) = serve_http3(router(), &files.open());
    let client = Arc::new(Client::connect(address, &files.root).await.unwrap());
    let mut requests = JoinSet::new();
    for number in 0..500 {
        let client = Arc::clone(&client);
        requests.spawn(async move {
            let (head, body) = client.get(&format!("/number/{number}")).await;
            assert_eq!((head.status(), body), (StatusCode::OK, number.to_string().into()));
        });
    }
    while let Some(request) = within(requests.join_next()).await {
        request.unwrap();
    }
}

#[tokio::test]
async fn a_handler_that_panics_ends_its_own_request() {
    let files = Files::new();
    let broken = || async {
        let numbers: Vec<u32> = Vec::new();
        numbers[0].to_string()
    };
    let router = router().route("/broken", get(broken));
    let (address, _stop, _) = serve_http3(router, &files.open());
    let client = Client::connect(address, &files.root).await.unwrap();
    let mut stream = client.start(super::get("/broken")).await;
    stream.finish().await.unwrap();
    let error = within(stream.recv_response()).await.unwrap_err().to_string();
    assert!(error.contains("H3_INTERNAL_ERROR"), "{error}");
    assert_eq!(client.get("/number/1").await.1, "1");
}
