//! Dialling: seeds by address, introduced nodes by name, again and again with growing pauses.

#[cfg(test)]
mod tests;

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use headwater_cluster::NodeId;
use quinn::{ClientConfig, Connection};
use tokio::net::lookup_host;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::handshake;
use crate::refusal::Refusal;
use crate::settings::{HANDSHAKE_LONGEST, QuicSettings};
use crate::shared::Shared;

/// Addresses of one name that are dialled.
const ADDRESSES_MAX: usize = 64;

/// Who is dialled because the members said so, and who must not be.
#[derive(Default)]
pub(crate) struct Introductions {
    nodes: Mutex<(BTreeMap<NodeId, Introduced>, BTreeSet<NodeId>)>,
}

struct Introduced {
    address: String,
    dialling: Option<AbortHandle>,
}

impl Introductions {
    pub(crate) fn introduce(&self, shared: &Arc<Shared>, node: &NodeId, address: &str) {
        let mut nodes = self.lock();
        nodes.1.remove(node);
        if *node == shared.settings.node
            || nodes.0.get(node).is_some_and(|known| known.address == address)
        {
            return;
        }
        // One side is enough, and both know which.
        let dialling = (shared.settings.node < *node).then(|| {
            let (node, address) = (node.clone(), address.to_owned());
            shared.spawn(dial_introduced(Arc::clone(shared), node, address))
        });
        let introduced = Introduced { address: address.to_owned(), dialling };
        if let Some(before) = nodes.0.insert(node.clone(), introduced) {
            before.stop();
        }
    }

    pub(crate) fn forget(&self, node: &NodeId) {
        let mut nodes = self.lock();
        nodes.1.insert(node.clone());
        if let Some(introduced) = nodes.0.remove(node) {
            introduced.stop();
        }
    }

    pub(crate) fn is_forgotten(&self, node: &NodeId) -> bool {
        self.lock().1.contains(node)
    }

    /// The node has started anew: what was forgotten is the start before.
    pub(crate) fn recall(&self, node: &NodeId) {
        self.lock().1.remove(node);
    }

    fn lock(&self) -> MutexGuard<'_, (BTreeMap<NodeId, Introduced>, BTreeSet<NodeId>)> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Introduced {
    fn stop(self) {
        if let Some(dialling) = self.dialling {
            dialling.abort();
        }
    }
}

/// Keeps dialling what the seed resolves to, until each of its nodes is linked. One that left is
/// dialled once in a while: it may have started anew without knowing anybody.
pub(crate) async fn dial_seed(shared: Arc<Shared>, seed: String) {
    let mut backoff = Backoff::new(&shared.settings);
    let mut known: BTreeMap<SocketAddr, NodeId> = BTreeMap::new();
    let mut own: BTreeSet<SocketAddr> = BTreeSet::new();
    let mut forgotten_too = false;
    loop {
        let addresses = resolve(&shared, &seed).await;
        known.retain(|address, _| addresses.contains(address));
        for address in &addresses {
            let needs_no_dial = |node: &NodeId| {
                shared.table.is_linked(node)
                    || !forgotten_too && shared.introductions.is_forgotten(node)
            };
            if known.get(address).is_some_and(needs_no_dial) || own.contains(address) {
                continue;
            }
            let (node, dialled) = dial(&shared, *address, None).await;
            if let Err(refusal) = dialled {
                shared.refusals.undialled(address.ip(), &refusal);
                if refusal == Refusal::Own {
                    own.insert(*address);
                }
            }
            known.extend(node.map(|node| (*address, node)));
        }
        let others = || addresses.iter().filter(|address| !own.contains(address));
        let node_of = |address: &SocketAddr| known.get(address);
        let is_linked = |address: &SocketAddr| {
            node_of(address).is_some_and(|node| shared.table.is_linked(node))
        };
        let is_settled = |address: &SocketAddr| {
            let forgotten = |node: &NodeId| shared.introductions.is_forgotten(node);
            is_linked(address) || node_of(address).is_some_and(forgotten)
        };
        forgotten_too = false;
        if others().next().is_some() && others().all(is_settled) {
            let settled_at = Instant::now();
            wait_while(&shared, || others().all(is_linked)).await;
            if others().all(is_settled) {
                let waiting = wait_while(&shared, || others().all(is_settled));
                forgotten_too = timeout(backoff.longest, waiting).await.is_err();
            }
            backoff.lasted(settled_at.elapsed());
        }
        sleep(backoff.pause()).await;
    }
}

