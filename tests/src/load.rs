//! Clients that work through the edges of a cluster, and what they saw.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::http::{Answer, Connection};
use crate::node::{HANG_TIMEOUT, MODEL};

/// Between two attempts at an edge where nobody listens.
const UNREACHED_PAUSE: Duration = Duration::from_millis(100);

/// What became of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 200, with `usage.total_tokens`.
    Admitted { tokens: u64 },
    /// 429 with `Retry-After`.
    Refused,
    /// 503 with `Retry-After`.
    Unavailable { code: String },
    /// It was sent, and no whole answer came.
    Cut(String),
    /// Nobody listened: nothing was sent.
    Unreached,
    /// Any other answer.
    Odd(String),
}

/// One request.
#[derive(Clone, Debug)]
pub struct Sample {
    pub edge: String,
    pub took: Duration,
    pub outcome: Outcome,
}

/// Where the edges are now; clients follow it.
#[derive(Clone, Default)]
pub struct Edges {
    places: Arc<RwLock<BTreeMap<String, SocketAddr>>>,
}

impl Edges {
    pub fn new(places: BTreeMap<String, SocketAddr>) -> Edges {
        Edges { places: Arc::new(RwLock::new(places)) }
    }

    /// A node's edge has a new address, or none.
    pub fn set(&self, node: &str, address: Option<SocketAddr>) {
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        match address {
            Some(address) => places.insert(node.to_owned(), address),
            None => places.remove(node),
        };
    }

    /// The edge of the client of this number.
    pub fn of(&self, client: usize) -> Option<(String, SocketAddr)> {
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        let place = client.checked_rem(places.len())?;
        places.iter().nth(place).map(|(node, address)| (node.clone(), *address))
    }
}

/// What the clients send.
#[derive(Clone, Debug)]
pub struct Work {
    pub clients: usize,
    pub token: String,
    pub text: String,
    /// Between two requests of one client.
    pub pause: Duration,
}

/// Clients at work.
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<Sample>>>,
}

impl Load {
    /// Starts the clients, which take turns at the edges.
    pub fn start(work: &Work, edges: &Edges) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |number: usize| {
            let (work, edges, stop) = (work.clone(), edges.clone(), Arc::clone(&stop));
            thread::spawn(move || Client { number, work, edges, connection: None }.run(&stop))
        };
        Load { clients: (0..work.clients).map(client).collect(), stop }
    }

    /// Lets every client end its request, and returns what all saw.
    ///
    /// # Errors
    /// When a client panicked.
    pub fn stop(self) -> io::Result<Vec<Sample>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut samples = Vec::new();
        for client in self.clients {
            samples.extend(client.join().map_err(|_| io::Error::other("a client panicked"))?);
        }
        Ok(samples)
    }
}

struct Client {
    number: usize,
    work: Work,
    edges: Edges,
    connection: Option<(SocketAddr, Connection)>,
}

impl Client {
    fn run(mut self, stop: &AtomicBool) -> Vec<Sample> {
        let mut samples = Vec::new();
        // Spread over the pause, so that they do not come all at once.
        let clients = self.work.clients.max(1) as u32;
        rest(self.work.pause * self.number as u32 / clients, stop);
        while !stop.load(Ordering::Relaxed) {
            let Some((edge, address)) = self.edges.of(self.number) else {
                rest(UNREACHED_PAUSE, stop);
                continue;
            };
            let began = Instant::now();
            let outcome = self.one(address);
            let pause = match &outcome {
                Outcome::Unreached => UNREACHED_PAUSE,
                _ => self.work.pause,
            };
            samples.push(Sample { edge, took: began.elapsed(), outcome });
            rest(pause, stop);
        }
        samples
    }

    fn one(&mut self, address: SocketAddr) -> Outcome {
        let kept = self.connection.take().filter(|(known, _)| *known == address);
        let mut connection = match kept {
            Some((_, connection)) => connection,
            None => match Connection::open(address, HANG_TIMEOUT) {
                Ok(connection) => connection,
                Err(_) => return Outcome::Unreached,
            },
        };
        let authorization = format!("Bearer {}", self.work.token);
        let headers = [("authorization", authorization.as_str())];
        let body = json!({"model": MODEL, "input": self.work.text}).to_string();
        match connection.post("/v1/embeddings", &headers, body.as_bytes()) {
            Ok(answer) => {
                if answer.header("connection") != Some("close") {
                    self.connection = Some((address, connection));
                }
                judge(&answer)
            }
            Err(error) => Outcome::Cut(error.to_string()),
        }
    }
}

fn judge(answer: &Answer) -> Outcome {
    let tells_when = answer.header("retry-after").is_some_and(|after| after.parse::<u64>().is_ok());
    match answer.status {
        200 => match answer.json()["usage"]["total_tokens"].as_u64() {
            Some(tokens) => Outcome::Admitted { tokens },
            None => Outcome::Odd(answer.text()),
        },
        429 if tells_when => Outcome::Refused,
        503 if tells_when => Outcome::Unavailable { code: answer.error_code() },
        status => Outcome::Odd(format!("{status} {}", answer.text())),
    }
}

/// Sleeps in short stretches, and wakes when it is to stop.
fn rest(pause: Duration, stop: &AtomicBool) {
    let began = Instant::now();
    while began.elapsed() < pause && !stop.load(Ordering::Relaxed) {
        thread::sleep(pause.saturating_sub(began.elapsed()).min(UNREACHED_PAUSE));
    }
}

/// Samples counted by outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub admitted: u64,
    /// Of the admitted ones.
    pub tokens: u64,
    pub refused: u64,
    pub unavailable: BTreeMap<String, u64>,
    pub cut: u64,
    pub unreached: u64,
    pub odd: Vec<String>,
    pub slowest: Duration,
}

impl Tally {
    pub fn of<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Tally {
        let mut tally = Tally::default();
        for sample in samples {
            tally.slowest = tally.slowest.max(sample.took);
            match &sample.outcome {
                Outcome::Admitted { tokens } => {
                    tally.admitted += 1;
                    tally.tokens += tokens;
                }
                Outcome::Refused => tally.refused += 1,
                Outcome::Unavailable { code } => {
                    *tally.unavailable.entry(code.clone()).or_default() += 1;
                }
                Outcome::Cut(_) => tally.cut += 1,
                Outcome::Unreached => tally.unreached += 1,
                Outcome::Odd(what) => tally.odd.push(what.clone()),
            }
        }
        tally
    }

    /// One for each edge.
    pub fn by_edge(samples: &[Sample]) -> BTreeMap<String, Tally> {
        let mut edges: BTreeMap<String, Vec<&Sample>> = BTreeMap::new();
        for sample in samples {
            edges.entry(sample.edge.clone()).or_default().push(sample);
        }
        edges.into_iter().map(|(edge, samples)| (edge, Tally::of(samples))).collect()
    }

    /// The names of what [`Tally`] prints.
    pub const HEAD: &str = "admitted   tokens   refused   unavailable   cut   unreached   slowest";
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unavailable: u64 = self.unavailable.values().sum();
        let Tally { admitted, tokens, refused, cut, unreached, .. } = self;
        let slowest_ms = self.slowest.as_millis();
        write!(
            out,
            "{admitted:>8} {tokens:>8} {refused:>9} {unavailable:>13} {cut:>5} {unreached:>11} \
             {slowest_ms:>6} ms"
        )?;
        for (code, count) in &self.unavailable {
            write!(out, "  {code} {count}")?;
        }
        Ok(())
    }
}
