//! Nodes of one process over the memory network and one memory store, on tokio's paused clock.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headwater_cluster::{MemoryLimits, MemoryNetwork};
use headwater_storage::Environment;
use headwater_storage::memory::{Fault, FaultPoint, MemoryStore};
use headwater_storage::retry::{Retry, RetryPolicy};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::caller::{Caller, Service};
use crate::cluster::{
    Claimant, Incarnation, KeeperSettings, Leases, Member, MemberState, Members, MembersSettings,
    NodeId, ProtocolRange,
};
use crate::runtime::Runtime;

/// Far above what any step takes: reaching it means that the step hangs.
const PATIENCE: Duration = Duration::from_secs(600);
/// When the worlds begin, in ms since 1970: the first moment of a minute.
pub(crate) const BEGIN_MS: u64 = 29_833_333 * 60_000;

type Faults = Mutex<Box<dyn FnMut(FaultPoint) -> Option<Fault> + Send>>;

/// What the nodes share.
pub(crate) struct World {
    pub(crate) network: MemoryNetwork,
    pub(crate) store: MemoryStore,
    pub(crate) environment: Environment,
    faults: Arc<Faults>,
}

pub(crate) fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

/// The output, or a failed test where it would never come.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("this hangs")
}

pub(crate) async fn pause(ms: u64) {
    sleep(Duration::from_millis(ms)).await;
}

/// Waits until this holds.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    within(async {
        while !holds() {
            pause(5).await;
        }
    })
    .await;
}

/// SplitMix64, by Guy Steele, Doug Lea and Christine Flood (2014).
pub(crate) struct Draws(AtomicU64);

impl Draws {
    pub(crate) fn new(seed: u64) -> Draws {
        Draws(AtomicU64::new(seed))
    }

    pub(crate) fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let state = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        let state = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let state = (state ^ state >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^ state >> 31
    }

    /// At most so many bytes.
    pub(crate) fn bytes(&self, most: u64) -> Vec<u8> {
        (0..self.next() % (most + 1)).map(|_| self.next() as u8).collect()
    }

    /// A first byte, then at most so many drawn ones.
    pub(crate) fn record(&self, version: u8, most: u64) -> Vec<u8> {
        std::iter::once(version).chain(self.bytes(most)).collect()
    }
}

/// A clock and draws on tokio's time.
pub(crate) fn environment(seed: u64) -> Environment {
    let (began, draws) = (Instant::now(), Draws::new(seed));
    Environment::new(
        move || began.elapsed().as_millis() as u64,
        |ms| Box::pin(sleep(Duration::from_millis(ms))),
        move || draws.next(),
    )
}

impl World {
    pub(crate) fn new() -> World {
        let network = MemoryNetwork::new(MemoryLimits {
            queue_envelopes: 100_000,
            payload_bytes: 1 << 20,
            streams: 16,
            stream_bytes: 1 << 16,
        });
        let environment = environment(1);
        let faults: Arc<Faults> = Arc::new(Mutex::new(Box::new(|_| None)));
        let asked = Arc::clone(&faults);
        let store = MemoryStore::with_faults(environment.clone(), move |point| {
            (asked.lock().unwrap_or_else(PoisonError::into_inner))(point)
        });
        World { network, store, environment, faults }
    }

    /// What goes wrong in the store from now on.
    pub(crate) fn fail(&self, fault: impl FnMut(FaultPoint) -> Option<Fault> + Send + 'static) {
        *self.faults.lock().unwrap() = Box::new(fault);
    }

    pub(crate) fn store_down(&self) {
        self.fail(|_| Some(Fault::Unavailable));
    }

    pub(crate) fn heal(&self) {
        self.fail(|_| None);
    }

    /// Gives up after so many ms.
    pub(crate) fn retry(&self, total_ms: u64) -> Retry {
        let policy = RetryPolicy { tries: 50, first_pause_ms: 5, longest_pause_ms: 100, total_ms };
        Retry::new(Arc::new(self.store.clone()), self.environment.clone(), policy)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.environment.now_ms()
    }

    /// A node with its caller, view and leases running.
    pub(crate) fn node(&self, name: &str) -> Node {
        self.start(name, 1, MembersSettings::default(), |_| {})
    }