/// Keeps dialling the node while it is not linked.
async fn dial_introduced(shared: Arc<Shared>, node: NodeId, address: String) {
    let mut backoff = Backoff::new(&shared.settings);
    loop {
        let waiting_at = Instant::now();
        wait_while(&shared, || shared.table.is_linked(&node)).await;
        backoff.lasted(waiting_at.elapsed());
        for address in resolve(&shared, &address).await {
            match dial(&shared, address, Some(&node)).await.1 {
                Ok(()) => break,
                Err(refusal) => shared.refusals.undialled(address.ip(), &refusal),
            }
        }
        sleep(backoff.pause()).await;
    }
}

async fn wait_while(shared: &Shared, holds: impl Fn() -> bool) {
    let mut changed = shared.table.watch();
    loop {
        changed.borrow_and_update();
        if !holds() || changed.changed().await.is_err() {
            return;
        }
    }
}

async fn resolve(shared: &Shared, name: &str) -> Vec<SocketAddr> {
    let problem = match timeout(HANDSHAKE_LONGEST, lookup_host(name)).await {
        Ok(Ok(addresses)) => {
            let addresses: BTreeSet<SocketAddr> = addresses.take(ADDRESSES_MAX).collect();
            return addresses.into_iter().collect();
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer in time".to_owned(),
    };
    shared.refusals.unresolved(name, &problem);
    Vec::new()
}

/// Dials once for data. Who answered is known even when no link came of it.
async fn dial(
    shared: &Arc<Shared>,
    address: SocketAddr,
    expected: Option<&NodeId>,
) -> (Option<NodeId>, Result<(), Refusal>) {
    let data = shared.identity().data.clone();
    let connection = match connect(shared, data, address).await {
        Ok(connection) => connection,
        Err(refusal) => return (None, Err(refusal)),
    };
    let node = match handshake::peer(shared, &connection) {
        Ok(node) if expected.is_none_or(|expected| *expected == node) => node,
        Ok(_) => return (None, Err(closed(&connection, Refusal::Name))),
        Err(refusal) => return (None, Err(closed(&connection, refusal))),
    };
    let settling = handshake::settle(shared, &connection, &node, true);
    let settled = timeout(HANDSHAKE_LONGEST, settling).await.unwrap_or(Err(Refusal::Slow));
    (Some(node), settled.map_err(|refusal| closed(&connection, refusal)))
}

fn closed(connection: &Connection, refusal: Refusal) -> Refusal {
    refusal.close(connection);
    refusal
}

/// Connects to a server of this cluster.
pub(crate) async fn connect(
    shared: &Shared,
    config: ClientConfig,
    address: SocketAddr,
) -> Result<Connection, Refusal> {
    let server_name = &shared.identity().server_name;
    let connecting = shared
        .endpoint
        .connect_with(config, address, server_name)
        .map_err(|error| Refusal::Lost(error.to_string()))?;
    Ok(timeout(HANDSHAKE_LONGEST, connecting).await.map_err(|_| Refusal::Slow)??)
}

/// The pauses between dials: doubling, with half of each left to chance.
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(settings: &QuicSettings) -> Backoff {
        let first = Duration::from_millis(settings.redial_first_ms);
        let longest = Duration::from_millis(settings.redial_longest_ms);
        Backoff { first, longest, next: first }
    }

    /// Starts anew after something that held for long.
    pub(crate) fn lasted(&mut self, time: Duration) {
        if time >= self.longest {
            self.next = self.first;
        }
    }

    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.longest);
        // The standard library's hash keys are random, and need no further crate.
        let chance = RandomState::new().build_hasher().finish() % 1_000;
        pause / 2 + pause.mul_f64(chance as f64 / 2_000.0)
    }
}
