//! This node's place in the cluster: links, members, leases, quotas; join and leave.

pub(crate) mod command;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use headwater_actors::caller::Caller;
use headwater_actors::cluster::{
    Claimant, ClusterHandle, Control, ControlLink, Incarnation, KeeperSettings, Leases, Member,
    MemberState, Members, MembersSettings, NodeId, ProtocolRange,
};
use headwater_actors::runtime::Runtime;
use headwater_actors::tenancy::{
    EdgeSettings, GrantSettings, OwnerHost, Owners, OwnersSettings, TenancyHandle, TenancyMetrics,
    TenancySettings,
};
use headwater_cluster::{MemoryLimits, MemoryNetwork, Transport};
use headwater_cluster_quic::{ControlStream, IdentityFiles, QuicSettings, QuicTransport};
use headwater_storage::retry::{Retry, RetryPolicy};
use prometheus_client::registry::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::config::{ClusterSettings, Settings, data_dir};
use crate::failure::{Failure, FailureKind};
use crate::store;

/// The versions of the protocol between nodes that this build speaks.
const VERSIONS: ProtocolRange = ProtocolRange { oldest: 1, newest: 1 };
/// The secret of the control links, beside the certificates.
pub(crate) const SECRET_FILE: &str = "control.secret";
/// How long the others get to hear that this node left, in ms.
const FAREWELL_MS: u64 = 200;
/// How often the node tells its load, in ms.
const LOAD_MS: u64 = 1_000;

/// This node among the others, or alone.
pub(crate) struct Place {
    pub(crate) caller: Caller,
    pub(crate) members: Members,
    links: Option<Links>,
    claimant: Claimant,
}

struct Links {
    quic: QuicTransport,
    control: Control,
}

/// What the services need of the cluster.
pub(crate) struct Services {
    pub(crate) tenancy: TenancyHandle,
    pub(crate) cluster: ClusterHandle,
    pub(crate) leases: Leases,
    owners: Owners,
}

fn runtime() -> Runtime {
    Runtime::tokio(store::environment(), || store::since_1970().as_millis() as u64)
}

/// The folder with this node's certificate.
pub(crate) fn identity_dir(settings: &Settings) -> Result<PathBuf, Failure> {
    match &settings.cluster.identity_dir {
        Some(folder) => Ok(folder.clone()),
        None => Ok(data_dir(settings)?.join("cluster")),
    }
}

fn node_id(settings: &Settings) -> Result<NodeId, Failure> {
    NodeId::new(settings.cluster.node.as_str())
        .map_err(|problem| Failure::settings(format!("cluster.node: {problem}")))
}

impl Place {
    /// Takes this node's place: binds and dials when it is one of a cluster.
    ///
    /// # Errors
    /// Kind `Settings` for a certificate that is missing or another's, `Address` for a taken
    /// port.
    pub(crate) async fn take(settings: &Settings) -> Result<Place, Failure> {
        let runtime = runtime();
        let node = node_id(settings)?;
        let incarnation = next_incarnation(settings, runtime.wall_ms())?;
        let claimant = Claimant { node: node.clone(), incarnation };
        let Some(listen) = settings.cluster.listen else {
            return Ok(Place::alone(runtime, claimant));
        };
        let quic_settings = quic_settings(settings, node.clone(), incarnation, listen)?;
        let secret = read_secret(settings)?;
        let started = QuicTransport::start(quic_settings).await;
        let (quic, control_streams) = started.map_err(refused_start)?;
        let caller = Caller::new(node.clone(), Arc::new(quic.clone()), runtime.clone());
        let address = quic.advertised();
        let me = member(&settings.cluster, &claimant, address.clone());
        let members = Members::new(caller.clone(), me, MembersSettings::default());
        let hearing = members.clone();
        let control = Control::start(&node, incarnation, &secret, move |view| hearing.hear(view));
        let control = control.await.map_err(Failure::broken)?;
        let announcing = control.clone();
        members.announce_by(move |node, view| announcing.announce(node, view));
        runtime.spawn(caller.clone().run());
        runtime.spawn(members.clone().follow_links());
        runtime.spawn(members.clone().keep_telling());
        runtime.spawn(attach_all(control.clone(), control_streams));
        reload_on_hangup(quic.clone())?;
        tracing::info!(%node, address, cluster = settings.cluster.id, "in the cluster");
        Ok(Place { caller, members, links: Some(Links { quic, control }), claimant })
    }

