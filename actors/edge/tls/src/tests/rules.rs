//! Clients that break the rules of HTTP/3, most of them byte by byte.

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use h3::error::Code;
use http::{HeaderName, Request, StatusCode};
use http_body_util::BodyExt;
use quinn::{Connection, ConnectionError, ReadToEndError, VarInt, WriteError};
use tokio::sync::mpsc;

use super::{Client, Files, answer, connect_quic, serve_http3, within};

/// Echoes whole bodies, and tells their lengths.
fn router() -> (Router, mpsc::UnboundedReceiver<usize>) {
    let (tell, told) = mpsc::unbounded_channel();
    let whole = move |body: Body| async move {
        let Ok(body) = body.collect().await else { return Err(StatusCode::BAD_REQUEST) };
        let body = body.to_bytes();
        tell.send(body.len()).unwrap();
        Ok(body)
    };
    (Router::new().route("/", post(whole).get(|| async { "here" })), told)
}

/// POST https://localhost/ with QPACK's static table, and more fields behind.
pub(super) fn head(more: &[u8]) -> Vec<u8> {
    let mut fields = vec![0, 0, 0xc0 | 20, 0xc0 | 23, 0xc0 | 1, 0x50, 9];
    fields.extend(b"localhost");
    fields.extend(more);
    frame(1, &fields)
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend((0x8000_0000 | payload.len() as u32).to_be_bytes());
    frame.extend(payload);
    frame
}

/// Sends these bytes as a request and reads what comes.
pub(super) async fn exchange(quic: &Connection, bytes: &[u8]) -> Result<Vec<u8>, ReadToEndError> {
    let (mut send, mut recv) = within(quic.open_bi()).await.unwrap();
    within(send.write_all(bytes)).await.unwrap();
    let _ = send.finish();
    within(recv.read_to_end(1 << 20)).await
}

pub(super) fn was_reset(outcome: Result<Vec<u8>, ReadToEndError>, code: Code) -> bool {
    let reset = quinn::ReadError::Reset(VarInt::from_u64(code.value()).unwrap());
    outcome == Err(ReadToEndError::Read(reset))
}

#[tokio::test]
async fn malformed_requests_end_alone() {
    let files = Files::new();
    let (router, mut told) = router();
    let (address, _stop, _) = serve_http3(router, &files.open());
    let client = Client::connect(address, &files.root).await.unwrap();
    let fields: [(&str, &str); 5] = [
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("te", "gzip"),
        ("content-length", "+5"),
        ("content-length", "5"),
    ];
    for (name, value) in fields {
        let name = HeaderName::from_static(name);
        let request = Request::post("https://localhost/").header(name, value).body(()).unwrap();
        let mut stream = client.start(request).await;
        // Of the right length for none of them; the server may be quicker to refuse.
        let _ = stream.send_data(Bytes::from("123")).await;
        let _ = stream.finish().await;
        let error = within(stream.recv_response()).await.unwrap_err().to_string();
        assert!(error.contains("H3_MESSAGE_ERROR"), "{value}: {error}");
    }
    assert_eq!(client.get("/").await.1, "here");
    assert!(told.try_recv().is_err(), "no handler saw a body as whole");
}

#[tokio::test]
async fn bodies_are_whole_or_refused() {
    let files = Files::new();
    let (router, mut told) = router();
    let (address, _stop, _) = serve_http3(router, &files.open());
    let quic = connect_quic(address, &files.root).await.unwrap();
    // Empty frames, unknown ones and trailers are no end and no part of it.
    let trailers = frame(1, &[0, 0, 0x21, b'x', 1, b'y']);
    let parts = [head(&[]), frame(0, b"one"), frame(0, b""), frame(0, b""), frame(0x21, b"skip")];
    let mut bytes = parts.concat();
    bytes.extend(frame(0, b"two"));
    bytes.extend(trailers);
    let echoed = exchange(&quic, &bytes).await.unwrap();
    assert!(echoed.ends_with(b"onetwo"), "{echoed:?}");
    assert_eq!(within(told.recv()).await, Some(6));
    assert!(exchange(&quic, &[head(&[]), frame(0, b"one")].concat()).await.is_ok());
    assert_eq!(within(told.recv()).await, Some(3));
}

#[tokio::test]
async fn a_body_cut_off_in_a_frame_is_not_whole() {
    let files = Files::new();
    let (tell, mut begun) = mpsc::unbounded_channel();
    let whole = move |mut body: Body| async move {
        while let Some(frame) = body.frame().await {
            tell.send(frame.is_ok()).unwrap();
        }
        "whole"
    };
    let (address, _stop, _) = serve_http3(Router::new().route("/", post(whole)), &files.open());
    let mut bytes = [head(&[]), frame(0, b"one")].concat();
    bytes.pop();
    // The end comes after all of the data was read, which h3 alone takes for a whole body.
    let quic = connect_quic(address, &files.root).await.unwrap();
    let (mut send, mut recv) = within(quic.open_bi()).await.unwrap();
    send.write_all(&bytes).await.unwrap();
    assert_eq!(within(begun.recv()).await, Some(true));
    send.finish().unwrap();
    assert!(was_reset(within(recv.read_to_end(1000)).await, Code::H3_FRAME_ERROR));
    assert!(exchange(&quic, &head(&[])).await.unwrap().ends_with(b"whole"));
    // And with it, which h3 takes for a broken connection.
    assert!(exchange(&quic, &bytes).await.is_err());
}

