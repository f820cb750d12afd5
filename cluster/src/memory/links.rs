//! Who is connected with whom in the double, what waits for each node, and its open streams.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::task::Waker;

use crate::member::{Incarnation, NodeId};
use crate::transport::{Envelope, LinkChange, StreamBroken, TransportError};

use super::MemoryLimits;
use super::stream::Pipes;

/// The one version of the protocol that the double speaks.
const VERSION: u16 = 1;

/// Decides which envelope is lost; a test draws from its own seed.
type Loss = Box<dyn FnMut(&Envelope) -> bool + Send>;

#[derive(Default)]
pub(super) struct Links {
    inboxes: BTreeMap<NodeId, Inbox>,
    /// Directions in which nothing passes, as sender and receiver.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Who forgot whom.
    forgotten: BTreeSet<(NodeId, NodeId)>,
    pub(super) streams: BTreeMap<u64, Pipes>,
    pub(super) loss: Option<Loss>,
    /// Counts joinings and streams, to name them.
    counted: u64,
    pub(super) woken: Vec<Waker>,
}

/// What waits for one node.
pub(super) struct Inbox {
    /// Which joining made it: a node that joined anew has another one.
    joining: u64,
    incarnation: Incarnation,
    pub(super) envelopes: VecDeque<Envelope>,
    pub(super) streams: VecDeque<(NodeId, u64)>,
    pub(super) changes: VecDeque<LinkChange>,
    /// The nodes that this one was told to be linked with, and which joining of them.
    linked: BTreeMap<NodeId, (u64, Incarnation)>,
    wakers: Vec<Waker>,
}

impl Inbox {
    fn new(joining: u64, incarnation: Incarnation) -> Inbox {
        Inbox {
            joining,
            incarnation,
            envelopes: VecDeque::new(),
            streams: VecDeque::new(),
            changes: VecDeque::new(),
            linked: BTreeMap::new(),
            wakers: Vec::new(),
        }
    }

    pub(super) fn wait(&mut self, waker: &Waker) {
        if !self.wakers.iter().any(|known| known.will_wake(waker)) {
            self.wakers.push(waker.clone());
        }
    }

    /// An `Up` that nobody read yet and its `Down` cancel out, so that the queue stays bounded.
    fn down(&mut self, node: &NodeId, incarnation: Incarnation, why: &str) {
        let unread = self
            .changes
            .iter()
            .rposition(|change| matches!(change, LinkChange::Up { node: up, .. } if up == node));
        if let Some(index) = unread {
            self.changes.remove(index);
            return;
        }
        let (node, why) = (node.clone(), why.to_owned());
        self.changes.push_back(LinkChange::Down { node, incarnation, why });
    }
}

