//! One process of a simulated node: the real caller, members, leases, owners and quota handle,
//! on the world's clock and tasks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_actors::caller::{Caller, Service};
use headwater_actors::cluster::{Leases, Members, MembersSettings};
use headwater_actors::runtime::Runtime;
use headwater_actors::tenancy::{
    NoticeMetrics, NoticeSettings, Notices, OwnerHost, Owners, TenancyHandle, TenancyMetrics,
};
use headwater_cluster::{Claimant, Incarnation, Member, MemberState, NodeId, ProtocolRange};
use headwater_storage::Environment;
use headwater_storage::retry::{Retry, RetryPolicy};
use prometheus_client::registry::Registry;

use super::Options;
use super::mail::{Mail, hooks};
use super::network::{Net, Port};
use crate::shared_store::{Door, DoorStore, SharedStore};
use crate::world::{Group, World};

/// Longest wait for the answer to a view, in ms.
const ANNOUNCE_MS: u64 = 1_000;

const NOTICES: NoticeSettings = NoticeSettings {
    look_ms: 500,
    patience_ms: 2_000,
    first_pause_ms: 300,
    longest_pause_ms: 3_000,
    at_once: 2,
    kept_ms: u64::MAX,
};

/// A node over its restarts: its clock goes on.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) node: NodeId,
    /// Its wall clock less virtual time, in ms since 1970.
    wall_base_ms: u64,
    jumped_ms: Arc<AtomicU64>,
}

impl Place {
    pub(super) fn new(node: NodeId, wall_base_ms: u64) -> Place {
        Place { node, wall_base_ms, jumped_ms: Arc::default() }
    }

    /// The wall clock jumps ahead, unless that makes more than `most_ms` in all.
    pub(super) fn step(&self, ms: u64, most_ms: u64) -> bool {
        if self.jumped_ms.load(Ordering::Relaxed) + ms > most_ms {
            return false;
        }
        self.jumped_ms.fetch_add(ms, Ordering::Relaxed);
        true
    }

    pub(super) fn wall_ms(&self, world: &World) -> u64 {
        self.wall_base_ms + self.jumped_ms.load(Ordering::Relaxed) + world.now_ms()
    }
}

/// One process; cheap to clone.
#[derive(Clone)]
pub(super) struct Life {
    pub(super) place: Place,
    /// Unique over all nodes; also its incarnation.
    pub(super) number: u64,
    pub(super) group: Group,
    pub(super) members: Members,
    pub(super) leases: Leases,
    pub(super) owners: Owners,
    pub(super) handle: TenancyHandle,
    pub(super) door: Arc<Door>,
    port: Arc<Port>,
    metrics: Arc<Registry>,
    /// Takes no new requests.
    pub(super) leaving: Arc<AtomicBool>,
}

impl Life {
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// How often any owner answered an ask of this process.
    pub(super) fn answers(&self) -> u64 {
        let mut text = String::new();
        if prometheus_client::encoding::text::encode(&mut text, &self.metrics).is_err() {
            return 0;
        }
        let count = |outcome: &str| {
            let start = format!("headwater_tenancy_asks_total{{outcome=\"{outcome}\"}} ");
            let line = text.lines().find_map(|line| line.strip_prefix(start.as_str()));
            line.and_then(|count| count.parse::<u64>().ok()).unwrap_or(0)
        };
        count("granted") + count("used_up")
    }

    /// What a dead process still holds keeps nothing of the world alive.
    pub(super) fn close(&self) {
        self.door.close();
        self.port.close();
    }
}

/// The processes that run, by node; cheap to clone.
#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) world: World,
    pub(super) net: Net,
    pub(super) store: SharedStore,
    pub(super) options: Arc<Options>,
    pub(super) mail: Mail,
    pub(super) places: Arc<Vec<Place>>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    lives: BTreeMap<NodeId, Life>,
    next_life: u64,
}