#[tokio::test]
async fn heads_are_bounded() {
    let files = Files::new();
    let (router, _told) = router();
    let (address, _stop, _) = serve_http3(router, &files.open());
    let quic = connect_quic(address, &files.root).await.unwrap();
    // A field of 70 000 bytes: its length is 127 and then seven bits a byte.
    let left = 70_000 - 127;
    let length =
        [0x7f, 0x80 | (left & 0x7f) as u8, 0x80 | (left >> 7 & 0x7f) as u8, (left >> 14) as u8];
    let mut field = vec![0x21, b'x'];
    field.extend(length);
    field.extend(vec![b'y'; 70_000]);
    let answer = exchange(&quic, &head(&field)).await.unwrap();
    // ":status", and "431" in QPACK's Huffman code.
    assert!(answer.ends_with(&[0x5f, 9, 0x83, 0x69, 0x90, 0xff]), "{answer:?}");
    // A frame that says it is a gigabyte, of HEADERS or of nothing known, is not waited for.
    for kind in [1, 0x21] {
        let (mut send, _recv) = within(quic.open_bi()).await.unwrap();
        let mut bytes = vec![kind];
        bytes.extend((0x8000_0000_u32 | 1 << 29).to_be_bytes());
        bytes.extend(vec![0; 100_000]);
        let stopped = within(async {
            loop {
                if let Err(error) = send.write_all(&bytes).await {
                    return error;
                }
            }
        });
        let code = VarInt::from_u64(Code::H3_EXCESSIVE_LOAD.value()).unwrap();
        assert_eq!(stopped.await, WriteError::Stopped(code));
    }
    assert!(exchange(&quic, &head(&[])).await.is_ok());
}

#[tokio::test]
async fn a_body_of_nothing_but_frames_is_refused() {
    let files = Files::new();
    let (router, _told) = router();
    let (address, _stop, _) = serve_http3(router, &files.open());
    let quic = connect_quic(address, &files.root).await.unwrap();
    let (mut send, _recv) = within(quic.open_bi()).await.unwrap();
    send.write_all(&head(&[])).await.unwrap();
    send.write_all(&[0x21, 0xbf, 0xff, 0xff, 0xff]).await.unwrap();
    let stopped = within(async {
        loop {
            if let Err(error) = send.write_all(&[0; 10_000]).await {
                return error;
            }
        }
    });
    assert!(matches!(stopped.await, WriteError::Stopped(_)));
    assert!(exchange(&quic, &head(&[])).await.is_ok());
}

#[tokio::test]
async fn a_broken_connection_ends_with_its_code_and_the_server_goes_on() {
    let files = Files::new();
    let (router, _told) = router();
    let (address, _stop, _) = serve_http3(router, &files.open());
    let closed_with = async |quic: Connection| match within(quic.closed()).await {
        ConnectionError::ApplicationClosed(close) => Code::from(close.error_code.into_inner()),
        other => panic!("{other}"),
    };
    // DATA before HEADERS.
    let quic = connect_quic(address, &files.root).await.unwrap();
    let _ = exchange(&quic, &frame(0, b"body")).await;
    assert_eq!(closed_with(quic).await, Code::H3_FRAME_UNEXPECTED);
    // Fields that QPACK cannot read.
    let quic = connect_quic(address, &files.root).await.unwrap();
    let _ = exchange(&quic, &frame(1, &[0, 0, 0xff, 0xff, 0xff])).await;
    assert_eq!(closed_with(quic).await, Code::QPACK_DECOMPRESSION_FAILED);
    // A control stream without end.
    let quic = connect_quic(address, &files.root).await.unwrap();
    let mut control = within(quic.open_uni()).await.unwrap();
    control.write_all(&[0, 4, 0, 0x21, 0xbf, 0xff, 0xff, 0xff]).await.unwrap();
    while within(control.write_all(&[0; 10_000])).await.is_ok() {}
    assert_eq!(closed_with(quic).await, Code::H3_EXCESSIVE_LOAD);
    let client = Client::connect(address, &files.root).await.unwrap();
    let mut stream = client.start(super::get("/")).await;
    stream.finish().await.unwrap();
    assert_eq!(answer(&mut stream).await.0.status(), StatusCode::OK);
}

#[tokio::test]
async fn fields_of_connections_do_not_go_out() {
    let files = Files::new();
    let chatty =
        || async { ([("connection", "close"), ("keep-alive", "1"), ("x-own", "2")], "here") };
    let (address, _stop, _) = serve_http3(Router::new().route("/", get(chatty)), &files.open());
    let client = Client::connect(address, &files.root).await.unwrap();
    let (head, _) = client.get("/").await;
    let names = ["connection", "keep-alive", "x-own"];
    assert_eq!(names.map(|name| head.headers().contains_key(name)), [false, false, true]);
}
