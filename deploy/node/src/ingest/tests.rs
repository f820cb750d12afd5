//! Requests against a server that answers as it is told.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::spawn;
use std::time::Duration;

use clap::Parser;
use serde_json::json;

use super::retry::persist;
use crate::config::Settings;
use crate::operator::{OperatorFlags, send};

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    operator: OperatorFlags,
}

/// Answers one connection each, then none.
fn serve(answers: Vec<&'static str>) -> (OperatorFlags, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let server = spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = [0; 4_096];
            let read = stream.read(&mut request).expect("a request");
            assert!(read > 0, "a request came");
            stream.write_all(answer.as_bytes()).expect("is answered");
        }
    });
    (Flags::parse_from(["test", "--at", &address]).operator, server)
}

fn answer(status: &str, headers: &str, body: &str) -> &'static str {
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    Box::leak(text.into_boxed_str())
}

fn error(status: &str, headers: &str) -> &'static str {
    answer(status, headers, r#"{"error": {"message": "its own words"}}"#)
}

/// The answers in turn; how the request ended, and the pauses in ms.
fn check(answers: Vec<&'static str>) -> (Result<serde_json::Value, String>, Vec<u128>) {
    let (operator, server) = serve(answers);
    let (settings, pauses) = (Settings::default(), RefCell::new(Vec::new()));
    let ask = || send(&operator, &settings, "POST", "/x", "application/json", b"{}".to_vec());
    let ended = persist(ask, |pause: Duration| pauses.borrow_mut().push(pause.as_millis()));
    server.join().expect("all answers were asked for");
    (ended.map_err(|failure| failure.message), pauses.into_inner())
}

#[test]
fn a_refusal_that_stays_ends_at_once_with_the_nodes_own_words() {
    for status in ["400 Bad Request", "401 Unauthorized", "404 Not Found", "409 Conflict"] {
        let (ended, pauses) = check(vec![error(status, "retry-after: 1\r\n")]);
        let message = ended.expect_err(status);
        assert!(message.contains(status) && message.contains("its own words"), "{message}");
        assert_eq!(pauses, [0; 0], "{status}");
    }
}

#[test]
fn a_refusal_that_passes_is_asked_again_after_a_growing_pause() {
    let good = answer("200 OK", "", r#"{"id": "a"}"#);
    for status in
        ["408 Request Timeout", "425 Too Early", "429 Too Many Requests", "503 Service Unavailable"]
    {
        let (ended, pauses) = check(vec![error(status, ""), error(status, ""), good]);
        assert_eq!((ended, pauses), (Ok(json!({"id": "a"})), vec![500, 1_000]), "{status}");
    }
}

#[test]
fn what_a_node_asks_for_is_kept_up_to_a_minute_and_broken_connections_are_tried_again() {
    let good = answer("200 OK", "", r#"{"id": "a"}"#);
    let (seven, hour) = ("retry-after: 7\r\n", "retry-after: 3600\r\n");
    let full = "429 Too Many Requests";
    let (ended, pauses) =
        check(vec![error(full, seven), error(full, hour), "", "HTTP/1.1 2", good]);
    assert_eq!((ended, pauses), (Ok(json!({"id": "a"})), vec![7_000, 60_000, 2_000, 4_000]));
}

#[test]
fn a_node_that_never_answers_well_is_given_up() {
    let (ended, pauses) = check(vec![error("500 Internal Server Error", ""); 8]);
    assert!(ended.expect_err("is given up").contains("its own words"));
    assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000]);
}
