//! A provider of chat models for the system tests: what it answers depends on the request only.
//!
//! It speaks OpenAI's chat completions and embeddings and Anthropic's messages, bills a token for each word, and
//! keeps a record of every request. By the words of the last user's message it answers:
//!
//! | the message has | the answer |
//! | --- | --- |
//! | `words:N` | N words |
//! | `fault:NAME` | with that fault, see [`Fault::named`] |
//! | `first:NAME` | with that fault when the message comes for the first time |
//! | anything else | the message again |
//!
//! With tools it calls the first one for Kyoto, and after a tool's result it repeats the result.
//! The model `missing` is none.

mod anthropic;
mod openai;
mod request;
mod script;
mod serve;

pub use script::words;

use std::collections::{HashSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// The key that the simulator takes: `Bearer upstream-key` or `x-api-key: upstream-key`.
pub const UPSTREAM_KEY: &str = "upstream-key";
/// The model that the simulator does not have.
pub const MISSING_MODEL: &str = "missing";

/// What goes wrong with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// This status, with `retry-after` in seconds.
    Status(u16, Option<u64>),
    /// A wait before the answer's head.
    SlowFirstByte(Duration),
    /// A wait before each word.
    SlowTokens(Duration),
    /// The connection closes after this many words.
    CutAfter(usize),
    /// After the first word, an event that is no JSON.
    Garbage,
    /// One of the events holds a word of a mebibyte.
    HugeEvent,
    /// After the first word, an event that tells an error.
    ErrorEvent,
    /// Lines end with a carriage return and a line feed.
    CrLf,
    /// Each byte of a stream is written on its own.
    ByteByByte,
    /// Comments and pings stand between the events.
    Comments,
    /// No answer, on a connection that stays.
    Silence,
    /// The answer's id is null.
    NullId,
}

impl Fault {
    /// The fault of a name as it stands in a message after `fault:`. A status is its own name,
    /// with the seconds to wait after a further colon: `fault:429:7`. So is a cut, with the words
    /// that come before it: `fault:cut:3`.
    pub fn named(name: &str) -> Option<Fault> {
        if let Some(words) = name.strip_prefix("cut:") {
            return words.parse().ok().map(Fault::CutAfter);
        }
        let fault = match name {
            "slow-first-byte" => Fault::SlowFirstByte(Duration::from_millis(500)),
            "slow-tokens" => Fault::SlowTokens(Duration::from_millis(50)),
            "cut" => Fault::CutAfter(1),
            "garbage" => Fault::Garbage,
            "huge" => Fault::HugeEvent,
            "error" => Fault::ErrorEvent,
            "crlf" => Fault::CrLf,
            "bytes" => Fault::ByteByByte,
            "comments" => Fault::Comments,
            "silence" => Fault::Silence,
            "null-id" => Fault::NullId,
            _ => {
                let (status, wait_s) = match name.split_once(':') {
                    Some((status, wait_s)) => (status, Some(wait_s.parse().ok()?)),
                    None => (name, None),
                };
                let status = status.parse().ok();
                Fault::Status(status.filter(|status| (400..600).contains(status))?, wait_s)
            }
        };
        Some(fault)
    }
}

/// How a request went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Running,
    /// The client has all of the answer.
    Finished,
    /// Answered with this status and not billed.
    Refused(u16),
    /// Broken off by a fault.
    Broken,
    /// The client left before the end.
    Cancelled,
}

/// One request and what it was billed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub path: String,
    pub model: String,
    pub stream: bool,
    /// The end user whom the request names.
    pub user: Option<String>,
    /// Names in lower case; none of them is a key.
    pub headers: Vec<(String, String)>,
    /// The texts of the request: the system's, then each message's.
    pub texts: Vec<String>,
    /// Words over all texts of the request.
    pub input: u64,
    /// Words of the answer that were sent.
    pub output: u64,
    pub outcome: Outcome,
    /// When the simulator saw the end: for a client that left, compare it with the time of that.
    pub ended_at: Option<Instant>,
}

#[derive(Default)]
struct State {
    faults: VecDeque<Fault>,
    records: Vec<Record>,
    /// Messages that asked for a fault when they came first, and did.
    met: HashSet<String>,
}

/// What the threads share.
#[derive(Clone, Default)]
pub(crate) struct Shared {
    state: Arc<Mutex<State>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running simulator; dropped, it stops.
pub struct Simulator {
    address: SocketAddr,
    shared: Shared,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Simulator {
    /// Listens on a free port of the loopback, on a thread of its own.
    ///
    /// # Errors
    /// When the system gives no port or no thread.
    pub fn start() -> io::Result<Simulator> {
        Simulator::start_at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Listens there, for instance where another one did before.
    ///
    /// # Errors
    /// When the address is another's, or the system gives no thread.
    pub fn start_at(address: SocketAddr) -> io::Result<Simulator> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(address))?;
        let address = listener.local_addr()?;
        let shared = Shared::default();
        let (stop, stopped) = oneshot::channel();
        let serving = shared.clone();
        let thread = std::thread::Builder::new().name("upstream".to_owned()).spawn(move || {
            runtime.spawn(serve::accept(listener, serving));
            // A sender that is gone stops it too.
            drop(runtime.block_on(stopped));
        })?;
        Ok(Simulator { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What providers' settings take: the address up to and with the version.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The next request without a fault yet has this one. It goes ahead of one in a message.
    pub fn next(&self, fault: Fault) {
        self.shared.lock().faults.push_back(fault);
    }

    /// All requests so far, in the order of their coming.
    pub fn records(&self) -> Vec<Record> {
        self.shared.lock().records.clone()
    }

    /// Waits until all requests have ended, and gives the records, or none after `timeout`.
    pub fn settled(&self, timeout: Duration) -> Option<Vec<Record>> {
        let deadline = Instant::now() + timeout;
        loop {
            let records = self.records();
            if records.iter().all(|record| record.outcome != Outcome::Running) {
                return Some(records);
            }
            if Instant::now() >= deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread is told by the thread itself.
            drop(thread.join());
        }
    }
}
