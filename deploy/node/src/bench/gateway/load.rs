//! Closed loop: clients with one connection each, sending one chat after the other.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use super::super::load::quantile;
use super::super::peer::cpu_seconds;
use super::peers::Peer;
use crate::failure::Failure;

/// One measurement to make.
pub(super) struct Load<'a> {
    pub(super) peer: &'a Peer,
    pub(super) clients: usize,
    pub(super) stream: bool,
}

/// What one measurement saw.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figures {
    pub(super) requests_per_s: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// To the first part of the body, in ms; the median.
    pub(super) first_ms: f64,
    /// Processor time of the server in between for one request, in µs.
    pub(super) cpu_us: f64,
    pub(super) rss_mib: f64,
}

impl Figures {
    /// Each by itself.
    pub(super) fn median(rounds: &[Figures]) -> Figures {
        let of = |value: fn(&Figures) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
        };
        Figures {
            requests_per_s: of(|one| one.requests_per_s),
            p50_ms: of(|one| one.p50_ms),
            p99_ms: of(|one| one.p99_ms),
            first_ms: of(|one| one.first_ms),
            cpu_us: of(|one| one.cpu_us),
            rss_mib: of(|one| one.rss_mib),
        }
    }
}

/// Times of one client, in ms: to the first part, and to the end.
type Times = Vec<(f64, f64)>;

impl Load<'_> {
    /// # Errors
    /// When the server cannot be reached or does not answer 200.
    pub(super) async fn run(&self, duration: Duration) -> Result<Figures, Failure> {
        let (started, cpu_before_s) = (Instant::now(), cpu_seconds(self.peer.pid));
        let end = started + duration;
        let local = LocalSet::new();
        let times = local
            .run_until(async {
                let client = |_| {
                    tokio::task::spawn_local(client(
                        self.peer.address,
                        self.peer.token.clone(),
                        Rc::clone(&self.peer.next),
                        self.stream,
                        end,
                    ))
                };
                let clients: Vec<_> = (0..self.clients).map(client).collect();
                let mut all = Times::new();
                for client in clients {
                    all.extend(client.await.map_err(Failure::broken)??);
                }
                Ok::<Times, Failure>(all)
            })
            .await?;
        let elapsed_s = started.elapsed().as_secs_f64();
        let cpu_s = cpu_seconds(self.peer.pid) - cpu_before_s;
        let sorted = |value: fn(&(f64, f64)) -> f64| {
            let mut values: Vec<f64> = times.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let (first, whole) = (sorted(|one| one.0), sorted(|one| one.1));
        Ok(Figures {
            requests_per_s: times.len() as f64 / elapsed_s,
            p50_ms: quantile(&whole, 0.5),
            p99_ms: quantile(&whole, 0.99),
            first_ms: quantile(&first, 0.5),
            cpu_us: cpu_s * 1e6 / times.len().max(1) as f64,
            rss_mib: self.peer.rss_mib(),
        })
    }
}

async fn client(
    address: std::net::SocketAddr,
    token: Option<String>,
    next: Rc<Cell<u64>>,
    stream: bool,
    end: Instant,
) -> Result<Times, Failure> {
    let mut sender = connect(address).await?;
    let mut times = Times::new();
    while Instant::now() < end {
        let number = next.get();
        next.set(number + 1);
        // At temperature 0, so that the cache is looked at; no two are alike, so that it is asked on.
        let message = json!({"role": "user", "content": format!("Say something about {number}.")});
        let body = json!({"model": "mock", "messages": [message], "temperature": 0,
            "stream": stream});
        let mut request = Request::post("/v1/chat/completions")
            .header("host", "bench")
            .header("content-type", "application/json");
        if let Some(token) = &token {
            request = request.header("authorization", token);
        }
        let body = Full::new(Bytes::from(body.to_string()));
        let request = request.body(body).map_err(Failure::broken)?;
        if sender.is_closed() {
            sender = connect(address).await?;
        }
        sender.ready().await.map_err(Failure::broken)?;
        let started = Instant::now();
        let response = sender.send_request(request).await.map_err(Failure::broken)?;
        let status = response.status();
        let mut body = response.into_body();
        let first = body.frame().await.transpose().map_err(Failure::broken)?;
        let first_ms = started.elapsed().as_secs_f64() * 1_000.0;
        let rest = body.collect().await.map_err(Failure::broken)?.to_bytes();
        times.push((first_ms, started.elapsed().as_secs_f64() * 1_000.0));
        if !status.is_success() {
            let first = first.and_then(|frame| frame.into_data().ok()).unwrap_or_default();
            let text = [first, rest].concat();
            let text = String::from_utf8_lossy(&text);
            return Err(Failure::broken(format!("the server answered {status}: {text}")));
        }
    }
    Ok(times)
}

async fn connect(address: std::net::SocketAddr) -> Result<SendRequest<Full<Bytes>>, Failure> {
    let stream = TcpStream::connect(address).await.map_err(Failure::broken)?;
    stream.set_nodelay(true).map_err(Failure::broken)?;
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(Failure::broken)?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}
