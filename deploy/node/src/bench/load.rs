//! Closed loop: clients with one connection each, sending one request after the other.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::LocalSet;

use super::client::{Connection, body};
use super::peer::cpu_seconds;
use super::texts::Workload;
use crate::failure::Failure;

/// One measurement to make.
pub(super) struct Load<'a> {
    pub(super) address: SocketAddr,
    pub(super) model: &'a str,
    pub(super) workload: &'a Workload,
    pub(super) duration: Duration,
    /// The number of the next request; runs that share it send no text twice, or else a
    /// server's cache would answer.
    pub(super) next: &'a Rc<Cell<u64>>,
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
                            next: Rc::clone(self.next),
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
        Ok(Figures {
            requests_per_s: latencies_ms.len() as f64 / elapsed_s,
            tokens_per_s: seen.tokens as f64 / elapsed_s,
            p50_ms: quantile(&latencies_ms, 0.5),
            p99_ms: quantile(&latencies_ms, 0.99),
            cpu_ms_per_ktoken: cpu_s * 1e6 / seen.tokens.max(1) as f64,
        })
    }
}

/// The value that this share of the sorted values does not exceed; NaN when there are none.
pub(super) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
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
        let mut connection = Connection::open(self.address).await?;
        let mut seen = Seen::default();
        while Instant::now() < self.end {
            let number = self.next.get();
            self.next.set(number + 1);
            let body = body(&self.model, &self.workload.texts(number), None);
            let started = Instant::now();
            let answer = connection.embed(body).await?;
            seen.latencies_ms.push(started.elapsed().as_secs_f64() * 1000.0);
            seen.tokens += answer.tokens()?;
        }
        Ok(seen)
    }
}
