//! The simulator's HTTP server: each request answered, billed and recorded.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::request::{Asked, Protocol};
use super::script::{Answer, Event};
use super::{Fault, MISSING_MODEL, Outcome, Record, Shared, UPSTREAM_KEY, anthropic, openai};

/// What went out before a cut reaches the client first.
const BEFORE_CUT: Duration = Duration::from_millis(50);
const HUGE_BYTES: usize = 1 << 20;

/// The pieces of a body, in their order.
pub(super) struct Pieces(mpsc::Receiver<io::Result<Bytes>>);

type Sender = mpsc::Sender<io::Result<Bytes>>;

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// A request that runs; dropped before its end, the client has left.
struct Entry {
    shared: Shared,
    place: usize,
}

impl Entry {
    fn begin(shared: Shared, record: Record) -> Entry {
        let mut state = shared.lock();
        let place = state.records.len();
        state.records.push(record);
        drop(state);
        Entry { shared, place }
    }

    fn change(&self, change: impl FnOnce(&mut Record)) {
        if let Some(record) = self.shared.lock().records.get_mut(self.place) {
            change(record);
        }
    }

    fn end(&self, outcome: Outcome) {
        self.change(|record| {
            if record.outcome == Outcome::Running {
                record.outcome = outcome;
                record.ended_at = Some(Instant::now());
            }
        });
    }

    fn bill(&self, words: u64) {
        self.change(|record| record.output += words);
    }

    fn next_fault(&self) -> Option<Fault> {
        self.shared.lock().faults.pop_front()
    }

    /// Whether these texts come for the first time.
    fn is_first(&self, texts: &[String]) -> bool {
        self.shared.lock().met.insert(texts.join("\n"))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.end(Outcome::Cancelled);
    }
}

pub(super) async fn accept(listener: TcpListener, shared: Shared) {
    while let Ok((stream, _)) = listener.accept().await {
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, shared.clone()));
            let server = hyper::server::conn::http1::Builder::new();
            // A client that leaves, and a cut of our own, are no faults of the server.
            drop(server.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    shared: Shared,
) -> Result<Response<Pieces>, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let protocol = Protocol::of_path(&path).filter(|_| head.method == Method::POST);
    let asked = protocol.and_then(|protocol| Asked::read(protocol, &body));
    let entry = Entry::begin(shared, record(path, &head.headers, asked.as_ref()));
    let Some(protocol) = protocol else {
        return Ok(refuse(&entry, Protocol::OpenAi, 404, None, "no such path"));
    };
    if !has_key(protocol, &head.headers) {
        return Ok(refuse(&entry, protocol, 401, None, "Incorrect API key provided"));
    }
    let Some(asked) = asked else {
        return Ok(refuse(&entry, protocol, 400, None, "the body is no request"));
    };
    if asked.model == MISSING_MODEL {
        return Ok(refuse(&entry, protocol, 404, None, "The model `missing` does not exist"));
    }
    let in_words = || asked.word("fault:").and_then(Fault::named);
    let at_first = || {
        let fault = asked.word("first:").and_then(Fault::named);
        fault.filter(|_| entry.is_first(&asked.texts))
    };
    let fault = entry.next_fault().or_else(in_words).or_else(at_first);
    match &fault {
        Some(Fault::Status(status, wait_s)) => {
            return Ok(refuse(&entry, protocol, *status, *wait_s, "a simulated fault"));
        }
        Some(Fault::ErrorEvent) if !asked.stream => {
            return Ok(refuse(&entry, protocol, 500, None, "a simulated fault"));
        }
        // The client's leaving drops this function, and the entry with it.
        Some(Fault::Silence) => std::future::pending::<()>().await,
        Some(Fault::SlowFirstByte(pause)) => tokio::time::sleep(*pause).await,
        _ => {}
    }
    let mut said = Answer::to(&asked);
    if fault == Some(Fault::HugeEvent)
        && let Some(first) = said.words.first_mut()
    {
        *first = "x".repeat(HUGE_BYTES);
    }
    if !asked.stream {
        return Ok(whole(&entry, protocol, &asked, &said, fault).await);
    }
    let mut events = match protocol {
        Protocol::OpenAi | Protocol::Embeddings => openai::events(&asked, &said),
        Protocol::Anthropic => anthropic::events(&asked, &said),
    };
    if fault == Some(Fault::NullId) {
        events.iter_mut().for_each(|event| event.data = without_id(&event.data));
    }
    let (sender, pieces) = mpsc::channel(1);
    tokio::spawn(stream(entry, sender, protocol, events, fault));
    let mut response = Response::new(Pieces(pieces));
    let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

fn record(path: String, headers: &HeaderMap, asked: Option<&Asked>) -> Record {
    let told =
        headers.iter().filter(|(name, _)| !matches!(name.as_str(), "authorization" | "x-api-key"));
    let headers = told.filter_map(|(name, value)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    });
    Record {
        path,
        model: asked.map(|asked| asked.model.clone()).unwrap_or_default(),
        stream: asked.is_some_and(|asked| asked.stream),
        user: asked.and_then(|asked| asked.user.clone()),
        headers: headers.collect(),
        texts: asked.map(|asked| asked.texts.clone()).unwrap_or_default(),
        input: asked.map_or(0, |asked| asked.input),
        output: 0,
        outcome: Outcome::Running,
        ended_at: None,
    }
}

fn has_key(protocol: Protocol, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match protocol {
        Protocol::OpenAi | Protocol::Embeddings => {
            text("authorization").and_then(|value| value.strip_prefix("Bearer "))
                == Some(UPSTREAM_KEY)
        }
        Protocol::Anthropic => text("x-api-key") == Some(UPSTREAM_KEY),
    }
}

