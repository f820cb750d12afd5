//! The links of the simulated network: they break by silence and come up by redial.

use std::collections::{BTreeMap, VecDeque};

use headwater_cluster::{Envelope, Incarnation, Lane, LinkChange, NodeId};

use super::network::{Net, NetState, pair};
use crate::world::World;

/// An end that heard nothing for so long takes the link for lost, in ms.
const IDLE_MS: u64 = 2_000;
/// How often links are looked at, in ms.
const LOOK_MS: u64 = 100;

/// The link between two nodes.
#[derive(Default)]
pub(super) struct Link {
    /// Tells this connection from those before.
    pub(super) generation: u64,
    /// Of the lesser name, and of the greater.
    ends: [End; 2],
    redial_at_ms: Option<u64>,
    /// What is under way, by direction (whether from the lesser name) and lane.
    pub(super) lanes: BTreeMap<(bool, Lane), VecDeque<Envelope>>,
}

/// One side's idea of the link.
#[derive(Default)]
pub(super) struct End {
    /// The peer that it is linked with.
    pub(super) up: Option<Incarnation>,
    heard_ms: u64,
}

impl End {
    pub(super) fn is_up(&self) -> bool {
        self.up.is_some()
    }
}

impl Link {
    pub(super) fn end(&self, lesser: bool) -> &End {
        &self.ends[usize::from(!lesser)]
    }

    pub(super) fn end_mut(&mut self, lesser: bool) -> &mut End {
        &mut self.ends[usize::from(!lesser)]
    }
}

/// Watches every link until the world ends.
pub(super) async fn watch(net: Net) {
    loop {
        net.world.sleep(LOOK_MS).await;
        let now_ms = net.world.now_ms();
        let mut state = net.lock();
        let nodes: Vec<NodeId> = state.hosts.keys().cloned().collect();
        for (place, one) in nodes.iter().enumerate() {
            for other in &nodes[place + 1..] {
                state.look(&net.world, one, other, now_ms);
            }
        }
        // Links whose other process is gone.
        let ends: Vec<(NodeId, NodeId)> = state.links.keys().cloned().collect();
        for (one, other) in ends {
            if !state.runs(&one) || !state.runs(&other) {
                state.listen(&net.world, &one, &other, now_ms);
                state.listen(&net.world, &other, &one, now_ms);
            }
        }
    }
}

impl NetState {
    fn runs(&self, node: &NodeId) -> bool {
        self.hosts.contains_key(node)
    }

    fn acts(&self, node: &NodeId) -> bool {
        self.hosts.get(node).is_some_and(|host| !host.frozen)
    }

    fn passes(&self, from: &NodeId, to: &NodeId) -> bool {
        !self.blocked.contains(&(from.clone(), to.clone()))
    }

    fn end(&self, node: &NodeId, peer: &NodeId) -> Option<&End> {
        let ends = pair(node, peer);
        self.links.get(&ends).map(|link| link.end(ends.0 == *node))
    }

    fn is_up(&self, node: &NodeId, peer: &NodeId) -> bool {
        self.end(node, peer).is_some_and(End::is_up)
    }

    /// The node's end goes down, if it was up.
    pub(super) fn down(&mut self, node: &NodeId, peer: &NodeId, why: &str) {
        let ends = pair(node, peer);
        let Some(link) = self.links.get_mut(&ends) else { return };
        let Some(incarnation) = link.end_mut(ends.0 == *node).up.take() else { return };
        if let Some(host) = self.hosts.get_mut(node) {
            host.tell(LinkChange::Down { node: peer.clone(), incarnation, why: why.to_owned() });
        }
    }

    fn look(&mut self, world: &World, one: &NodeId, other: &NodeId, now_ms: u64) {
        self.listen(world, one, other, now_ms);
        self.listen(world, other, one, now_ms);
        let wanted = |node: &NodeId, peer: &NodeId| {
            self.hosts.get(node).is_some_and(|host| host.wants.contains(peer))
        };
        let can = !self.is_up(one, other)
            && !self.is_up(other, one)
            && self.acts(one)
            && self.acts(other)
            && self.passes(one, other)
            && self.passes(other, one)
            && (wanted(one, other) || wanted(other, one));
        let link = self.links.entry(pair(one, other)).or_default();
        if !can {
            link.redial_at_ms = None;
            return;
        }
        let at_ms = *link.redial_at_ms.get_or_insert_with(|| now_ms + world.between(0, 900));
        if now_ms >= at_ms {
            link.redial_at_ms = None;
            link.generation += 1;
            link.lanes.clear();
            world.count("link up");
            world.note(format_args!("link up: {one} {other}"));
            self.up(one, other, now_ms);
            self.up(other, one, now_ms);
        }
    }

    fn up(&mut self, node: &NodeId, peer: &NodeId, now_ms: u64) {
        let Some(incarnation) = self.hosts.get(peer).map(|host| host.incarnation) else { return };
        let ends = pair(node, peer);
        if let Some(link) = self.links.get_mut(&ends) {
            *link.end_mut(ends.0 == *node) = End { up: Some(incarnation), heard_ms: now_ms };
        }
        if let Some(host) = self.hosts.get_mut(node) {
            host.tell(LinkChange::Up { node: peer.clone(), incarnation, version: 1 });
        }
    }

    /// The node's end hears its peer, or goes down.
    fn listen(&mut self, world: &World, node: &NodeId, peer: &NodeId, now_ms: u64) {
        if !self.is_up(node, peer) {
            return;
        }
        let heard = self.acts(peer) && self.passes(peer, node);
        if heard && self.is_up(peer, node) {
            let ends = pair(node, peer);
            if let Some(link) = self.links.get_mut(&ends) {
                link.end_mut(ends.0 == *node).heard_ms = now_ms;
            }
        } else if heard && self.acts(node) {
            self.down(node, peer, "closed by the other side");
        }
        let heard_ms = self.end(node, peer).map_or(now_ms, |end| end.heard_ms);
        if self.acts(node) && now_ms.saturating_sub(heard_ms) >= IDLE_MS && self.is_up(node, peer) {
            world.count("link lost by silence");
            world.note(format_args!("link lost by silence: {node} from {peer}"));
            self.down(node, peer, "nothing heard");
        }
    }
}
