//! A network inside the process: it carries requests to a server, or does to them what
//! networks do.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;

use crate::Environment;
use crate::conformance::Draw;
use crate::remote::wire::{Ask, decode_request};
use crate::remote::{Exchange, ExchangeError, MESSAGE_BYTES, ServerLimits, StoreServer};

/// tokio's paused time.
pub(super) fn environment(seed: u64) -> Environment {
    let origin = tokio::time::Instant::now();
    let draws = AtomicU64::new(seed << 32);
    Environment::new(
        move || origin.elapsed().as_millis() as u64,
        |ms| Box::pin(tokio::time::sleep(Duration::from_millis(ms))),
        move || Draw::new(draws.fetch_add(1, Ordering::Relaxed)).number(),
    )
}

/// A clock that pauses move on, without any runtime.
pub(super) fn own_clock(seed: u64) -> Environment {
    let clock = Arc::new(AtomicU64::new(0));
    let (read, draws) = (Arc::clone(&clock), AtomicU64::new(seed << 32));
    Environment::new(
        move || read.load(Ordering::Relaxed),
        move |ms| {
            let clock = Arc::clone(&clock);
            Box::pin(async move {
                clock.fetch_add(ms, Ordering::Relaxed);
            })
        },
        move || Draw::new(draws.fetch_add(1, Ordering::Relaxed)).number(),
    )
}

/// Room for the begins that come twice.
pub(super) fn generous() -> ServerLimits {
    ServerLimits {
        transactions_per_client: 100_000,
        transactions: 100_000,
        ..ServerLimits::default()
    }
}

/// How many of a hundred requests meet each fate.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fates {
    pub(super) not_sent: usize,
    pub(super) request_lost: usize,
    pub(super) answer_lost: usize,
    /// The server is interrupted while it answers.
    pub(super) broken_off: usize,
    /// The request arrives twice, one after the other or both at once.
    pub(super) twice: usize,
    /// A request of long ago arrives once more.
    pub(super) late: usize,
    pub(super) delayed: usize,
}

impl Fates {
    pub(super) fn bad() -> Self {
        Fates {
            not_sent: 3,
            request_lost: 4,
            answer_lost: 4,
            broken_off: 6,
            twice: 15,
            late: 15,
            delayed: 20,
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) exchanges: usize,
    pub(super) not_sent: usize,
    pub(super) request_lost: usize,
    pub(super) answer_lost: usize,
    pub(super) broken_off: usize,
    pub(super) twice: usize,
    pub(super) late: usize,
    pub(super) delayed: usize,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Counts) {
        self.not_sent += other.not_sent;
        self.request_lost += other.request_lost;
        self.answer_lost += other.answer_lost;
        self.broken_off += other.broken_off;
        self.twice += other.twice;
        self.late += other.late;
        self.delayed += other.delayed;
    }

    pub(super) fn least(&self) -> usize {
        let Counts { not_sent, request_lost, answer_lost, broken_off, .. } = *self;
        let losses = not_sent.min(request_lost).min(answer_lost).min(broken_off);
        losses.min(self.twice).min(self.late).min(self.delayed)
    }
}

/// A failure on order: after so many more exchanges, whether that one arrives, and what is
/// said of it.
type Order = (usize, bool, ExchangeError);

pub(super) struct Network {
    server: Arc<Mutex<StoreServer>>,
    environment: Environment,
    client: String,
    fates: Fates,
    state: Mutex<State>,
}

struct State {
    draw: Draw,
    counts: Counts,
    sent: Vec<Vec<u8>>,
    order: Option<Order>,
}

impl From<StoreServer> for Slot {
    fn from(server: StoreServer) -> Self {
        Slot(Arc::new(Mutex::new(server)))
    }
}

impl From<Arc<Mutex<StoreServer>>> for Slot {
    fn from(server: Arc<Mutex<StoreServer>>) -> Self {
        Slot(server)
    }
}

/// Where the server of the day stands.
pub(super) struct Slot(Arc<Mutex<StoreServer>>);

impl Network {
    pub(super) fn new(
        server: impl Into<Slot>,
        environment: &Environment,
        client: &str,
        seed: u64,
        fates: Fates,
    ) -> Self {
        let counts = Counts::default();
        let state = State { draw: Draw::new(seed), counts, sent: Vec::new(), order: None };
        Network {
            server: server.into().0,
            environment: environment.clone(),
            client: client.to_owned(),
            fates,
            state: Mutex::new(state),
        }
    }

    pub(super) fn server(&self) -> StoreServer {
        self.server.lock().unwrap().clone()
    }