fn refuse(
    entry: &Entry,
    protocol: Protocol,
    status: u16,
    wait_s: Option<u64>,
    message: &str,
) -> Response<Pieces> {
    let body = match protocol {
        Protocol::OpenAi | Protocol::Embeddings => openai::error(status, message),
        Protocol::Anthropic => anthropic::error(status, message),
    };
    let body = body.to_string();
    let mut response = json(body.len(), vec![Ok(Bytes::from(body))]);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(wait_s) = wait_s {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait_s));
    }
    // A refused request is not billed for its input either.
    entry.change(|record| record.input = 0);
    entry.end(Outcome::Refused(status));
    response
}

/// An answer of this many bytes in JSON.
fn json(length: usize, pieces: Vec<io::Result<Bytes>>) -> Response<Pieces> {
    let (sender, receiver) = mpsc::channel(pieces.len().max(1));
    tokio::spawn(async move {
        for piece in pieces {
            if piece.is_err() {
                tokio::time::sleep(BEFORE_CUT).await;
            }
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    });
    let mut response = Response::new(Pieces(receiver));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

async fn whole(
    entry: &Entry,
    protocol: Protocol,
    asked: &Asked,
    said: &Answer,
    fault: Option<Fault>,
) -> Response<Pieces> {
    let body = match (&fault, protocol) {
        (Some(Fault::Garbage), _) => "<html>".to_owned(),
        (_, Protocol::OpenAi) => openai::whole(asked, said).to_string(),
        (_, Protocol::Anthropic) => anthropic::whole(asked, said).to_string(),
        (_, Protocol::Embeddings) => openai::vectors(asked).to_string(),
    };
    let body = if fault == Some(Fault::NullId) { without_id(&body) } else { body };
    let length = body.len();
    let bytes = Bytes::from(body);
    // Vectors are not billed by their words.
    let words = if protocol == Protocol::Embeddings { &[] } else { said.words.as_slice() };
    for _ in words {
        if let Some(Fault::SlowTokens(pause)) = fault {
            tokio::time::sleep(pause).await;
        }
        entry.bill(1);
    }
    match fault {
        Some(Fault::CutAfter(_)) => {
            entry.end(Outcome::Broken);
            json(length, vec![Ok(bytes.slice(..length / 2)), Err(cut())])
        }
        Some(Fault::Garbage) => {
            entry.end(Outcome::Broken);
            json(length, vec![Ok(bytes)])
        }
        _ => {
            entry.end(Outcome::Finished);
            json(length, vec![Ok(bytes)])
        }
    }
}

/// The same JSON, where the answer's id is null.
fn without_id(json: &str) -> String {
    [openai::ID, anthropic::ID]
        .iter()
        .fold(json.to_owned(), |json, id| json.replace(&format!("\"id\":\"{id}\""), "\"id\":null"))
}

fn cut() -> io::Error {
    io::Error::other("the simulator cuts the answer")
}

/// Sends the events; to return without an end is to find the client gone.
async fn stream(
    entry: Entry,
    sender: Sender,
    protocol: Protocol,
    events: Vec<Event>,
    fault: Option<Fault>,
) {
    let line_end = if fault == Some(Fault::CrLf) { "\r\n" } else { "\n" };
    let by_bytes = fault == Some(Fault::ByteByByte);
    let mut words = 0;
    for event in events {
        let pause = match fault {
            Some(Fault::SlowTokens(pause)) if event.words > 0 => Some(pause),
            Some(Fault::CutAfter(most)) if words >= most as u64 => {
                // Broken before the client can see it.
                entry.end(Outcome::Broken);
                tokio::time::sleep(BEFORE_CUT).await;
                drop(sender.send(Err(cut())).await);
                return;
            }
            _ => None,
        };
        if let Some(pause) = pause
            && tokio::time::timeout(pause, sender.closed()).await.is_ok()
        {
            return;
        }
        let mut text = event.text(line_end);
        if fault == Some(Fault::Comments) {
            let ping = "event: ping\ndata: {\"type\": \"ping\"}\n\n";
            let ping = if protocol == Protocol::Anthropic { ping } else { "" };
            text = format!(": keep-alive\n\n{ping}{text}");
        }
        if !send(&sender, text, by_bytes).await {
            return;
        }
        entry.bill(event.words);
        words += event.words;
        let broken = match fault {
            Some(Fault::Garbage) if words == 1 => Some("{\"choices\": [nonsense".to_owned()),
            Some(Fault::ErrorEvent) if words == 1 => Some(match protocol {
                Protocol::OpenAi | Protocol::Embeddings => {
                    openai::error(500, "a simulated fault").to_string()
                }
                Protocol::Anthropic => anthropic::error(529, "a simulated fault").to_string(),
            }),
            _ => None,
        };
        if let Some(data) = broken {
            let name = (protocol == Protocol::Anthropic).then_some("error");
            entry.end(Outcome::Broken);
            let text = Event { name, data, words: 0 }.text(line_end);
            // Whether the client still reads it changes nothing any more.
            let _ = send(&sender, text, false).await;
            return;
        }
    }
    entry.end(Outcome::Finished);
}

/// False when the client has left.
async fn send(sender: &Sender, text: String, by_bytes: bool) -> bool {
    let bytes = Bytes::from(text);
    let step = if by_bytes { 1 } else { bytes.len().max(1) };
    for start in (0..bytes.len()).step_by(step) {
        let piece = bytes.slice(start..(start + step).min(bytes.len()));
        if sender.send(Ok(piece)).await.is_err() {
            return false;
        }
    }
    true
}
