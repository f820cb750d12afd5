//! Which faults strike: a random subset of kinds for each seed, until the world heals.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use headwater_storage::memory::{Fault, FaultPoint};

use crate::world::World;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    MessageLost,
    MessageTwice,
    MessageLate,
    ReplicaCrash,
    ReplicaOutOfMemory,
    ReplicaHang,
    NodeCrash,
    ClientLeaves,
    StoreSlow,
    StoreConflict,
    StoreTooOld,
    StoreUnknownCommitted,
    StoreUnknownLost,
    StoreDown,
}

const KINDS: [Kind; 14] = [
    Kind::MessageLost,
    Kind::MessageTwice,
    Kind::MessageLate,
    Kind::ReplicaCrash,
    Kind::ReplicaOutOfMemory,
    Kind::ReplicaHang,
    Kind::NodeCrash,
    Kind::ClientLeaves,
    Kind::StoreSlow,
    Kind::StoreConflict,
    Kind::StoreTooOld,
    Kind::StoreUnknownCommitted,
    Kind::StoreUnknownLost,
    Kind::StoreDown,
];

impl Kind {
    /// What the run's counts call it.
    fn name(self) -> &'static str {
        match self {
            Kind::MessageLost => "message lost",
            Kind::MessageTwice => "message sent twice",
            Kind::MessageLate => "message late",
            Kind::ReplicaCrash => "replica crashed",
            Kind::ReplicaOutOfMemory => "replica out of memory",
            Kind::ReplicaHang => "replica hung",
            Kind::NodeCrash => "node crashed",
            Kind::ClientLeaves => "client left",
            Kind::StoreSlow => "store slow",
            Kind::StoreConflict => "store conflict",
            Kind::StoreTooOld => "store too old",
            Kind::StoreUnknownCommitted => "commit unknown, done",
            Kind::StoreUnknownLost => "commit unknown, lost",
            Kind::StoreDown => "store down",
        }
    }
}

/// The faults of one run; cheap to clone.
#[derive(Clone)]
pub(crate) struct Faults {
    world: World,
    /// How often each kind strikes where it can, in percent; kinds left out never do.
    shares: Arc<BTreeMap<Kind, u64>>,
    healed: Arc<AtomicBool>,
}

impl Faults {
    /// Draws kinds and shares.
    pub(crate) fn draw(world: &World) -> Self {
        let chosen: Vec<Kind> = KINDS.into_iter().filter(|_| world.percent(50)).collect();
        let shares = chosen.into_iter().map(|kind| (kind, world.between(1, 25))).collect();
        Faults { world: world.clone(), shares: Arc::new(shares), healed: Arc::default() }
    }

    /// From here on nothing goes wrong any more.
    pub(crate) fn heal(&self) {
        self.healed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn describe(&self) -> String {
        let kinds: Vec<String> =
            self.shares.iter().map(|(kind, share)| format!("{} {share} %", kind.name())).collect();
        kinds.join(", ")
    }

    /// Whether a fault of this kind strikes here and now.
    pub(crate) fn strike(&self, kind: Kind) -> bool {
        let Some(share) = self.shares.get(&kind) else { return false };
        let strikes = self.world.percent(*share) && !self.healed.load(Ordering::Relaxed);
        if strikes {
            self.world.count(kind.name());
        }
        strikes
    }

    /// What the memory store is to meet at this step.
    pub(crate) fn of_store(&self, point: FaultPoint) -> Option<Fault> {
        if self.strike(Kind::StoreDown) {
            return Some(Fault::Unavailable);
        }
        if self.strike(Kind::StoreSlow) {
            return Some(Fault::Delay { ms: self.world.between(1, 7_000) });
        }
        if point != FaultPoint::Commit {
            return None;
        }
        let kinds = [
            (Kind::StoreConflict, Fault::Conflict),
            (Kind::StoreTooOld, Fault::TooOld),
            (Kind::StoreUnknownCommitted, Fault::UnknownCommitted),
            (Kind::StoreUnknownLost, Fault::UnknownLost),
        ];
        kinds.into_iter().find(|(kind, _)| self.strike(*kind)).map(|(_, fault)| fault)
    }
}
