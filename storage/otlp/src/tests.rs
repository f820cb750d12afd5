//! Spans as a collector sees them: over HTTP, and one by one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use headwater_storage::audit::{AuditRecord, Outcome, RecordSink, TraceParent};
use opentelemetry::InstrumentationScope;
use opentelemetry::trace::{SpanKind, Status};
use opentelemetry_sdk::trace::SpanData;

use super::span;
use super::{OtlpSettings, OtlpTraces};

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const CLIENT: TraceParent = TraceParent { trace_id: 7, span_id: 9, is_sampled: true };

fn record(outcome: Outcome) -> AuditRecord {
    AuditRecord {
        time_ms: 10_000,
        latency_ms: 250,
        ttft_ms: Some(40),
        route: "/v1/chat/completions".to_owned(),
        protocol: "openai.chat".to_owned(),
        model_asked: "river".to_owned(),
        backend: "vllm".to_owned(),
        model_served: "Qwen3-8B".to_owned(),
        tokens_in: 12,
        tokens_out: 34,
        trace_parent: Some(CLIENT),
        user: Some("ada@example.com".to_owned()),
        ..AuditRecord::new(ID, "acme", outcome)
    }
}

fn spans(record: &AuditRecord) -> Vec<SpanData> {
    span::of(record, &InstrumentationScope::builder("test").build())
}

fn value(span: &SpanData, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|one| one.key.as_str() == name);
    found.map(|one| one.value.to_string())
}

#[test]
fn a_request_is_a_servers_span_with_the_models_span_within_it() {
    let all = spans(&record(Outcome::Whole));
    let [request, model] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!(request.name, "POST /v1/chat/completions");
    assert_eq!(request.span_kind, SpanKind::Server);
    assert_eq!(request.parent_span_id.to_string(), "0000000000000009");
    assert!(request.parent_span_is_remote);
    let took = request.end_time.duration_since(request.start_time);
    assert_eq!(took.ok(), Some(Duration::from_millis(250)));
    assert_eq!((model.name.as_ref(), &model.span_kind), ("chat Qwen3-8B", &SpanKind::Client));
    assert_eq!(model.parent_span_id, request.span_context.span_id());
    for span in [request, model] {
        assert_eq!(span.span_context.trace_id().to_string(), format!("{:032x}", 7));
        assert_eq!(span.status, Status::Unset);
        assert_eq!(value(span, "error.type"), None);
        assert!(!format!("{span:?}").contains("ada@example.com"), "no user is named");
    }
    for (name, expected) in [
        ("gen_ai.provider.name", "vllm"),
        ("gen_ai.usage.input_tokens", "12"),
        ("gen_ai.usage.output_tokens", "34"),
        ("gen_ai.response.time_to_first_chunk", "0.04"),
    ] {
        assert_eq!(value(model, name).as_deref(), Some(expected), "{name}");
    }
}

#[test]
fn what_failed_says_so_and_what_nobody_records_is_not_sent() {
    for (outcome, is_error) in
        [(Outcome::Cut, true), (Outcome::Unavailable, true), (Outcome::Left, false)]
    {
        for span in spans(&record(outcome)) {
            assert_eq!(span.status == Status::error(outcome.name()), is_error, "{outcome:?}");
            assert_eq!(value(&span, "error.type").as_deref(), Some(outcome.name()));
        }
    }
    let cached = AuditRecord { cache_hit: true, ..record(Outcome::Whole) };
    assert_eq!(spans(&cached).len(), 1, "no model was asked");
    let unsampled = TraceParent { is_sampled: false, ..CLIENT };
    let quiet = AuditRecord { trace_parent: Some(unsampled), ..record(Outcome::Whole) };
    assert_eq!(spans(&quiet), []);
}

/// Answers one request after the other and tells of each: its first line and its body.
fn collector() -> (String, mpsc::Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.expect("a connection"));
            let (mut first, mut length) = (String::new(), 0);
            stream.read_line(&mut first).expect("a line");
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).expect("a line");
                if line.trim().is_empty() {
                    break;
                }
                let lower = line.to_ascii_lowercase();
                if let Some(value) = lower.strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a number");
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("a body");
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.get_mut().write_all(answer).expect("an answer");
            if sender.send((first, body)).is_err() {
                return;
            }
        }
    });
    (address, receiver)
}

#[test]
fn spans_reach_a_collector() {
    let (endpoint, heard) = collector();
    let settings = OtlpSettings {
        endpoint,
        service_name: "headwater-test".to_owned(),
        instance: "n7".to_owned(),
        interval_ms: 20,
        timeout_ms: 5_000,
    };
    let traces = OtlpTraces::start(&settings).expect("starts");
    traces.take(&record(Outcome::Whole));
    let (first, body) = heard.recv_timeout(Duration::from_secs(30)).expect("a batch");
    assert!(first.starts_with("POST /v1/traces "), "{first}");
    let body = String::from_utf8_lossy(&body).into_owned();
    for word in ["headwater-test", "n7", "chat Qwen3-8B", "gen_ai.usage.output_tokens", "acme"] {
        assert!(body.contains(word), "{word} in {body:?}");
    }
    traces.close(5_000);
}

#[test]
fn a_collector_that_is_away_holds_nobody_up() {
    let settings = OtlpSettings {
        endpoint: "http://127.0.0.1:1".to_owned(),
        service_name: "headwater-test".to_owned(),
        instance: "n7".to_owned(),
        interval_ms: 20,
        timeout_ms: 100,
    };
    let traces = OtlpTraces::start(&settings).expect("starts");
    for _ in 0..50_000 {
        traces.take(&record(Outcome::Whole));
    }
    traces.close(1_000);
}
