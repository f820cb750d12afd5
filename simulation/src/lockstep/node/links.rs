//! A node's end of its links: envelopes, streams and their windows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_cluster::{
    Envelope, Incarnation, Lane, LinkChange, NodeId, StreamBroken, TransportError,
};
use tokio::sync::Notify;

use super::Outbox;
use super::stream::{StreamKey, StreamState};
use crate::lockstep::wire::{FromNode, Passing};

/// Envelopes towards one node that its program has not taken yet.
const ENVELOPES_MAX: u32 = 1_024;
/// Taken envelopes are told in groups of this many.
const TAKEN_GROUP: u32 = 32;
const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Streams that one side may have open towards a peer.
const STREAMS_MAX: usize = 256;
/// The protocol's version between simulated nodes.
const VERSION: u16 = 1;

pub(super) struct Links {
    own: NodeId,
    /// Every node by its number.
    names: Vec<NodeId>,
    outbox: Outbox,
    state: Mutex<State>,
    pub(super) received: Notify,
    pub(super) opened: Notify,
    pub(super) changed: Notify,
}

#[derive(Default)]
pub(super) struct State {
    ups: BTreeMap<u8, Up>,
    inbox: VecDeque<(u8, u32, Envelope)>,
    /// Streams that peers opened and the program has not accepted yet.
    waiting: VecDeque<StreamKey>,
    changes: VecDeque<LinkChange>,
    pub(super) streams: BTreeMap<StreamKey, StreamState>,
    last_stream: u64,
}

/// A link that is up.
struct Up {
    round: u32,
    incarnation: Incarnation,
    may_send: u32,
    taken: u32,
}

