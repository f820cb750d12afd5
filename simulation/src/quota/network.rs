//! The network between the simulated nodes: a transport whose envelopes take their time, keep
//! their order within a lane, and are lost with their link.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use async_trait::async_trait;
use headwater_cluster::{
    ByteStream, Envelope, Incarnation, Lane, LinkChange, NodeId, Transport, TransportError,
};

use super::links::Link;
use crate::world::World;

/// Longest ordinary way of an envelope, in ms.
const WAY_MS: u64 = 4;
/// Longest way of a late one, in ms.
const LATE_MS: u64 = 1_500;
/// While nothing passes, an envelope is sent again after at most so long, in ms.
const RESEND_MS: u64 = 300;
/// Most envelopes under way in one direction of a lane.
const LANE_ENVELOPES: usize = 1_024;

/// The network; cheap to clone.
#[derive(Clone)]
pub(super) struct Net {
    pub(super) world: World,
    state: Arc<Mutex<NetState>>,
}

#[derive(Default)]
pub(super) struct NetState {
    pub(super) hosts: BTreeMap<NodeId, Host>,
    /// Directions in which nothing passes, from sender to receiver.
    pub(super) blocked: BTreeSet<(NodeId, NodeId)>,
    /// By both ends, the lesser name first.
    pub(super) links: BTreeMap<(NodeId, NodeId), Link>,
    /// One envelope in so many percent is late.
    late_percent: u64,
}

/// A process's end.
pub(super) struct Host {
    life: u64,
    pub(super) incarnation: Incarnation,
    pub(super) frozen: bool,
    /// Whom it dials.
    pub(super) wants: BTreeSet<NodeId>,
    envelopes: VecDeque<Envelope>,
    changes: VecDeque<LinkChange>,
    wakers: Vec<Waker>,
}

impl Host {
    fn wake(&mut self) {
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
    }

    pub(super) fn tell(&mut self, change: LinkChange) {
        self.changes.push_back(change);
        self.wake();
    }
}

pub(super) fn pair(one: &NodeId, other: &NodeId) -> (NodeId, NodeId) {
    if one < other { (one.clone(), other.clone()) } else { (other.clone(), one.clone()) }
}

