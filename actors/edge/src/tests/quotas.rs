//! Quotas of a node that is alone, over the memory store, and that store.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use headwater_actors::caller::Caller;
use headwater_actors::cluster::{
    Claimant, ClusterHandle, Incarnation, KeeperSettings, Leases, Member, MemberState, Members,
    MembersSettings, NodeId, ProtocolRange,
};
use headwater_actors::collection::Collections;
use headwater_actors::embedding::ChargedEmbedder;
use headwater_actors::identity::{IdentityHandle, IdentityMetrics, IdentitySettings};
use headwater_actors::ingest::{IngestHandle, IngestMetrics, IngestSettings, IngestWorkers};
use headwater_actors::runtime::Runtime;
use headwater_actors::tenancy::{
    OwnerHost, Owners, OwnersSettings, TenancyHandle, TenancyMetrics, TenancySettings,
};
use headwater_cluster::{MemoryLimits, MemoryNetwork};
use headwater_storage::Environment;
use headwater_storage::memory::MemoryStore;
use headwater_storage::retry::{Retry, RetryPolicy};
use headwater_vectors::memory::MemorySink;
use prometheus_client::registry::Registry;
use uuid::Uuid;

pub(super) async fn quotas(registry: &mut Registry) -> (TenancyHandle, ClusterHandle, Runtime) {
    let origin = Instant::now();
    let environment = Environment::new(
        move || origin.elapsed().as_millis() as u64,
        |ms| Box::pin(tokio::time::sleep(Duration::from_millis(ms))),
        || Uuid::now_v7().as_u128() as u64,
    );
    let wall_ms = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let runtime = Runtime::tokio(environment.clone(), move || wall_ms() as u64);
    let node = NodeId::new("test").expect("a name");
    let claimant = Claimant { node: node.clone(), incarnation: Incarnation(1) };
    let limits = MemoryLimits { queue_envelopes: 1, payload_bytes: 1, streams: 1, stream_bytes: 1 };
    let transport = MemoryNetwork::new(limits).join(node.clone(), Incarnation(1));
    let caller = Caller::new(node.clone(), Arc::new(transport), runtime.clone());
    let me = Member {
        node,
        incarnation: Incarnation(1),
        state: MemberState::Alive,
        revision: 0,
        address: "127.0.0.1:1".to_owned(),
        capacity: 1,
        load: 0,
        offers: [String::from("embedding/plain@x")].into(),
        versions: ProtocolRange { oldest: 1, newest: 1 },
    };
    let members = Members::new(caller.clone(), me, MembersSettings::default());
    let store = Arc::new(MemoryStore::new(environment.clone()));
    let retry = Retry::new(store, environment, RetryPolicy::default());
    let settings = KeeperSettings::default();
    let leases = Leases::new(runtime.clone(), retry.clone(), claimant, settings);
    let host = OwnerHost::actors().await.expect("starts");
    let (calling, seen) = (caller.clone(), members.clone());
    let owners = OwnersSettings::default();
    Owners::new(calling, seen, leases.clone(), retry.clone(), host, owners);
    let metrics = TenancyMetrics::register(registry);
    let handle = TenancyHandle::new(caller, members.clone(), TenancySettings::default(), metrics);
    runtime.spawn(leases.run());
    runtime.spawn(handle.clone().run());
    runtime.spawn(handle.clone().follow_limited(retry.clone()));
    (handle, ClusterHandle::new(members, retry, runtime.clone()), runtime)
}

/// Virtual keys, read and then followed in the store.
pub(super) async fn known_keys(
    runtime: &Runtime,
    store: &Retry,
    stale_ms: u64,
    registry: &mut Registry,
) -> IdentityHandle {
    let bits = || {
        let (one, two) = (Uuid::now_v7().as_u128(), Uuid::now_v7().as_u128());
        let mut bits = [0; 32];
        bits[..16].copy_from_slice(&one.to_le_bytes());
        bits[16..].copy_from_slice(&two.to_le_bytes());
        Some(bits)
    };
    let settings = IdentitySettings { stale_ms, ..IdentitySettings::default() };
    let metrics = IdentityMetrics::register(registry);
    let (runtime, store) = (runtime.clone(), store.clone());
    let handle = IdentityHandle::new(runtime, store, Arc::new(bits), settings, metrics);
    handle.catch_up(false).await.expect("reads");
    tokio::spawn(handle.clone().run());
    handle
}

/// Ingest with two workers that look for work often.
pub(super) fn bulk(
    runtime: Runtime,
    retry: Retry,
    collections: &Collections,
    sink: Arc<MemorySink>,
    embedder: Arc<ChargedEmbedder>,
    registry: &mut Registry,
) -> IngestHandle {
    let settings = IngestSettings { workers: 2, poll_ms: 5, line_bytes: 300, ..Default::default() };
    let ingest = IngestHandle::new(runtime, retry, collections.clone(), settings);
    let metrics = IngestMetrics::register(registry);
    IngestWorkers::start(ingest.clone(), sink, embedder, None, metrics);
    ingest
}