impl Links {
    pub(super) fn new(own: NodeId, names: Vec<NodeId>, outbox: Outbox) -> Links {
        Links {
            own,
            names,
            outbox,
            state: Mutex::default(),
            received: Notify::new(),
            opened: Notify::new(),
            changed: Notify::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node's number; `None` for this node and for strangers.
    pub(super) fn number(&self, node: &NodeId) -> Option<u8> {
        let number = self.names.iter().position(|name| name == node)?;
        (*node != self.own).then_some(number as u8)
    }

    pub(super) fn name(&self, peer: u8) -> NodeId {
        self.names.get(usize::from(peer)).unwrap_or(&self.own).clone()
    }

    pub(super) fn tell(&self, deed: FromNode) {
        self.outbox.push(deed);
    }

    pub(super) fn pass(&self, peer: u8, round: u32, passing: Passing) {
        self.tell(FromNode::Pass { peer, round, passing });
    }

    pub(super) fn up(&self, peer: u8, round: u32, incarnation: Incarnation) {
        let mut state = self.lock();
        state.ups.insert(peer, Up { round, incarnation, may_send: ENVELOPES_MAX, taken: 0 });
        let change = LinkChange::Up { node: self.name(peer), incarnation, version: VERSION };
        state.changes.push_back(change);
        self.changed.notify_one();
    }

    pub(super) fn down(&self, peer: u8, round: u32, why: &str) {
        let mut state = self.lock();
        if state.ups.get(&peer).is_none_or(|up| up.round != round) {
            return;
        }
        let Some(up) = state.ups.remove(&peer) else { return };
        state.waiting.retain(|key| key.peer != peer);
        let lost = StreamBroken::LinkLost(why.to_owned());
        for (_, stream) in state.streams.iter_mut().filter(|(key, _)| key.peer == peer) {
            stream.break_both(&lost);
        }
        let node = self.name(peer);
        let why = why.to_owned();
        state.changes.push_back(LinkChange::Down { node, incarnation: up.incarnation, why });
        self.changed.notify_one();
    }

    pub(super) fn passed(&self, peer: u8, passing: Passing) {
        let mut state = self.lock();
        let state = &mut *state;
        let Some(up) = state.ups.get_mut(&peer) else { return };
        let round = up.round;
        match passing {
            Passing::Envelope { lane, sequence, payload } => {
                let (from, to) = (self.name(peer), self.own.clone());
                let envelope = Envelope { from, to, lane: Lane(lane), sequence, payload };
                state.inbox.push_back((peer, round, envelope));
                self.received.notify_one();
            }
            Passing::EnvelopesTaken { count } => {
                up.may_send = up.may_send.saturating_add(count).min(ENVELOPES_MAX);
            }
            Passing::StreamOpened { stream } => {
                let key = StreamKey { peer, stream };
                state.streams.insert(key, StreamState::new(round, false));
                state.waiting.push_back(key);
                self.opened.notify_one();
            }
            Passing::StreamBytes { stream, bytes } => {
                state.with_stream(peer, stream, |state| state.arrived(bytes));
            }
            Passing::StreamTaken { stream, bytes } => {
                state.with_stream(peer, stream, |state| state.taken(bytes as usize));
            }
            Passing::StreamFinished { stream } => {
                state.with_stream(peer, stream, StreamState::finished_by_peer);
            }
            Passing::StreamGivenUp { stream, reading, writing } => {
                state.with_stream(peer, stream, |state| state.given_up_by_peer(reading, writing));
            }
        }
    }

    pub(super) fn send(&self, envelope: Envelope) -> Result<(), TransportError> {
        let (given_bytes, allowed_bytes) = (envelope.payload.len(), PAYLOAD_BYTES_MAX);
        if given_bytes > allowed_bytes {
            return Err(TransportError::TooLarge { given_bytes, allowed_bytes });
        }
        let peer = self.number(&envelope.to);
        let mut state = self.lock();
        let Some((peer, up)) = peer.and_then(|peer| Some((peer, state.ups.get_mut(&peer)?))) else {
            return Err(TransportError::Unreachable(envelope.to));
        };
        let Some(may_send) = up.may_send.checked_sub(1) else {
            return Err(TransportError::Overloaded(envelope.to));
        };
        up.may_send = may_send;
        let Envelope { lane, sequence, payload, .. } = envelope;
        self.pass(peer, up.round, Passing::Envelope { lane: lane.0, sequence, payload });
        Ok(())
    }

    pub(super) fn take_envelope(&self) -> Option<Envelope> {
        let mut state = self.lock();
        let (peer, round, envelope) = state.inbox.pop_front()?;
        if let Some(up) = state.ups.get_mut(&peer).filter(|up| up.round == round) {
            up.taken += 1;
            if up.taken == TAKEN_GROUP {
                up.taken = 0;
                self.pass(peer, round, Passing::EnvelopesTaken { count: TAKEN_GROUP });
            }
        }
        Some(envelope)
    }

    pub(super) fn take_change(&self) -> Option<LinkChange> {
        self.lock().changes.pop_front()
    }

    pub(super) fn take_opened(&self) -> Option<StreamKey> {
        self.lock().waiting.pop_front()
    }

    /// Opens a stream towards a node.
    pub(super) fn open(&self, to: &NodeId) -> Result<StreamKey, TransportError> {
        let mut state = self.lock();
        let peer = self.number(to).filter(|peer| state.ups.contains_key(peer));
        let Some(peer) = peer else { return Err(TransportError::Unreachable(to.clone())) };
        let ours = |(key, stream): &(&StreamKey, &StreamState)| key.peer == peer && stream.is_ours;
        if state.streams.iter().filter(ours).count() >= STREAMS_MAX {
            return Err(TransportError::Overloaded(to.clone()));
        }
        state.last_stream += 1;
        // Both ends name a stream by one number: the opener's own number is part of it.
        let own = self.names.iter().position(|name| *name == self.own).unwrap_or_default();
        let stream = ((own as u64) << 48) | state.last_stream;
        let round = state.ups.get(&peer).map_or(0, |up| up.round);
        let key = StreamKey { peer, stream };
        state.streams.insert(key, StreamState::new(round, true));
        self.pass(peer, round, Passing::StreamOpened { stream });
        Ok(key)
    }

    /// Registers a stream that the coordinator opened on both ends.
    pub(super) fn adopt(&self, key: StreamKey, round: u32) {
        self.lock().streams.insert(key, StreamState::new(round, false));
    }
}

impl State {
    fn with_stream(&mut self, peer: u8, stream: u64, what: impl FnOnce(&mut StreamState)) {
        if let Some(state) = self.streams.get_mut(&StreamKey { peer, stream }) {
            what(state);
        }
    }
}

/// A stream's handle keeps the links alive.
pub(super) type SharedLinks = Arc<Links>;