impl Net {
    pub(super) fn new(world: &World, late_percent: u64) -> Net {
        let state = NetState { late_percent, ..NetState::default() };
        Net { world: world.clone(), state: Arc::new(Mutex::new(state)) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, NetState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process starts, and dials the seeds.
    pub(super) fn join(
        &self,
        node: &NodeId,
        incarnation: Incarnation,
        seeds: impl IntoIterator<Item = NodeId>,
    ) -> Arc<Port> {
        let host = Host {
            life: incarnation.0,
            incarnation,
            frozen: false,
            wants: seeds.into_iter().filter(|seed| seed != node).collect(),
            envelopes: VecDeque::new(),
            changes: VecDeque::new(),
            wakers: Vec::new(),
        };
        self.lock().hosts.insert(node.clone(), host);
        let net = Mutex::new(Some(self.clone()));
        Arc::new(Port { node: node.clone(), life: incarnation.0, net })
    }

    /// A process is gone, without a word to anybody.
    pub(super) fn remove(&self, node: &NodeId) {
        let mut state = self.lock();
        state.hosts.remove(node);
        for (ends, link) in &mut state.links {
            if ends.0 == *node || ends.1 == *node {
                link.end_mut(ends.0 == *node).up = None;
            }
        }
    }

    pub(super) fn set_frozen(&self, node: &NodeId, frozen: bool) {
        if let Some(host) = self.lock().hosts.get_mut(node) {
            host.frozen = frozen;
        }
    }

    pub(super) fn block(&self, from: &NodeId, to: &NodeId) {
        self.lock().blocked.insert((from.clone(), to.clone()));
    }

    pub(super) fn unblock(&self, from: &NodeId, to: &NodeId) {
        self.lock().blocked.remove(&(from.clone(), to.clone()));
    }

    pub(super) fn heal(&self) {
        let mut state = self.lock();
        state.blocked.clear();
        state.late_percent = 0;
    }

    /// Takes an envelope; a task of the world brings it there.
    fn send(&self, envelope: Envelope) -> Result<(), TransportError> {
        let Envelope { from, to, lane, .. } = &envelope;
        let (from, to, lane) = (from.clone(), to.clone(), *lane);
        let mut state = self.lock();
        let late_percent = state.late_percent;
        let ends = pair(&from, &to);
        let Some(link) = state.links.get_mut(&ends).filter(|link| link.end(ends.0 == from).is_up())
        else {
            return Err(TransportError::Unreachable(to));
        };
        let queue = link.lanes.entry((ends.0 == from, lane)).or_default();
        if queue.len() >= LANE_ENVELOPES {
            return Err(TransportError::Overloaded(to));
        }
        queue.push_back(envelope);
        let generation = link.generation;
        drop(state);
        let late = self.world.percent(late_percent);
        let way_ms = self.world.between(0, if late { LATE_MS } else { WAY_MS });
        let net = self.clone();
        self.world.spawn(async move {
            net.world.sleep(way_ms).await;
            while !net.deliver(&from, &to, lane, generation) {
                net.world.sleep(net.world.between(20, RESEND_MS)).await;
            }
        });
        Ok(())
    }

    /// Brings the first envelope of the lane there, so that none overtakes another. False when
    /// nothing passes just now.
    fn deliver(&self, from: &NodeId, to: &NodeId, lane: Lane, generation: u64) -> bool {
        let mut state = self.lock();
        let is_blocked = state.blocked.contains(&(from.clone(), to.clone()));
        let ends = pair(from, to);
        let Some(link) = state.links.get_mut(&ends).filter(|link| link.generation == generation)
        else {
            return true;
        };
        let heard = link.end(ends.0 == *to).is_up();
        if heard && is_blocked {
            return false;
        }
        let envelope = link.lanes.get_mut(&(ends.0 == *from, lane)).and_then(VecDeque::pop_front);
        if heard && let (Some(host), Some(envelope)) = (state.hosts.get_mut(to), envelope) {
            host.envelopes.push_back(envelope);
            host.wake();
        } else {
            drop(state);
            self.world.count("envelope lost");
        }
        true
    }
}

/// One process's end of the network.
pub(super) struct Port {
    node: NodeId,
    life: u64,
    /// None once closed.
    net: Mutex<Option<Net>>,
}

impl Port {
    fn net(&self) -> Option<Net> {
        self.net.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn close(&self) {
        let net = self.net.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(net);
    }

    async fn next<T>(&self, take: impl Fn(&mut Host) -> Option<T>) -> Option<T> {
        poll_fn(|context| {
            let Some(net) = self.net() else { return Poll::Ready(None) };
            let mut state = net.lock();
            let host = state.hosts.get_mut(&self.node).filter(|host| host.life == self.life);
            let Some(host) = host else { return Poll::Ready(None) };
            if let Some(next) = take(host) {
                return Poll::Ready(Some(next));
            }
            if !host.wakers.iter().any(|known| known.will_wake(context.waker())) {
                host.wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

#[async_trait]
impl Transport for Port {
    async fn send(&self, envelope: Envelope) -> Result<(), TransportError> {
        self.net().ok_or(TransportError::Closed)?.send(envelope)
    }

    async fn receive(&self) -> Option<Envelope> {
        self.next(|host| host.envelopes.pop_front()).await
    }

    async fn open(&self, to: &NodeId) -> Result<Box<dyn ByteStream>, TransportError> {
        Err(TransportError::Unreachable(to.clone()))
    }

    async fn accept(&self) -> Option<(NodeId, Box<dyn ByteStream>)> {
        pending().await
    }

    async fn next_change(&self) -> Option<LinkChange> {
        self.next(|host| host.changes.pop_front()).await
    }

    fn introduce(&self, node: &NodeId, _address: &str) {
        let Some(net) = self.net() else { return };
        if *node != self.node
            && let Some(host) = net.lock().hosts.get_mut(&self.node)
        {
            host.wants.insert(node.clone());
        }
    }

    fn forget(&self, node: &NodeId) {
        let Some(net) = self.net() else { return };
        let mut state = net.lock();
        if let Some(host) = state.hosts.get_mut(&self.node) {
            host.wants.remove(node);
        }
        state.down(&self.node, node, "forgotten");
    }
}