    fn alone(runtime: Runtime, claimant: Claimant) -> Place {
        let limits =
            MemoryLimits { queue_envelopes: 1, payload_bytes: 1, streams: 1, stream_bytes: 1 };
        let node = claimant.node.clone();
        let transport: Arc<dyn Transport> =
            Arc::new(MemoryNetwork::new(limits).join(node.clone(), claimant.incarnation));
        let caller = Caller::new(node, transport, runtime);
        let me = member(&ClusterSettings::default(), &claimant, String::new());
        let members = Members::new(caller.clone(), me, MembersSettings::default());
        Place { caller, members, links: None, claimant }
    }

    /// Starts leases, owners and quotas over the store.
    ///
    /// # Errors
    /// When the actors do not start.
    pub(crate) async fn start_services(
        &self,
        settings: &Settings,
        store: &Retry,
        registry: &mut Registry,
    ) -> Result<Services, Failure> {
        let runtime = self.caller.runtime().clone();
        let (cluster, tenancy) = (&settings.cluster, &settings.tenancy);
        let keeper = KeeperSettings {
            ttl_ms: cluster.lease_ms,
            max_skew_ms: cluster.max_skew_ms,
            renew_ms: cluster.lease_ms / 3,
        };
        let leases = Leases::new(
            runtime.clone(),
            hasty(store, cluster.lease_ms / 3),
            self.claimant.clone(),
            keeper,
        );
        let owners = OwnersSettings {
            grants: GrantSettings {
                allowance_ms: tenancy.allowance_ms,
                outage_share_percent: tenancy.outage_share_percent,
                ..GrantSettings::default()
            },
            thresholds: settings.notices.told(),
            ..OwnersSettings::default()
        };
        let host = OwnerHost::actors().await.map_err(Failure::broken)?;
        let (caller, members) = (self.caller.clone(), self.members.clone());
        let retry = hasty(store, 2_000);
        let owners = Owners::new(caller, members, leases.clone(), retry, host, owners);
        let edge = EdgeSettings { outage_ms: tenancy.outage_ms, ..EdgeSettings::default() };
        let patience_ms = cluster.lease_ms + 1_000;
        let handle = TenancyHandle::new(
            self.caller.clone(),
            self.members.clone(),
            TenancySettings {
                edge,
                patience_ms,
                wait_ms: patience_ms + 2_000,
                ..TenancySettings::default()
            },
            TenancyMetrics::register(registry),
        );
        runtime.spawn(leases.clone().run());
        runtime.spawn(owners.clone().run());
        runtime.spawn(handle.clone().run());
        if let Err(error) = handle.learn_limited(store).await {
            tracing::warn!(%error, "it is not known yet which projects and users have limits");
        }
        runtime.spawn(handle.clone().follow_limited(store.clone()));
        let cluster = ClusterHandle::new(self.members.clone(), hasty(store, 2_000), runtime);
        Ok(Services { tenancy: handle, cluster, leases, owners })
    }

    /// Tells the others again and again what this node has and how busy it is.
    pub(crate) fn tell_load(&self, busy_percent: impl Fn() -> u32 + Send + Sync + 'static) {
        let members = self.members.clone();
        self.caller.runtime().spawn(async move {
            loop {
                let busy = busy_percent();
                members.update(|me| me.load = me.capacity.saturating_mul(busy));
                tokio::time::sleep(Duration::from_millis(LOAD_MS)).await;
            }
        });
    }

    /// From now on no tenant is placed here.
    pub(crate) fn start_leaving(&self) {
        self.members.update(|me| me.state = MemberState::Draining);
    }

    /// Hands the tenants over, writes what is unwritten, and says farewell.
    pub(crate) async fn leave(&self, services: &Services, most_ms: u64) {
        let runtime = self.caller.runtime();
        if runtime.within(most_ms, services.owners.hand_all_over()).await.is_none() {
            tracing::warn!("not every tenant was handed over; the others' leases run out");
        }
        if !services.tenancy.drain(most_ms).await {
            tracing::error!("ledger entries are left that no owner has written down");
        }
        self.members.update(|me| me.state = MemberState::Left);
        if let Some(Links { quic, control }) = &self.links {
            tokio::time::sleep(Duration::from_millis(FAREWELL_MS)).await;
            control.stop();
            quic.close().await;
        }
    }
}

