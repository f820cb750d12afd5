//! A node's clocks, and what it did when.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Overrides;
use crate::lockstep::chance::Chance;
use crate::lockstep::wire::{FromNode, Hello};

/// 2023-11-14 in ms since 1970: the wall clock at the start of every run.
const WALL_START_MS: u64 = 1_700_000_000_000;
const NS_PER_MS: u64 = 1_000_000;

pub(super) struct NodeClock {
    overrides: Overrides,
    now_ms: AtomicU64,
    wall_offset_ms: AtomicI64,
    /// Differs between nodes and incarnations, so that nobody compares monotonic clocks.
    monotonic_start_ms: u64,
}

impl NodeClock {
    pub(super) fn new(overrides: Overrides, hello: &Hello) -> NodeClock {
        let purpose = format!("monotonic clock {} {}", hello.node, hello.incarnation);
        let clock = NodeClock {
            overrides,
            now_ms: AtomicU64::new(0),
            wall_offset_ms: AtomicI64::new(0),
            monotonic_start_ms: Chance::of(hello.seed, &purpose).between(1_000, 1_000_000_000),
        };
        clock.set(hello.now_ms, hello.wall_offset_ms);
        clock
    }

    pub(super) fn set(&self, now_ms: u64, wall_offset_ms: i64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
        self.wall_offset_ms.store(wall_offset_ms, Ordering::Relaxed);
        let (monotonic_ms, wall_ms) = (self.monotonic_ms(), self.wall_ms());
        (self.overrides.set_clocks)(monotonic_ms * NS_PER_MS, wall_ms * NS_PER_MS);
    }

    /// The run's own time, which no program sees.
    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    pub(super) fn monotonic_ms(&self) -> u64 {
        self.monotonic_start_ms + self.now_ms()
    }

    pub(super) fn wall_ms(&self) -> u64 {
        let offset_ms = self.wall_offset_ms.load(Ordering::Relaxed);
        (WALL_START_MS + self.now_ms()).saturating_add_signed(offset_ms)
    }
}

/// What the node did since the coordinator last asked; cheap to clone.
#[derive(Clone)]
pub(crate) struct Outbox {
    clock: Arc<NodeClock>,
    deeds: Arc<Mutex<Vec<(u64, FromNode)>>>,
}

impl Outbox {
    pub(super) fn new(clock: &Arc<NodeClock>) -> Outbox {
        Outbox { clock: Arc::clone(clock), deeds: Arc::default() }
    }

    pub(crate) fn push(&self, deed: FromNode) {
        let at_ms = self.clock.now_ms();
        self.deeds.lock().unwrap_or_else(PoisonError::into_inner).push((at_ms, deed));
    }

    pub(super) fn take(&self) -> Vec<(u64, FromNode)> {
        std::mem::take(&mut *self.deeds.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