    /// As [`World::node`], for another start, another rhythm or another row.
    pub(crate) fn start(
        &self,
        name: &str,
        incarnation: u64,
        settings: MembersSettings,
        change: impl FnOnce(&mut Member),
    ) -> Node {
        let (id, incarnation) = (id(name), Incarnation(incarnation));
        let tasks = Arc::new(Tasks::default());
        let wall = Arc::new(Wall::default());
        let runtime = self.runtime(&tasks, &wall);
        let transport = Arc::new(self.network.join(id.clone(), incarnation));
        let caller = Caller::new(id.clone(), transport, runtime.clone());
        let mut me = member(name, incarnation.0);
        change(&mut me);
        let members = Members::new(caller.clone(), me, settings);
        let (hearing, telling) = (members.clone(), caller.clone());
        caller.serve(Service::Membership, move |_, view| {
            hearing.hear(&view);
            async { Vec::new() }
        });
        members.announce_by(move |node, view| {
            let (caller, node) = (telling.clone(), node.clone());
            telling.runtime().spawn(async move {
                let _ = caller.call(&node, Service::Membership, view, 500).await;
            });
        });
        let claimant = Claimant { node: id.clone(), incarnation };
        let keeping = KeeperSettings::default();
        let leases = Leases::new(runtime.clone(), self.retry(800), claimant.clone(), keeping);
        runtime.spawn(caller.clone().run());
        runtime.spawn(members.clone().follow_links());
        runtime.spawn(members.clone().keep_telling());
        runtime.spawn(leases.clone().run());
        let network = self.network.clone();
        Node { id, claimant, runtime, caller, members, leases, wall, tasks, network }
    }

    fn runtime(&self, tasks: &Arc<Tasks>, wall: &Arc<Wall>) -> Runtime {
        let (now, wall, tasks) = (self.environment.clone(), Arc::clone(wall), Arc::clone(tasks));
        let wall_ms = move || wall.read(BEGIN_MS + now.now_ms());
        Runtime::new(self.environment.clone(), wall_ms, move |task| tasks.spawn(task))
    }
}

/// A node's wall clock.
#[derive(Default)]
pub(crate) struct Wall {
    /// How far it is ahead of the others'.
    pub(crate) ahead_ms: AtomicI64,
    /// The next reader panics.
    pub(crate) breaks: AtomicBool,
}

impl Wall {
    fn read(&self, true_ms: u64) -> u64 {
        assert!(!self.breaks.swap(false, Ordering::SeqCst), "a planted panic");
        true_ms.saturating_add_signed(self.ahead_ms.load(Ordering::SeqCst))
    }
}

/// A row that offers nothing.
pub(crate) fn member(name: &str, incarnation: u64) -> Member {
    Member {
        node: id(name),
        incarnation: Incarnation(incarnation),
        state: MemberState::Alive,
        revision: 1,
        address: format!("{name}:1"),
        capacity: 1,
        load: 0,
        offers: Default::default(),
        versions: ProtocolRange { oldest: 1, newest: 1 },
    }
}

/// The tasks of one node; none runs after its death.
#[derive(Default)]
struct Tasks {
    state: Mutex<(Vec<AbortHandle>, bool)>,
}

impl Tasks {
    fn lock(&self) -> MutexGuard<'_, (Vec<AbortHandle>, bool)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if self.lock().1 {
            return;
        }
        // Not under the lock: a runtime that ends drops the task at once, and that may spawn another.
        let task = tokio::spawn(task).abort_handle();
        let mut state = self.lock();
        if state.1 {
            return task.abort();
        }
        state.0.retain(|task| !task.is_finished());
        state.0.push(task);
    }
}

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) claimant: Claimant,
    pub(crate) runtime: Runtime,
    pub(crate) caller: Caller,
    pub(crate) members: Members,
    pub(crate) leases: Leases,
    pub(crate) wall: Arc<Wall>,
    tasks: Arc<Tasks>,
    network: MemoryNetwork,
}

impl Node {
    /// Ends every task of the node and closes its links, as a killed process would.
    pub(crate) fn kill(&self) {
        let mut state = self.tasks.lock();
        state.1 = true;
        let tasks = std::mem::take(&mut state.0);
        drop(state);
        tasks.iter().for_each(AbortHandle::abort);
        // A node that joins anew closes the one before; dropped, it is closed itself.
        drop(self.network.join(self.id.clone(), self.claimant.incarnation));
    }

    /// Whether this node's view has so many members within reach, itself included.
    pub(crate) fn sees(&self, count: usize) -> bool {
        self.members.view().iter().filter(|seen| seen.is_reachable()).count() == count
    }
}

/// Waits until each of these sees all of them.
pub(crate) async fn meet(nodes: &[&Node]) {
    until(|| nodes.iter().all(|node| node.sees(nodes.len()))).await;
}