impl Links {
    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.inboxes.keys().cloned().collect()
    }

    /// The inbox of this joining of the node, if it has not been closed or replaced.
    pub(super) fn inbox(&mut self, node: &NodeId, joining: u64) -> Option<&mut Inbox> {
        self.inboxes.get_mut(node).filter(|inbox| inbox.joining == joining)
    }

    pub(super) fn take_woken(&mut self) -> Vec<Waker> {
        mem::take(&mut self.woken)
    }

    pub(super) fn join(&mut self, node: &NodeId, incarnation: Incarnation) -> u64 {
        self.counted += 1;
        let joining = self.counted;
        self.remove(node, "the node was started anew");
        self.forgotten.retain(|(by, of)| by != node && of != node);
        self.inboxes.insert(node.clone(), Inbox::new(joining, incarnation));
        self.refresh("");
        joining
    }

    pub(super) fn leave(&mut self, node: &NodeId, joining: u64) {
        if self.inbox(node, joining).is_some() {
            self.remove(node, "the node was closed");
        }
    }

    fn remove(&mut self, node: &NodeId, why: &str) {
        if let Some(inbox) = self.inboxes.remove(node) {
            self.woken.extend(inbox.wakers);
            self.refresh(why);
            // Nobody will hold, and so drop, the other end of what was never accepted.
            for (_, id) in inbox.streams {
                self.drop_end(id, 1);
            }
        }
    }

    pub(super) fn cut(&mut self, from: &NodeId, to: &NodeId) {
        self.cut.insert((from.clone(), to.clone()));
        self.refresh("the direction was cut");
    }

    pub(super) fn mend(&mut self, from: &NodeId, to: &NodeId) {
        self.cut.remove(&(from.clone(), to.clone()));
        self.refresh("");
    }

    pub(super) fn forget(&mut self, node: &NodeId, joining: u64, other: &NodeId) {
        if self.inbox(node, joining).is_some() {
            self.forgotten.insert((node.clone(), other.clone()));
            self.refresh("the node was forgotten");
        }
    }

    pub(super) fn introduce(&mut self, node: &NodeId, joining: u64, other: &NodeId) {
        if self.inbox(node, joining).is_some() {
            self.forgotten.remove(&(node.clone(), other.clone()));
            self.refresh("");
        }
    }

    fn passes(&self, from: &NodeId, to: &NodeId) -> bool {
        let direction = (from.clone(), to.clone());
        let back = (to.clone(), from.clone());
        !self.cut.contains(&direction)
            && !self.forgotten.contains(&direction)
            && !self.forgotten.contains(&back)
    }

    /// Tells each node what became of its links, and breaks the streams over lost ones.
    fn refresh(&mut self, why: &str) {
        let joined: BTreeMap<NodeId, (u64, Incarnation)> = self
            .inboxes
            .iter()
            .map(|(node, inbox)| (node.clone(), (inbox.joining, inbox.incarnation)))
            .collect();
        for node in joined.keys() {
            let reached: BTreeMap<NodeId, (u64, Incarnation)> = joined
                .iter()
                .filter(|(other, _)| *other != node && self.passes(node, other))
                .map(|(other, joining)| (other.clone(), *joining))
                .collect();
            let Some(inbox) = self.inboxes.get_mut(node) else { continue };
            if reached == inbox.linked {
                continue;
            }
            let known = mem::replace(&mut inbox.linked, reached.clone());
            for (other, (_, incarnation)) in
                known.iter().filter(|(other, joining)| reached.get(*other) != Some(*joining))
            {
                inbox.down(other, *incarnation, why);
            }
            for (other, (_, incarnation)) in
                reached.iter().filter(|(other, joining)| known.get(*other) != Some(*joining))
            {
                let (node, incarnation) = (other.clone(), *incarnation);
                inbox.changes.push_back(LinkChange::Up { node, incarnation, version: VERSION });
            }
            self.woken.append(&mut inbox.wakers);
        }
        self.break_streams(&joined, why);
    }

    fn break_streams(&mut self, joined: &BTreeMap<NodeId, (u64, Incarnation)>, why: &str) {
        let mut streams = mem::take(&mut self.streams);
        for pipes in streams.values_mut() {
            let is_joined = |(node, joining): &(NodeId, u64)| {
                joined.get(node).is_some_and(|(current, _)| current == joining)
            };
            let (a, b) = (&pipes.ends[0].0, &pipes.ends[1].0);
            let passes = self.passes(a, b) && self.passes(b, a);
            if !(passes && pipes.ends.iter().all(is_joined)) {
                pipes.break_off(&StreamBroken::LinkLost(why.to_owned()), &mut self.woken);
            }
        }
        self.streams = streams;
    }

    pub(super) fn drop_end(&mut self, id: u64, end: usize) {
        let Some(pipes) = self.streams.get_mut(&id) else { return };
        if pipes.drop_end(end, &mut self.woken) {
            self.streams.remove(&id);
        }
    }

    pub(super) fn send(
        &mut self,
        node: &NodeId,
        joining: u64,
        envelope: Envelope,
        limits: MemoryLimits,
    ) -> Result<(), TransportError> {
        if self.inbox(node, joining).is_none() {
            return Err(TransportError::Closed);
        }
        let (given_bytes, allowed_bytes) = (envelope.payload.len(), limits.payload_bytes);
        if given_bytes > allowed_bytes {
            return Err(TransportError::TooLarge { given_bytes, allowed_bytes });
        }
        let passes = self.passes(node, &envelope.to);
        let inbox = self.inboxes.get_mut(&envelope.to).filter(|_| passes);
        let Some(inbox) = inbox else { return Err(TransportError::Unreachable(envelope.to)) };
        if inbox.envelopes.len() >= limits.queue_envelopes {
            return Err(TransportError::Overloaded(envelope.to));
        }
        if self.loss.as_mut().is_some_and(|loss| loss(&envelope)) {
            return Ok(());
        }
        inbox.envelopes.push_back(envelope);
        self.woken.append(&mut inbox.wakers);
        Ok(())
    }

    /// Opens a stream and returns its number. A node has no stream to itself.
    pub(super) fn open(
        &mut self,
        node: &NodeId,
        joining: u64,
        to: &NodeId,
        limits: MemoryLimits,
    ) -> Result<u64, TransportError> {
        if self.inbox(node, joining).is_none() {
            return Err(TransportError::Closed);
        }
        let passes = node != to && self.passes(node, to) && self.passes(to, node);
        let Some(inbox) = self.inboxes.get_mut(to).filter(|_| passes) else {
            return Err(TransportError::Unreachable(to.clone()));
        };
        let ends = [(node.clone(), joining), (to.clone(), inbox.joining)];
        if self.streams.values().filter(|pipes| pipes.ends == ends).count() >= limits.streams {
            return Err(TransportError::Overloaded(to.clone()));
        }
        self.counted += 1;
        inbox.streams.push_back((node.clone(), self.counted));
        self.woken.append(&mut inbox.wakers);
        self.streams.insert(self.counted, Pipes::new(ends, limits.stream_bytes.max(1)));
        Ok(self.counted)
    }
}
