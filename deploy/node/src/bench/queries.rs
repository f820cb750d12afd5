//! Open loop: queries leave at a fixed rate, whatever became of those before.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::client::{Connection, body};
use super::load::quantile;
use super::texts::Workload;
use crate::failure::Failure;

/// Most queries under way at once. A server that falls further behind is overloaded, and what
/// could not leave is counted.
const MOST_UNDER_WAY: usize = 1024;

/// A stream of queries at a fixed rate.
pub(super) struct Queries<'a> {
    pub(super) address: SocketAddr,
    pub(super) model: &'a str,
    pub(super) rate_per_s: f64,
    pub(super) next: &'a Rc<Cell<u64>>,
}

/// What became of the queries of one phase.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Latencies {
    /// From the moment of sending, in ms; sorted.
    pub(super) answered_ms: Vec<f64>,
    pub(super) tokens: u64,
    /// Refused for want of room.
    pub(super) refused: u64,
    /// Could not leave because too many were under way.
    pub(super) unsent: u64,
}

impl Latencies {
    pub(super) fn at(&self, share: f64) -> f64 {
        quantile(&self.answered_ms, share)
    }
}

/// What the queries under way share.
#[derive(Default)]
struct Shared {
    idle: RefCell<Vec<Connection>>,
    under_way: Cell<usize>,
    seen: RefCell<Latencies>,
    broken: RefCell<Option<Failure>>,
}

impl Queries<'_> {
    /// Sends for `settle` and then for `duration`; only the latter is measured. Waits for the
    /// last answer. Runs inside a `LocalSet`.
    ///
    /// Latency counts from the moment of sending: the clock that paces the queries ticks in ms,
    /// which would blur a latency of a few.
    ///
    /// # Errors
    /// When a connection breaks or an answer is neither a success nor an overload.
    pub(super) async fn run(
        &self,
        settle: Duration,
        duration: Duration,
    ) -> Result<Latencies, Failure> {
        let workload = Workload::queries("queries", 1);
        let shared = Rc::new(Shared::default());
        let started = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for sent in 0u64.. {
            let due = started + Duration::from_secs_f64(sent as f64 / self.rate_per_s);
            if due >= started + settle + duration {
                break;
            }
            sleep_until(due).await;
            while tasks.try_join_next().is_some() {}
            let measured = due >= started + settle;
            if shared.under_way.get() >= MOST_UNDER_WAY {
                shared.seen.borrow_mut().unsent += u64::from(measured);
                continue;
            }
            let number = self.next.get();
            self.next.set(number + 1);
            let body = body(self.model, &workload.texts(number), None);
            tasks.spawn_local(one(Rc::clone(&shared), self.address, body, measured));
        }
        while tasks.join_next().await.is_some() {}
        if let Some(failure) = shared.broken.borrow_mut().take() {
            return Err(failure);
        }
        let mut seen = shared.seen.take();
        seen.answered_ms.sort_by(f64::total_cmp);
        Ok(seen)
    }
}

async fn one(shared: Rc<Shared>, address: SocketAddr, body: String, measured: bool) {
    shared.under_way.set(shared.under_way.get() + 1);
    if let Err(failure) = send(&shared, address, body, measured).await {
        shared.broken.borrow_mut().get_or_insert(failure);
    }
    shared.under_way.set(shared.under_way.get() - 1);
}

async fn send(
    shared: &Shared,
    address: SocketAddr,
    body: String,
    measured: bool,
) -> Result<(), Failure> {
    let idle = shared.idle.borrow_mut().pop();
    let mut connection = match idle {
        Some(connection) => connection,
        None => Connection::open(address).await?,
    };
    let sent = Instant::now();
    let answer = connection.embed(body).await?;
    let latency_ms = sent.elapsed().as_secs_f64() * 1000.0;
    shared.idle.borrow_mut().push(connection);
    if answer.is_overload() {
        shared.seen.borrow_mut().refused += u64::from(measured);
        return Ok(());
    }
    let tokens = answer.tokens()?;
    if measured {
        let mut seen = shared.seen.borrow_mut();
        seen.answered_ms.push(latency_ms);
        seen.tokens += tokens;
    }
    Ok(())
}