/// Higher than every earlier one of this node, whatever the clock does: the clock, or one more
/// than the last one that the data folder remembers. A node that is alone needs no more than the
/// clock.
fn next_incarnation(settings: &Settings, wall_ms: u64) -> Result<Incarnation, Failure> {
    if settings.cluster.listen.is_none() {
        return Ok(Incarnation(wall_ms));
    }
    let folder = data_dir(settings)?;
    let file = folder.join("incarnation");
    let last = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
    let next = last.map_or(wall_ms, |last: u64| wall_ms.max(last.saturating_add(1)));
    let written = std::fs::create_dir_all(&folder).and_then(|()| {
        let fresh = folder.join("incarnation.new");
        std::fs::write(&fresh, format!("{next}\n"))?;
        std::fs::rename(&fresh, &file)
    });
    written.map_err(|error| {
        Failure::settings(format!("data_dir: cannot write {}: {error}", file.display()))
    })?;
    Ok(Incarnation(next))
}

/// The same store with less patience: its callers have their own.
fn hasty(store: &Retry, total_ms: u64) -> Retry {
    let policy = RetryPolicy { total_ms, longest_pause_ms: 100, ..RetryPolicy::default() };
    Retry::new(Arc::clone(store.store()), store.environment().clone(), policy)
}

fn member(cluster: &ClusterSettings, claimant: &Claimant, address: String) -> Member {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    Member {
        node: claimant.node.clone(),
        incarnation: claimant.incarnation,
        state: MemberState::Alive,
        revision: 0,
        address,
        capacity: cluster.capacity.unwrap_or(cores),
        load: 0,
        offers: std::collections::BTreeSet::new(),
        versions: VERSIONS,
    }
}

fn quic_settings(
    settings: &Settings,
    node: NodeId,
    incarnation: Incarnation,
    listen: SocketAddr,
) -> Result<QuicSettings, Failure> {
    let folder = identity_dir(settings)?;
    let identity = IdentityFiles {
        authority: folder.join("ca.pem"),
        certificate: folder.join("node.pem"),
        key: folder.join("node.key"),
    };
    let cluster = &settings.cluster;
    Ok(QuicSettings {
        listen,
        advertise: cluster.advertise.clone(),
        seeds: cluster.seeds.clone(),
        versions: VERSIONS,
        idle_timeout_ms: cluster.idle_timeout_ms,
        ..QuicSettings::new(node, incarnation, cluster.id.as_str(), identity)
    })
}

fn read_secret(settings: &Settings) -> Result<String, Failure> {
    let file = identity_dir(settings)?.join(SECRET_FILE);
    let text = std::fs::read_to_string(&file).map_err(|error| {
        Failure::settings(format!(
            "cluster.identity_dir: cannot read {}: {error}; make the folder with `headwater \
             cluster issue`",
            file.display()
        ))
    })?;
    Ok(text.trim().to_owned())
}

fn refused_start(error: headwater_cluster_quic::QuicError) -> Failure {
    let kind = match &error {
        headwater_cluster_quic::QuicError::Listen { .. } => FailureKind::Address,
        _ => FailureKind::Settings,
    };
    Failure::new(kind, format!("cluster: {error}"))
}

async fn attach_all(control: Control, mut streams: mpsc::Receiver<ControlStream>) {
    while let Some(ControlStream { node, dialled, read, write }) = streams.recv().await {
        control.attach(ControlLink { node, dialled, read, write });
    }
}

/// SIGHUP: certificates are read anew; links that stand stay.
fn reload_on_hangup(quic: QuicTransport) -> Result<(), Failure> {
    let mut hangup = signal(SignalKind::hangup()).map_err(Failure::broken)?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match quic.reload_identity() {
                Ok(()) => tracing::info!("SIGHUP: certificates read anew"),
                Err(error) => tracing::error!(%error, "SIGHUP: the old certificates stay"),
            }
        }
    });
    Ok(())
}
