//! The view of the cluster's members: who told what, and to whom this node has a link.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use headwater_cluster::{
    Incarnation, LinkChange, Member, MemberState, Membership, NodeId, candidates,
};
use tokio::sync::watch;

use super::records::{decode_view, encode_view};
use crate::caller::Caller;

/// How the view is kept up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MembersSettings {
    /// From one telling of the whole view to the next, in ms; changes are told at once.
    pub announce_ms: u64,
}

impl Default for MembersSettings {
    fn default() -> Self {
        MembersSettings { announce_ms: 1_000 }
    }
}

/// A linked node that has told nothing of itself for so long is worth a warning, in ms.
const SILENT_MS: u64 = 5_000;

/// One member as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    pub member: Member,
    pub is_me: bool,
    /// The version spoken with it, while there is a link.
    pub version: Option<u16>,
}

impl MemberView {
    /// Whether requests reach it now.
    pub fn is_reachable(&self) -> bool {
        self.is_me || self.version.is_some()
    }
}

/// Tells the view, as bytes, to one node.
type Announcer = Box<dyn Fn(&NodeId, Vec<u8>) + Send + Sync>;

/// The node's view; cheap to clone.
#[derive(Clone)]
pub struct Members {
    shared: Arc<Shared>,
}

struct Shared {
    caller: Caller,
    settings: MembersSettings,
    announcer: OnceLock<Announcer>,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

struct State {
    view: Membership,
    me: Member,
    links: BTreeMap<NodeId, (Incarnation, u16)>,
}

impl Members {
    /// A view that holds this node alone.
    pub fn new(caller: Caller, me: Member, settings: MembersSettings) -> Members {
        let mut view = Membership::default();
        view.merge(me.clone());
        let state = Mutex::new(State { view, me, links: BTreeMap::new() });
        let (announcer, changed) = (OnceLock::new(), watch::channel(0).0);
        Members { shared: Arc::new(Shared { caller, settings, announcer, state, changed }) }
    }

    /// How views travel; the first announcer stays.
    pub fn announce_by(&self, announcer: impl Fn(&NodeId, Vec<u8>) + Send + Sync + 'static) {
        let _ = self.shared.announcer.set(Box::new(announcer));
    }

    /// This node's own row.
    pub fn me(&self) -> Member {
        self.shared.lock().me.clone()
    }

    /// Every member that this node knows of, in order of name.
    pub fn view(&self) -> Vec<MemberView> {
        let state = self.shared.lock();
        state.view.iter().map(|member| state.seen(member)).collect()
    }

    /// The nodes that may own the key, best first: alive, with capacity, and within reach.
    pub fn candidates(&self, key: &[u8], count: usize) -> Vec<NodeId> {
        let state = self.shared.lock();
        let reachable = state.view.iter().filter(|member| state.seen(member).is_reachable());
        candidates(key, reachable, count).into_iter().cloned().collect()
    }

    /// The other nodes within reach that offer this, the least loaded first.
    pub fn offering(&self, offer: &str) -> Vec<NodeId> {
        self.offering_below(offer, u32::MAX)
    }

    /// Those of them whose load is at most this share of their capacity, in percent.
    pub fn offering_below(&self, offer: &str, load_percent: u32) -> Vec<NodeId> {
        let state = self.shared.lock();
        let able = state.view.iter().filter(|member| {
            member.state == MemberState::Alive
                && state.linked(member).is_some()
                && member.offers.contains(offer)
                && member.load / member.capacity.max(1) <= load_percent
        });
        let share = |member: &Member| member.load.saturating_mul(100) / member.capacity.max(1);
        let mut able: Vec<(u32, NodeId)> =
            able.map(|member| (share(member), member.node.clone())).collect();
        able.sort();
        able.into_iter().map(|(_, node)| node).collect()
    }

    pub fn is_reachable(&self, node: &NodeId) -> bool {
        let state = self.shared.lock();
        *node == state.me.node || state.links.contains_key(node)
    }

