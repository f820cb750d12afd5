//! The load generator: clients with one connection each, sending one request after the other.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use super::peer::cpu_seconds;
use super::texts::Workload;
use crate::failure::Failure;

/// One measurement to make.
pub(super) struct Load<'a> {
    pub(super) address: SocketAddr,
    pub(super) model: &'a str,
    pub(super) workload: &'a Workload,
    pub(super) duration: Duration,
}

/// What one measurement saw.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figures {
    pub(super) requests_per_s: f64,
    pub(super) tokens_per_s: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// The server's processor time for 1,000 tokens, in ms.
    pub(super) cpu_ms_per_ktoken: f64,
}

impl Figures {
    pub(super) fn to_json(&self, peer: &str, workload: &str) -> Value {
        json!({
            "peer": peer,
            "workload": workload,
            "requests_per_s": self.requests_per_s,
            "tokens_per_s": self.tokens_per_s,
            "p50_ms": self.p50_ms,
            "p99_ms": self.p99_ms,
            "cpu_ms_per_ktoken": self.cpu_ms_per_ktoken,
        })
    }
}

/// What one client saw.
#[derive(Default)]
struct Seen {
    latencies_ms: Vec<f64>,
    tokens: u64,
}

impl Load<'_> {
    /// Loads the server in process `pid` and measures it.
    ///
    /// # Errors
    /// When the server cannot be reached or does not answer 200.
    pub(super) async fn run(&self, pid: u32) -> Result<Figures, Failure> {
        let next = Rc::new(Cell::new(0u64));
        let started = Instant::now();
        let end = started + self.duration;
        let cpu_before_s = cpu_seconds(pid);
        let local = LocalSet::new();
        let seen = local
            .run_until(async {
                let clients: Vec<_> = (0..self.workload.clients)
                    .map(|_| {
                        let client = Client {
                            address: self.address,
                            model: self.model.to_owned(),
                            workload: self.workload.clone(),
                            next: Rc::clone(&next),
                            end,
                        };
                        tokio::task::spawn_local(client.run())
                    })
                    .collect();
                let mut all = Seen::default();
                for client in clients {
                    let seen = client.await.map_err(Failure::broken)??;
                    all.latencies_ms.extend(seen.latencies_ms);
                    all.tokens += seen.tokens;
                }
                Ok::<Seen, Failure>(all)
            })
            .await?;
        let elapsed_s = started.elapsed().as_secs_f64();
        let cpu_s = cpu_seconds(pid) - cpu_before_s;
        let mut latencies_ms = seen.latencies_ms;
        latencies_ms.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let last = latencies_ms.len().saturating_sub(1);
            latencies_ms.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
        };
        Ok(Figures {
            requests_per_s: latencies_ms.len() as f64 / elapsed_s,
            tokens_per_s: seen.tokens as f64 / elapsed_s,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            cpu_ms_per_ktoken: cpu_s * 1e6 / seen.tokens.max(1) as f64,
        })
    }
}

struct Client {
    address: SocketAddr,
    model: String,
    workload: Workload,
    next: Rc<Cell<u64>>,
    end: Instant,
}

impl Client {
    async fn run(self) -> Result<Seen, Failure> {
        let stream = TcpStream::connect(self.address).await.map_err(Failure::broken)?;
        stream.set_nodelay(true).map_err(Failure::broken)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(Failure::broken)?;
        tokio::task::spawn_local(connection);
        let mut seen = Seen::default();
        while Instant::now() < self.end {
            let number = self.next.get();
            self.next.set(number + 1);
            let texts = self.workload.texts(number);
            let body = json!({"model": self.model, "input": texts}).to_string();
            let request = Request::post("/v1/embeddings")
                .header("host", self.address.to_string())
                .header("content-type", "application/json")
                .body(Full::new(Bytes::from(body)))
                .map_err(Failure::broken)?;
            let started = Instant::now();
            let response = sender.send_request(request).await.map_err(Failure::broken)?;
            let status = response.status();
            let answer = response.into_body().collect().await.map_err(Failure::broken)?.to_bytes();
            if !status.is_success() {
                let text = String::from_utf8_lossy(&answer);
                return Err(Failure::broken(format!("the server answered {status}: {text}")));
            }
            seen.latencies_ms.push(started.elapsed().as_secs_f64() * 1000.0);
            seen.tokens += prompt_tokens(&answer)
                .ok_or_else(|| Failure::broken("the server's answer has no usage.prompt_tokens"))?;
        }
        Ok(seen)
    }
}

/// Finds the count without parsing hundreds of floats, which would cost the generator
/// more than the request.
fn prompt_tokens(answer: &[u8]) -> Option<u64> {
    let mark = b"\"prompt_tokens\":";
    let start = answer.windows(mark.len()).rposition(|window| window == mark)? + mark.len();
    let digits: Vec<u8> = answer[start..]
        .iter()
        .copied()
        .skip_while(|byte| *byte == b' ')
        .take_while(u8::is_ascii_digit)
        .collect();
    String::from_utf8(digits).ok()?.parse().ok()
}
