//! A service that tools stand for: it has effects, counts them, and fails as it is told to.
//!
//! | path | what it does with an id that it knows |
//! | --- | --- |
//! | `/once` | gives the first answer again |
//! | `/order` | does it again |
//! | `/look` | has no effect, and counts nothing |
//!
//! The argument `fault` says how it fails when it first hears of a call: `busy` before it did
//! anything; `failed`, `cut`, `slow`, `odd` and `huge` after it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// How long a slow answer takes: longer than the tools' calls.
const SLOW: Duration = Duration::from_millis(1_500);
/// Bytes of a huge answer, more than the tools' answers may have.
const HUGE: usize = 40 << 10;

/// What the service knows of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub arrivals: u64,
    pub effects: u64,
    /// The ids that came with it.
    pub ids: BTreeSet<String>,
    /// The number of its first effect among all.
    pub receipt: u64,
}

#[derive(Default)]
struct State {
    effects: u64,
    calls: BTreeMap<u64, Counted>,
}

/// See the module.
#[derive(Clone)]
pub struct Service {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Service {
    /// # Errors
    /// When no port is free.
    pub fn start() -> io::Result<Service> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let service = Service { address: listener.local_addr()?, state: Arc::default() };
        let serving = service.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                // A connection that breaks is the node's to mend.
                thread::spawn(move || serving.serve(stream));
            }
        });
        Ok(service)
    }

    /// What it knows of every call.
    pub fn calls(&self) -> BTreeMap<u64, Counted> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).calls.clone()
    }

    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        while let Some((path, id, body)) = read(&mut stream)? {
            let Some((status, answer)) = self.answer(&path, id, &body) else { return Ok(()) };
            let length = answer.len();
            let head = "content-type: application/json\r\nretry-after: 0";
            let answer = format!(
                "HTTP/1.1 {status} told\r\n{head}\r\ncontent-length: {length}\r\n\r\n{answer}"
            );
            stream.get_mut().write_all(answer.as_bytes())?;
        }
        Ok(())
    }

    /// None closes the connection.
    fn answer(&self, path: &str, id: Option<String>, body: &Value) -> Option<(u16, String)> {
        let Some(call) = body["call"].as_u64() else {
            return Some((400, json!({"error": "no call"}).to_string()));
        };
        if path == "/look" {
            return Some((200, json!({"call": call}).to_string()));
        }
        let fault = body["fault"].as_str().unwrap_or("none");
        let (is_first, receipt) = self.count(call, id, path == "/once", fault == "busy");
        let told = json!({"call": call, "receipt": receipt}).to_string();
        match fault {
            "busy" if is_first => return Some((503, "{}".to_owned())),
            "failed" if is_first => return Some((500, "{}".to_owned())),
            "cut" if is_first => return None,
            "odd" if is_first => return Some((200, json!({"who": "knows"}).to_string())),
            "huge" if is_first => return Some((200, json!("x".repeat(HUGE)).to_string())),
            "slow" if is_first => thread::sleep(SLOW),
            _ => {}
        }
        Some((200, told))
    }

    /// Whether it came for the first time, and the number of its effect.
    fn count(&self, call: u64, id: Option<String>, is_once: bool, is_put_off: bool) -> (bool, u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let next = state.effects + 1;
        let counted = state.calls.entry(call).or_default();
        counted.arrivals += 1;
        let is_known = id.as_ref().is_some_and(|id| counted.ids.contains(id));
        counted.ids.extend(id);
        let is_first = counted.arrivals == 1;
        let is_done = is_once && is_known && counted.effects > 0;
        if is_done || is_first && is_put_off {
            return (is_first, counted.receipt);
        }
        counted.effects += 1;
        if counted.receipt == 0 {
            counted.receipt = next;
        }
        let receipt = counted.receipt;
        state.effects = next;
        (is_first, receipt)
    }
}

/// A request's path, its id and its body; none at the connection's end.
fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<(String, Option<String>, Value)>> {
    let mut first = String::new();
    if stream.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut length, mut id) = (0, None);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().map_err(io::Error::other)?,
            "idempotency-key" => id = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some((path, id, serde_json::from_slice(&body)?)))
}
