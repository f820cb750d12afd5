//! The replicas of one model by slot: the pool that each belongs to, and what it does.

use crate::effects::{BatchId, Effect, ReplicaIndex};
use crate::pool::Pool;
use crate::queue::Item;

#[derive(Debug)]
pub(crate) enum Replica {
    /// Not wanted. The slot may be used again.
    Stopped,
    /// Being started, or waiting to be.
    Starting,
    Idle,
    Running {
        batch: BatchId,
        /// Whose batch it is.
        pool: Pool,
        items: Vec<Item>,
        deadline_ms: u64,
    },
}

#[derive(Debug)]
pub(crate) struct Slot {
    /// The pool whose replicas are counted with it.
    pub(crate) home: Pool,
    pub(crate) replica: Replica,
    /// Losses since the last finished batch.
    pub(crate) losses_in_a_row: u32,
    /// Stops when its batch is done.
    pub(crate) retiring: bool,
}

impl Slot {
    fn is_wanted(&self) -> bool {
        !self.retiring && !matches!(self.replica, Replica::Stopped)
    }

    fn is_live(&self) -> bool {
        matches!(self.replica, Replica::Idle | Replica::Running { .. })
    }

    fn runs(&self, wanted: Pool) -> bool {
        matches!(self.replica, Replica::Running { pool, .. } if pool == wanted)
    }
}

/// All slots of a model. A slot keeps its index and its pool for ever.
#[derive(Debug, Default)]
pub(crate) struct Slots(Vec<Slot>);

impl Slots {
    pub(crate) fn get(&self, replica: ReplicaIndex) -> Option<&Slot> {
        self.0.get(replica.0)
    }

    pub(crate) fn get_mut(&mut self, replica: ReplicaIndex) -> Option<&mut Slot> {
        self.0.get_mut(replica.0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ReplicaIndex, &Slot)> {
        self.0.iter().enumerate().map(|(index, slot)| (ReplicaIndex(index), slot))
    }

    /// A replica of this pool that waits for work.
    pub(crate) fn idle(&self, home: Pool) -> Option<ReplicaIndex> {
        let is_idle = |slot: &Slot| slot.home == home && matches!(slot.replica, Replica::Idle);
        self.0.iter().position(is_idle).map(ReplicaIndex)
    }

    /// Number of replicas of this pool that shall exist.
    pub(crate) fn wanted(&self, home: Pool) -> usize {
        self.0.iter().filter(|slot| slot.home == home && slot.is_wanted()).count()
    }

    /// Number of replicas of this pool that run a batch or can run one.
    pub(crate) fn live(&self, home: Pool) -> usize {
        self.0.iter().filter(|slot| slot.home == home && slot.is_live()).count()
    }

    /// Number of replicas that run a batch of this pool.
    pub(crate) fn running(&self, pool: Pool) -> usize {
        self.0.iter().filter(|slot| slot.runs(pool)).count()
    }

    /// Number of replicas of the query pool that run ingest.
    pub(crate) fn lent(&self) -> usize {
        let lent = |slot: &&Slot| slot.home == Pool::Query && slot.runs(Pool::Ingest);
        self.0.iter().filter(lent).count()
    }

    /// Brings the pool to this many replicas. Those that work finish their batch before they go.
    pub(crate) fn resize(&mut self, home: Pool, replicas: usize) -> Vec<Effect> {
        let mut effects = Vec::new();
        while self.wanted(home) < replicas {
            effects.extend(self.add(home));
        }
        while self.wanted(home) > replicas {
            let Some(effect) = self.drop_one(home) else { break };
            effects.extend(effect);
        }
        effects
    }

    fn add(&mut self, home: Pool) -> Option<Effect> {
        let mut own = self.0.iter_mut().enumerate().filter(|(_, slot)| slot.home == home);
        if let Some((_, slot)) = own.find(|(_, slot)| slot.retiring) {
            slot.retiring = false;
            return None;
        }
        let mut own = self.0.iter_mut().enumerate().filter(|(_, slot)| slot.home == home);
        let free = own.find(|(_, slot)| matches!(slot.replica, Replica::Stopped));
        let fresh = Slot { home, replica: Replica::Starting, losses_in_a_row: 0, retiring: false };
        let index = match free {
            Some((index, slot)) => {
                *slot = fresh;
                index
            }
            None => {
                self.0.push(fresh);
                self.0.len() - 1
            }
        };
        Some(Effect::Start { replica: ReplicaIndex(index), after_ms: 0 })
    }

    /// Gives up the replica that costs the least: one that is not loaded, one that idles, one
    /// that runs. The outer option is none when there is none left.
    fn drop_one(&mut self, home: Pool) -> Option<Option<Effect>> {
        let cost = |slot: &Slot| match slot.replica {
            Replica::Stopped => None,
            Replica::Starting => Some(0),
            Replica::Idle => Some(1),
            Replica::Running { .. } => Some(2),
        };
        let own = self.0.iter().enumerate().filter(|(_, slot)| slot.home == home && !slot.retiring);
        // Of equals the last one goes, so that low slots live long.
        let cheapest = own.filter_map(|(index, slot)| Some((cost(slot)?, usize::MAX - index)));
        let index = usize::MAX - cheapest.min()?.1;
        let slot = self.0.get_mut(index)?;
        if matches!(slot.replica, Replica::Running { .. }) {
            slot.retiring = true;
            return Some(None);
        }
        slot.replica = Replica::Stopped;
        Some(Some(Effect::Stop { replica: ReplicaIndex(index) }))
    }
}