    pub(super) fn counts(&self) -> Counts {
        self.state.lock().unwrap().counts
    }

    pub(super) fn fail_next(&self, arrives: bool, error: ExchangeError) {
        self.state.lock().unwrap().order = Some((0, arrives, error));
    }

    pub(super) fn fail_after(&self, exchanges: usize, error: ExchangeError) {
        self.state.lock().unwrap().order = Some((exchanges, true, error));
    }

    /// Whether a fate strikes that hits so many of a hundred.
    fn strikes(&self, percent: usize, count: fn(&mut Counts) -> &mut usize) -> bool {
        let mut state = self.state.lock().unwrap();
        let strikes = percent > 0 && state.draw.percent(percent);
        *count(&mut state.counts) += usize::from(strikes);
        strikes
    }

    fn below(&self, bound: usize) -> usize {
        self.state.lock().unwrap().draw.below(bound)
    }

    fn ordered(&self) -> Option<Order> {
        let mut state = self.state.lock().unwrap();
        state.counts.exchanges += 1;
        match &mut state.order {
            Some((0, ..)) => state.order.take(),
            Some((left, ..)) => {
                *left -= 1;
                None
            }
            None => None,
        }
    }

    /// Keeps a request, so that it can come again. Questions after watches only take time.
    fn remember(&self, request: &[u8]) {
        let asked = decode_request(request).expect("clients send what servers understand");
        if !matches!(asked.ask, Ask::AwaitWatch { .. }) {
            let mut state = self.state.lock().unwrap();
            let place = state.draw.below(64);
            match state.sent.get_mut(place) {
                Some(old) => *old = request.to_vec(),
                None => state.sent.push(request.to_vec()),
            }
        }
    }

    fn old_request(&self) -> Option<Vec<u8>> {
        let mut state = self.state.lock().unwrap();
        let count = state.sent.len();
        (count > 0).then(|| {
            let place = state.draw.below(count);
            state.sent[place].clone()
        })
    }

    async fn deliver(&self, server: &StoreServer, request: &[u8]) -> Vec<u8> {
        let answer = server.answer(&self.client, request).await;
        assert!(answer.len() <= MESSAGE_BYTES, "an answer has {} bytes", answer.len());
        answer
    }

    async fn deliver_twice(&self, server: &StoreServer, request: &[u8]) -> Vec<u8> {
        let (first, second) = if self.below(2) == 0 {
            tokio::join!(self.deliver(server, request), self.deliver(server, request))
        } else {
            (self.deliver(server, request).await, self.deliver(server, request).await)
        };
        let asked = decode_request(request).expect("a request");
        if matches!(asked.ask, Ask::Commit { .. }) {
            assert_eq!(first, second, "a commit that comes twice has one outcome");
        }
        second
    }
}

#[async_trait]
impl Exchange for Network {
    async fn exchange(&self, request: Vec<u8>) -> Result<Vec<u8>, ExchangeError> {
        assert!(request.len() <= MESSAGE_BYTES, "a request has {} bytes", request.len());
        let unknown = |text: &str| Err(ExchangeError::Unknown(text.to_owned()));
        let (server, fates) = (self.server(), self.fates);
        if let Some((_, arrives, error)) = self.ordered() {
            if arrives {
                self.deliver(&server, &request).await;
            }
            return Err(error);
        }
        if self.strikes(fates.delayed, |counts| &mut counts.delayed) {
            self.environment.pause(self.below(100) as u64).await;
        }
        if self.strikes(fates.late, |counts| &mut counts.late)
            && let Some(old) = self.old_request()
        {
            self.deliver(&server, &old).await;
        }
        if self.strikes(fates.not_sent, |counts| &mut counts.not_sent) {
            return Err(ExchangeError::NotSent("no route".to_owned()));
        }
        self.remember(&request);
        if self.strikes(fates.request_lost, |counts| &mut counts.request_lost) {
            return unknown("the request was lost");
        }
        if self.strikes(fates.twice, |counts| &mut counts.twice) {
            return Ok(self.deliver_twice(&server, &request).await);
        }
        if self.strikes(fates.broken_off, |counts| &mut counts.broken_off) {
            let mut answer = pin!(self.deliver(&server, &request));
            // One look, then the future is dropped where it stands.
            let done = std::future::poll_fn(|context| {
                Poll::Ready(answer.as_mut().poll(context).is_ready())
            });
            done.await;
            return unknown("the connection broke");
        }
        let answer = self.deliver(&server, &request).await;
        if self.strikes(fates.answer_lost, |counts| &mut counts.answer_lost) {
            return unknown("the answer was lost");
        }
        Ok(answer)
    }
}
