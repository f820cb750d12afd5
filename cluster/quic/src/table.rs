//! Which link each node has: at most one, chosen the same way on both sides.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use headwater_cluster::{Incarnation, NodeId};
use tokio::sync::watch;

use crate::changes::Changes;
use crate::link::Link;
use crate::refusal::Refusal;

/// How one link is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkStatus {
    pub node: NodeId,
    pub incarnation: Incarnation,
    /// The protocol that both sides speak.
    pub version: u16,
    /// Where the peer says that it can be reached: host and port.
    pub address: String,
    /// Whether this side dialled.
    pub dialled: bool,
    /// Whether the control connection is up.
    pub control: bool,
    /// The round trip as QUIC estimates it, in microseconds.
    pub rtt_us: u64,
    /// QUIC packets sent to the peer.
    pub sent: u64,
    /// Of these, how many were lost on the way and sent again.
    pub lost: u64,
}

#[derive(Default)]
pub(crate) struct Table {
    nodes: RwLock<Nodes>,
    pub(crate) changes: Changes,
    /// Told each time that a link comes or goes.
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Nodes {
    live: BTreeMap<NodeId, Arc<Link>>,
    /// The highest incarnation that each node ever showed; as many as hold certificates.
    seen: BTreeMap<NodeId, Incarnation>,
    is_closed: bool,
}

impl Nodes {
    fn check(&self, node: &NodeId, incarnation: Incarnation) -> Result<(), Refusal> {
        let is_stale = self.seen.get(node).is_some_and(|seen| *seen > incarnation);
        if is_stale { Err(Refusal::Stale) } else { Ok(()) }
    }
}

impl Table {
    /// Makes this the node's link. The side that decides keeps what it has; the other one follows
    /// each decision that is newer than the one it knows.
    pub(crate) fn admit(&self, link: &Arc<Link>, decides: bool) -> Result<(), Refusal> {
        let mut nodes = self.write();
        if nodes.is_closed {
            return Err(Refusal::Closing);
        }
        nodes.check(&link.node, link.incarnation)?;
        let same = nodes.live.get(&link.node).filter(|old| old.incarnation == link.incarnation);
        let keeps_old = same.is_some_and(|old| {
            if decides { !old.is_closed() } else { old.generation >= link.generation }
        });
        if keeps_old {
            return Err(Refusal::Duplicate);
        }
        nodes.seen.insert(link.node.clone(), link.incarnation);
        let old = nodes.live.insert(link.node.clone(), Arc::clone(link));
        if let Some(old) = &old {
            let why = Refusal::Replaced.to_string();
            self.changes.down(old.node.clone(), old.incarnation, why);
        }
        self.changes.up(link.node.clone(), link.incarnation, link.version);
        drop(nodes);
        if let Some(old) = old {
            old.close(Refusal::Replaced);
        }
        self.changed.send_replace(());
        Ok(())
    }

    /// Whether a newer incarnation of the node has shown itself: this one is then a leftover.
    pub(crate) fn check(&self, node: &NodeId, incarnation: Incarnation) -> Result<(), Refusal> {
        self.read().check(node, incarnation)
    }

    /// Whether this is a start of the node that it has not shown before.
    pub(crate) fn is_new(&self, node: &NodeId, incarnation: Incarnation) -> bool {
        self.read().seen.get(node).is_none_or(|seen| *seen < incarnation)
    }

    /// Takes out this link, if it is still the node's.
    pub(crate) fn remove(&self, link: &Arc<Link>, why: String) {
        let mut nodes = self.write();
        if nodes.live.get(&link.node).is_some_and(|live| Arc::ptr_eq(live, link)) {
            nodes.live.remove(&link.node);
            self.changes.down(link.node.clone(), link.incarnation, why);
        }
        drop(nodes);
        self.changed.send_replace(());
    }

    pub(crate) fn get(&self, node: &NodeId) -> Option<Arc<Link>> {
        self.read().live.get(node).cloned()
    }

    pub(crate) fn is_linked(&self, node: &NodeId) -> bool {
        self.read().live.get(node).is_some_and(|link| !link.is_closed())
    }

    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Wakes those who watch, for a reason outside the table.
    pub(crate) fn touch(&self) {
        self.changed.send_replace(());
    }

    /// Ends every link and admits no further one.
    pub(crate) fn close(&self) {
        let mut nodes = self.write();
        nodes.is_closed = true;
        let live = std::mem::take(&mut nodes.live);
        for link in live.values() {
            let why = Refusal::Closing.to_string();
            self.changes.down(link.node.clone(), link.incarnation, why);
        }
        self.changes.close();
        drop(nodes);
        live.values().for_each(|link| link.close(Refusal::Closing));
    }

    pub(crate) fn statuses(&self) -> Vec<LinkStatus> {
        let links: Vec<Arc<Link>> = self.read().live.values().cloned().collect();
        let status = |link: &Arc<Link>| {
            let path = link.connection.stats().path;
            LinkStatus {
                node: link.node.clone(),
                incarnation: link.incarnation,
                version: link.version,
                address: link.advertise.clone(),
                dialled: link.dialled,
                control: link.has_control(),
                rtt_us: path.rtt.as_micros().try_into().unwrap_or(u64::MAX),
                sent: path.sent_packets,
                lost: path.lost_packets,
            }
        };
        links.iter().map(status).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Nodes> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Nodes> {
        self.nodes.write().unwrap_or_else(PoisonError::into_inner)
    }
}
