//! The record of one request, told when its last byte has passed or its asker is gone.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use crate::event::{Asked, EgressEvent, Hears, Kind, Verdict};
use crate::grant::Labels;
use crate::meter::{Flow, Meter};
use crate::refusal::Refusal;

/// What is known when a request has been allowed and its connection stands.
#[derive(Debug, Clone, Copy)]
struct Reached {
    address: Option<SocketAddr>,
    status: u16,
}

#[derive(Default)]
struct State {
    reached: Option<Reached>,
    refusal: Option<Refusal>,
    whole: bool,
}

/// One request in work. Tells its event when it is dropped, so that no way out of a task is silent.
pub(crate) struct Record {
    events: Arc<dyn Hears>,
    meter: Arc<Meter>,
    labels: Labels,
    kind: Kind,
    asked: Asked,
    started: Instant,
    bytes_out: AtomicU64,
    bytes_in: AtomicU64,
    state: Mutex<State>,
}

impl Record {
    pub(crate) fn new(
        events: &Arc<dyn Hears>,
        meter: &Arc<Meter>,
        labels: &Labels,
        kind: Kind,
        asked: Asked,
    ) -> Arc<Self> {
        Arc::new(Self {
            events: Arc::clone(events),
            meter: Arc::clone(meter),
            labels: labels.clone(),
            kind,
            asked,
            started: Instant::now(),
            bytes_out: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            state: Mutex::new(State::default()),
        })
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The outside was reached, or a name answered.
    pub(crate) fn reached(&self, address: Option<SocketAddr>, status: u16) {
        self.change(|state| state.reached = Some(Reached { address, status }));
    }

    /// The first reason stays: later ones follow from it.
    pub(crate) fn refused(&self, refusal: &Refusal) {
        self.change(|state| {
            state.refusal.get_or_insert_with(|| refusal.clone());
        });
    }

    /// Why it was refused, if it was.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).refusal.clone()
    }

    /// Bytes that have gone out so far.
    pub(crate) fn sent(&self) -> u64 {
        self.bytes_out.load(Ordering::Relaxed)
    }

    /// Everything passed.
    pub(crate) fn whole(&self) {
        self.change(|state| state.whole = true);
    }

    /// Counts bytes of a body or tunnel, or refuses them.
    pub(crate) fn pass(&self, flow: Flow, bytes: usize) -> Result<(), Refusal> {
        self.meter.bytes(flow, bytes).inspect_err(|refusal| self.refused(refusal))?;
        let counter = match flow {
            Flow::Out => &self.bytes_out,
            Flow::In => &self.bytes_in,
        };
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let state = std::mem::take(self.state.get_mut().unwrap_or_else(PoisonError::into_inner));
        let cut = state.refusal.or(if state.whole { None } else { Some(Refusal::Left) });
        let verdict = match (state.reached, cut) {
            (None, Some(refusal)) => Verdict::Refused(refusal),
            (reached, cut) => Verdict::Allowed {
                address: reached.and_then(|reached| reached.address),
                status: reached.map_or(0, |reached| reached.status),
                bytes_out: *self.bytes_out.get_mut(),
                bytes_in: *self.bytes_in.get_mut(),
                duration_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
                cut,
            },
        };
        self.events.heard(EgressEvent {
            labels: self.labels.clone(),
            kind: self.kind,
            asked: std::mem::take(&mut self.asked),
            verdict,
        });
    }
}
