//! A small HTTP/1.1 server that speaks Qdrant's REST API, with troubles on order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::collection::{Collection, Reply, refuse};

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trouble {
    /// It is answered with this status and not carried out.
    Status(u16),
    /// The connection closes before anything is done.
    ClosedBefore,
    /// It is carried out, and the connection closes.
    ClosedAfter,
    /// The answer is no JSON.
    Garbage,
    /// There is no answer.
    Silence,
}

#[derive(Default)]
struct State {
    collections: BTreeMap<String, Collection>,
    always: Option<Trouble>,
    each_third: Vec<Trouble>,
    requests: usize,
    troubles: usize,
}

/// The server; it ends with the test's runtime.
pub(super) struct Double {
    port: u16,
    state: Arc<Mutex<State>>,
}

struct Request {
    method: String,
    path: String,
    query: String,
    key: Option<String>,
    body: Vec<u8>,
}

impl Double {
    pub(super) async fn start(key: &'static str) -> Double {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared), key));
            }
        });
        Double { port, state }
    }

    pub(super) fn address(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic in the double")
    }

    pub(super) fn collections(&self) -> Vec<String> {
        self.lock().collections.keys().cloned().collect()
    }

    /// The body that a collection was created with.
    pub(super) fn created(&self, name: &str) -> Value {
        self.lock().collections[name].creation().clone()
    }

    /// A collection that somebody else made.
    pub(super) fn put_foreign(&self, name: &str, size: usize) {
        let body = json!({ "vectors": { "size": size, "distance": "Cosine" } });
        let collection = Collection::create(&body).expect("a good body");
        self.lock().collections.insert(name.to_owned(), collection);
    }

    pub(super) fn trouble_always(&self, trouble: Option<Trouble>) {
        self.lock().always = trouble;
    }

    pub(super) fn trouble_each_third(&self, troubles: &[Trouble]) {
        self.lock().each_third = troubles.to_vec();
    }

    pub(super) fn troubles(&self) -> usize {
        self.lock().troubles
    }
}

impl State {
    fn next_trouble(&mut self) -> Option<Trouble> {
        self.requests += 1;
        let due = self.requests.is_multiple_of(3).then_some(self.requests / 3);
        let listed = due.and_then(|turn| {
            let count = self.each_third.len().max(1);
            self.each_third.get(turn % count).copied()
        });
        let trouble = self.always.or(listed);
        self.troubles += usize::from(trouble.is_some());
        trouble
    }

    fn handle(&mut self, request: &Request) -> Reply {
        let body: Value = match request.body.as_slice() {
            [] => Value::Null,
            bytes => serde_json::from_slice(bytes).map_err(|_| refuse(400, "no JSON"))?,
        };
        let path = request.path.strip_prefix("/collections/");
        let path = path.ok_or_else(|| refuse(404, "no such path"))?;
        let (name, rest) = path.split_once('/').unwrap_or((path, ""));
        let missing = || refuse(404, &format!("Not found: Collection `{name}` doesn't exist!"));
        let expected = match rest {
            "points" if request.method == "PUT" => "wait=true&ordering=strong",
            "points/delete" => "wait=true&ordering=strong",
            _ => "",
        };
        if request.query != expected {
            return Err(refuse(400, "unexpected parameters"));
        }
        match (request.method.as_str(), rest) {
            ("PUT", "") if self.collections.contains_key(name) => {
                Err(refuse(409, &format!("Wrong input: Collection `{name}` already exists!")))
            }
            ("PUT", "") => {
                self.collections.insert(name.to_owned(), Collection::create(&body)?);
                Ok(json!(true))
            }
            ("DELETE", "") => Ok(json!(self.collections.remove(name).is_some())),
            (method, rest) => {
                let collection = self.collections.get_mut(name).ok_or_else(missing)?;
                match (method, rest) {
                    ("GET", "") => Ok(collection.info()),
                    ("PUT", "points") => collection.upsert(&body),
                    ("POST", "points") => collection.retrieve(&body),
                    ("POST", "points/delete") => collection.delete(&body),
                    ("POST", "points/scroll") => collection.scroll(&body),
                    ("POST", "points/count") => collection.count(&body),
                    ("POST", "points/query") => collection.query(&body),
                    _ => Err(refuse(404, "no such path")),
                }
            }
        }
    }
}

/// Serves one connection until it closes.
async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>, key: &'static str) {
    let mut buffer = Vec::new();
    while let Some(request) = read(&mut stream, &mut buffer).await {
        let trouble = state.lock().expect("no panic").next_trouble();
        let carried_out = !matches!(trouble, Some(Trouble::Status(_) | Trouble::ClosedBefore));
        let answer = if !carried_out {
            Err(refuse(500, "not carried out"))
        } else if request.key.as_deref() != Some(key) {
            Err(refuse(401, "Invalid API key or JWT"))
        } else {
            state.lock().expect("no panic").handle(&request)
        };
        let (status, mut text) = match answer {
            Ok(result) => {
                (200, json!({ "result": result, "status": "ok", "time": 0.1 }).to_string())
            }
            Err((status, error)) => {
                (status, json!({ "status": { "error": error }, "time": 0.1 }).to_string())
            }
        };
        let status = match trouble {
            None => status,
            Some(Trouble::Status(status)) => status,
            Some(Trouble::ClosedBefore | Trouble::ClosedAfter) => return,
            Some(Trouble::Garbage) => {
                text = "<html>".to_owned();
                200
            }
            Some(Trouble::Silence) => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                return;
            }
        };
        let head = format!(
            "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\nretry-after: 0\r\n\
             content-length: {}\r\n\r\n",
            text.len()
        );
        if stream.write_all(format!("{head}{text}").as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Request> {
    let head_bytes = loop {
        if let Some(place) = buffer.windows(4).position(|part| part == b"\r\n\r\n") {
            break place + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..head_bytes].to_vec()).ok()?;
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(Some(0), |text| text.parse().ok())?;
    while buffer.len() < head_bytes + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer[head_bytes..head_bytes + length].to_vec();
    buffer.drain(..head_bytes + length);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let key = headers.get("api-key").cloned();
    Some(Request { method, path: path.to_owned(), query: query.to_owned(), key, body })
}