impl Cluster {
    pub(super) fn new(
        world: &World,
        net: &Net,
        store: &SharedStore,
        options: &Arc<Options>,
        mail: &Mail,
        places: Vec<Place>,
    ) -> Cluster {
        Cluster {
            world: world.clone(),
            net: net.clone(),
            store: store.clone(),
            options: Arc::clone(options),
            mail: mail.clone(),
            places: Arc::new(places),
            state: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The processes that run.
    pub(super) fn lives(&self) -> Vec<Life> {
        self.lock().lives.values().cloned().collect()
    }

    /// Calls this with each process that runs, in order of the nodes' names.
    pub(super) fn each(&self, mut act: impl FnMut(&Life)) {
        self.lock().lives.values().for_each(&mut act);
    }

    pub(super) fn life(&self, node: &NodeId) -> Option<Life> {
        self.lock().lives.get(node).cloned()
    }

    /// Starts a process on a node that has none.
    pub(super) fn start(&self, place: &Place) -> Life {
        let number = {
            let mut state = self.lock();
            state.next_life += 1;
            state.next_life
        };
        let incarnation = Incarnation(number);
        let group = self.world.new_group();
        let seeds = self.places.iter().map(|place| place.node.clone());
        let port = self.net.join(&place.node, incarnation, seeds);
        let runtime = self.runtime(place, group);
        let caller = Caller::new(place.node.clone(), port.clone(), runtime.clone());
        let members = members(&caller, incarnation);
        let door = self.store.door(number);
        let retry = |total_ms| {
            let policy =
                RetryPolicy { tries: 20, first_pause_ms: 5, longest_pause_ms: 200, total_ms };
            let store = Arc::new(DoorStore(Arc::clone(&door)));
            Retry::new(store, runtime.environment().clone(), policy)
        };
        let Options { keeper, owners, tenancy, .. } = *self.options;
        let claimant = Claimant { node: place.node.clone(), incarnation };
        let leases = Leases::new(runtime.clone(), retry(1_000), claimant, keeper);
        let host = OwnerHost::Tasks;
        let (caller_of, members_of) = (caller.clone(), members.clone());
        let owners = Owners::new(caller_of, members_of, leases.clone(), retry(1_500), host, owners);
        let mut metrics = Registry::default();
        let counted = TenancyMetrics::register(&mut metrics);
        let handle = TenancyHandle::new(caller.clone(), members.clone(), tenancy, counted);
        let notices = Notices::new(
            runtime.clone(),
            retry(1_000),
            leases.clone(),
            hooks(),
            Arc::new(self.mail.clone()),
            NOTICES,
            NoticeMetrics::register(&mut metrics),
        );
        runtime.spawn(caller.run());
        runtime.spawn(notices.run());
        runtime.spawn(handle.clone().follow_limited(retry(1_000)));
        runtime.spawn(members.clone().follow_links());
        runtime.spawn(members.clone().keep_telling());
        runtime.spawn(leases.clone().run());
        runtime.spawn(owners.clone().run());
        runtime.spawn(handle.clone().run());
        let (metrics, leaving, place) = (Arc::new(metrics), Arc::default(), place.clone());
        let life = Life {
            place,
            number,
            group,
            members,
            leases,
            owners,
            handle,
            door,
            port,
            metrics,
            leaving,
        };
        self.world.note(format_args!("{} starts as {number}", life.place.node));
        self.lock().lives.insert(life.place.node.clone(), life.clone());
        life
    }

    fn runtime(&self, place: &Place, group: Group) -> Runtime {
        let (clock, pause, draw) = (self.world.clone(), self.world.clone(), self.world.clone());
        // Monotonic clocks of two processes have nothing to do with each other.
        let booted_ms = self.world.between(0, 1_000_000);
        let environment = Environment::new(
            move || booted_ms + clock.now_ms(),
            move |ms| Box::pin(pause.sleep(ms)),
            move || draw.draw(),
        );
        let (wall, place, world) = (self.world.clone(), place.clone(), self.world.clone());
        Runtime::new(
            environment,
            move || place.wall_ms(&wall),
            move |task| world.spawn_in(group, task),
        )
    }

    /// The world has ended: what processes still hold keeps nothing of it alive.
    pub(super) fn close(&self) {
        for life in self.lives() {
            self.world.kill(life.group);
            life.close();
        }
    }

    /// Ends a process without a word.
    pub(super) fn kill(&self, life: &Life) {
        let node = &life.place.node;
        {
            let mut state = self.lock();
            if state.lives.get(node).is_none_or(|running| running.number != life.number) {
                return;
            }
            state.lives.remove(node);
        }
        self.world.note(format_args!("{node} dies as {}", life.number));
        self.world.kill(life.group);
        self.net.remove(node);
        life.close();
    }
}

/// A view that travels by the caller.
fn members(caller: &Caller, incarnation: Incarnation) -> Members {
    let me = Member {
        node: caller.node().clone(),
        incarnation,
        state: MemberState::Alive,
        revision: 0,
        address: format!("{}:1", caller.node()),
        capacity: 1,
        load: 0,
        offers: Default::default(),
        versions: ProtocolRange { oldest: 1, newest: 1 },
    };
    let members = Members::new(caller.clone(), me, MembersSettings::default());
    let telling = caller.clone();
    members.announce_by(move |node, view| {
        let (caller, node) = (telling.clone(), node.clone());
        telling.runtime().spawn(async move {
            let _ = caller.call(&node, Service::Membership, view, ANNOUNCE_MS).await;
        });
    });
    let hearing = members.clone();
    caller.serve(Service::Membership, move |_, view| {
        let members = hearing.clone();
        async move {
            members.hear(&view);
            Vec::new()
        }
    });
    members
}
