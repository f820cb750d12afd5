//! The node's own account of which replicas are loaded and what they run, and the invariants of
//! the two pools that are checked against it.

use std::collections::{BTreeMap, BTreeSet};

use headwater_embedding::{Dispatcher, Pool, PoolPlan, ReplicaIndex};

use crate::world::World;

pub(super) struct Lending {
    replicas: usize,
    reserved: usize,
    lends: bool,
    /// How long ingest may wait for a fuller batch, in ms.
    patience_ms: u64,
    live: BTreeSet<ReplicaIndex>,
    /// Whose batch each replica runs.
    running: BTreeMap<ReplicaIndex, Pool>,
}

impl Lending {
    pub(super) fn new(plan: &PoolPlan) -> Self {
        Lending {
            replicas: plan.replicas,
            reserved: plan.reserved.min(plan.replicas - 1),
            lends: plan.lends(),
            patience_ms: plan.ingest.batch_wait_ms,
            live: BTreeSet::new(),
            running: BTreeMap::new(),
        }
    }

    pub(super) fn loaded(&mut self, replica: ReplicaIndex) {
        self.live.insert(replica);
    }

    pub(super) fn lost(&mut self, replica: ReplicaIndex) {
        self.live.remove(&replica);
        self.running.remove(&replica);
    }

    pub(super) fn ended(&mut self, replica: ReplicaIndex) {
        self.running.remove(&replica);
    }

    /// The query pool has the first slots.
    fn is_of_queries(&self, replica: ReplicaIndex) -> bool {
        replica.0 < self.replicas
    }

    /// Loaded replicas of the query pool that are not lent.
    fn free(&self) -> usize {
        let live = self.live.iter().filter(|replica| self.is_of_queries(**replica)).count();
        let lent = |(replica, pool): &(&ReplicaIndex, &Pool)| {
            self.is_of_queries(**replica) && **pool == Pool::Ingest
        };
        live - self.running.iter().filter(lent).count()
    }

    fn has_idle(&self, of_queries: bool) -> bool {
        self.live.iter().any(|replica| {
            self.is_of_queries(*replica) == of_queries && !self.running.contains_key(replica)
        })
    }

    /// Ingest does not wait beside a replica that it may have.
    pub(super) fn check_idle_share(&self, world: &World, dispatcher: &Dispatcher) {
        let queue = dispatcher.queue(Pool::Ingest);
        let Some(oldest_ms) = queue.oldest_ms() else { return };
        let patient = world.now_ms() < oldest_ms + self.patience_ms;
        let query_waits = !dispatcher.queue(Pool::Query).is_empty();
        if self.ingest_may_start(query_waits) && !patient {
            let seen = format!("{} tokens wait beside an idle replica", queue.tokens());
            world.violated("ingest_makes_progress", seen);
        } else if self.keeps_reserved(query_waits) {
            world.count("ingest kept from a reserved replica");
        }
    }

    /// Whether a batch of ingest could run at once.
    fn ingest_may_start(&self, query_waits: bool) -> bool {
        if !self.lends {
            return self.has_idle(false);
        }
        self.has_idle(true) && !query_waits && self.free() > self.reserved
    }

    /// Whether ingest waits for nothing but the reserve.
    fn keeps_reserved(&self, query_waits: bool) -> bool {
        self.lends && self.has_idle(true) && !query_waits && self.free() <= self.reserved
    }

    /// A batch is started: checks that it may be.
    pub(super) fn start(
        &mut self,
        world: &World,
        replica: ReplicaIndex,
        pool: Pool,
        query_waits: bool,
    ) {
        let borrowed = pool == Pool::Ingest && self.is_of_queries(replica);
        if pool == Pool::Query && !self.is_of_queries(replica) {
            world.violated("queries_run_on_their_own_replicas", format_args!("{replica:?}"));
        }
        if borrowed && query_waits {
            world.violated("a_waiting_query_runs_before_ingest", format_args!("{replica:?}"));
        }
        if borrowed && self.free() <= self.reserved {
            let seen = format!("{} free, {} reserved", self.free(), self.reserved);
            world.violated("ingest_never_holds_the_reserved_share", seen);
        }
        if pool == Pool::Ingest {
            let kind = if borrowed { "a borrowed replica" } else { "its own replica" };
            world.note(format_args!("ingest on {kind}"));
            let counted =
                if borrowed { "ingest on a borrowed replica" } else { "ingest on its own replica" };
            world.count(counted);
        }
        self.running.insert(replica, pool);
    }
}