    /// Resolves whenever the view or a link changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// Changes this node's own row and tells the others.
    pub fn update(&self, change: impl FnOnce(&mut Member)) {
        let mut state = self.shared.lock();
        let before = state.me.clone();
        change(&mut state.me);
        if state.me == before {
            return;
        }
        state.me.revision += 1;
        let me = state.me.clone();
        state.view.merge(me);
        drop(state);
        self.touch();
        self.announce();
    }

    /// Takes in another node's view. Bytes that are none change nothing.
    pub fn hear(&self, bytes: &[u8]) {
        let Ok(members) = decode_view(bytes) else {
            tracing::warn!("a view of the members that cannot be read was dropped");
            return;
        };
        let mut state = self.shared.lock();
        let mut changed = Vec::new();
        for member in members {
            // About itself a node believes nobody else.
            if member.node != state.me.node && state.view.merge(member.clone()) {
                changed.push(member);
            }
        }
        drop(state);
        if changed.is_empty() {
            return;
        }
        let transport = self.shared.caller.transport();
        for member in changed {
            match member.state {
                MemberState::Left => transport.forget(&member.node),
                _ => transport.introduce(&member.node, &member.address),
            }
        }
        self.touch();
    }

    /// Tells this node's view to everybody within reach.
    pub fn announce(&self) {
        let state = self.shared.lock();
        let nodes: Vec<NodeId> = state.links.keys().cloned().collect();
        let view = encode_view(state.view.iter());
        drop(state);
        let (Ok(view), Some(announcer)) = (view, self.shared.announcer.get()) else { return };
        for node in nodes {
            announcer(&node, view.clone());
        }
    }

    /// Follows the links until the transport is closed.
    pub async fn follow_links(self) {
        while let Some(change) = self.shared.caller.transport().next_change().await {
            match change {
                LinkChange::Up { node, incarnation, version } => {
                    tracing::info!(%node, version, "linked");
                    self.shared.lock().links.insert(node.clone(), (incarnation, version));
                    self.announce();
                    self.expect_word_of(node);
                }
                LinkChange::Down { node, incarnation, why } => {
                    self.shared.caller.lost(&node, &why);
                    let mut state = self.shared.lock();
                    let left = state.view.get(&node).is_some_and(|member| {
                        member.state == MemberState::Left && member.incarnation == incarnation
                    });
                    match left {
                        true => tracing::info!(%node, "the node left"),
                        false => tracing::warn!(%node, why, "the link was lost"),
                    }
                    if state.links.get(&node).is_some_and(|link| link.0 == incarnation) {
                        state.links.remove(&node);
                    }
                }
            }
            self.touch();
        }
    }

    /// Warns when a linked node tells nothing of itself: its control link does not come up.
    fn expect_word_of(&self, node: NodeId) {
        let this = self.clone();
        self.shared.caller.runtime().spawn(async move {
            this.shared.caller.runtime().pause(SILENT_MS).await;
            let state = this.shared.lock();
            if state.links.contains_key(&node) && state.view.get(&node).is_none() {
                tracing::warn!(
                    %node,
                    "linked, but it tells nothing of itself; is its control.secret the cluster's?"
                );
            }
        });
    }

    /// Tells the view again and again until the node ends.
    pub async fn keep_telling(self) {
        loop {
            self.announce();
            self.shared.caller.runtime().pause(self.shared.settings.announce_ms).await;
        }
    }

    fn touch(&self) {
        self.shared.changed.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn seen(&self, member: &Member) -> MemberView {
        let is_me = member.node == self.me.node;
        MemberView { member: member.clone(), is_me, version: self.linked(member) }
    }

    /// The version spoken with this member; `None` while the link is with another life of the
    /// node, of which this row, with its offers and its load, tells nothing.
    fn linked(&self, member: &Member) -> Option<u16> {
        let (incarnation, version) = self.links.get(&member.node)?;
        (*incarnation == member.incarnation).then_some(*version)
    }
}
