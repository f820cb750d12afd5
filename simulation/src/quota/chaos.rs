//! What goes wrong in a run, episode by episode: cuts, outages, frozen and dying processes,
//! nodes that leave and come back, changing limits, jumping clocks.

use std::sync::atomic::Ordering;

use headwater_cluster::{MemberState, NodeId};
use headwater_tenancy::{Limit, Limits};

use super::client::Crowd;
use super::node::{Life, Place};
use super::options::JUMPS_MS;
use crate::world::World;

/// One kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Episode {
    /// Nothing passes between a node and all others.
    Isolated,
    /// The nodes fall into two parts.
    Split,
    /// Nothing passes from one node to another, but the other way it does.
    OneWay,
    /// The store does not answer one node.
    StoreCut,
    /// A node is cut from the others and the store.
    Alone,
    StoreDown,
    StoreSlow,
    Kill,
    Freeze,
    /// A node leaves in good order and comes back.
    Drain,
    LimitsChange,
    /// A wall clock jumps further than clocks may differ.
    ClockJump,
}

/// The longest of an episode that breaks connections, in ms: longer than an outage may last.
const LONGEST_MS: u64 = 16_000;
/// The longest that a process stands still, in ms.
const FREEZE_MS: u64 = 7_000;
/// How long a leaving node may take for each step, in ms.
const DRAIN_MS: u64 = 6_000;

/// Makes trouble until the world heals.
pub(super) async fn make(crowd: Crowd) {
    let world = crowd.world.clone();
    let options = crowd.cluster.options.clone();
    if options.episodes.is_empty() {
        return;
    }
    let (least_ms, most_ms) = options.calm_ms;
    loop {
        world.sleep(world.between(least_ms, most_ms)).await;
        if world.now_ms() >= options.heal_ms {
            return;
        }
        let place = world.between(0, options.episodes.len() as u64 - 1) as usize;
        let episode = options.episodes[place];
        let acting = crowd.clone();
        match options.one_by_one {
            true => act(acting, episode).await,
            false => world.spawn(async move { act(acting, episode).await }),
        }
    }
}

fn any<T: Clone>(world: &World, among: &[T]) -> Option<T> {
    let last = (among.len() as u64).checked_sub(1)?;
    among.get(world.between(0, last) as usize).cloned()
}

async fn act(crowd: Crowd, episode: Episode) {
    let world = crowd.world.clone();
    let left_ms = crowd.cluster.options.heal_ms.saturating_sub(world.now_ms());
    let lasts_ms = world.between(100, LONGEST_MS).min(left_ms);
    let Some(life) = any(&world, &crowd.cluster.lives()) else { return };
    let node = life.place.node.clone();
    world.note(format_args!("{episode:?} {node} for {lasts_ms} ms"));
    let store = crowd.cluster.store.clone();
    match episode {
        Episode::Isolated => cut(&crowd, &[node], lasts_ms, true).await,
        Episode::Split => {
            let nodes = crowd.cluster.places.iter().map(|place| place.node.clone());
            let part: Vec<NodeId> = nodes.filter(|_| world.percent(50)).collect();
            cut(&crowd, &part, lasts_ms, true).await;
        }
        Episode::OneWay => cut(&crowd, &[node], lasts_ms, false).await,
        Episode::StoreCut => {
            world.count("node cut from the store");
            life.door.cut(true);
            world.sleep(lasts_ms).await;
            life.door.cut(false);
        }
        Episode::Alone => {
            world.count("node alone");
            life.door.cut(true);
            cut(&crowd, &[node], lasts_ms, true).await;
            life.door.cut(false);
        }
        Episode::StoreDown => {
            store.set_down(true);
            world.sleep(lasts_ms).await;
            store.set_down(false);
        }
        Episode::StoreSlow => {
            store.set_slow(true);
            world.sleep(lasts_ms).await;
            store.set_slow(false);
        }
        Episode::Kill => {
            world.count("node killed");
            restart(&crowd, &life).await;
        }
        Episode::Freeze => freeze(&crowd, &life, left_ms).await,
        Episode::Drain => drain(&crowd, &life).await,
        Episode::LimitsChange => change_limits(&crowd, &life).await,
        Episode::ClockJump => {
            if life.place.step(world.between(300, 4_000), JUMPS_MS) {
                world.count("clock jumped");
            }
        }
    }
}

/// Cuts a part of the nodes from the rest, in both directions or one.
async fn cut(crowd: &Crowd, part: &[NodeId], lasts_ms: u64, both: bool) {
    crowd.world.count(if both { "nodes cut off" } else { "nodes cut off one way" });
    let net = &crowd.cluster.net;
    let rest = crowd.cluster.places.iter().map(|place| place.node.clone());
    let rest: Vec<NodeId> = rest.filter(|node| !part.contains(node)).collect();
    let pairs: Vec<(&NodeId, &NodeId)> =
        part.iter().flat_map(|one| rest.iter().map(move |other| (one, other))).collect();
    for (one, other) in &pairs {
        net.block(one, other);
        if both {
            net.block(other, one);
        }
    }
    crowd.world.sleep(lasts_ms).await;
    for (one, other) in &pairs {
        net.unblock(one, other);
        net.unblock(other, one);
    }
}

async fn freeze(crowd: &Crowd, life: &Life, left_ms: u64) {
    let world = &crowd.world;
    let node = &life.place.node;
    world.count("node frozen");
    world.freeze(life.group);
    crowd.cluster.net.set_frozen(node, true);
    world.sleep(world.between(50, FREEZE_MS).min(left_ms)).await;
    world.thaw(life.group);
    if crowd.cluster.life(node).is_some_and(|running| running.number == life.number) {
        crowd.cluster.net.set_frozen(node, false);
    }
}

/// Kills a process and starts the next one of its node.
async fn restart(crowd: &Crowd, life: &Life) {
    crowd.cluster.kill(life);
    crowd.world.sleep(crowd.world.between(100, 5_000)).await;
    let place: &Place = &life.place;
    if crowd.cluster.life(&place.node).is_none() {
        crowd.start(place);
    }
}

/// A node leaves as the real one does: it says so, gives its tenants away, writes everything
/// down, says goodbye and ends.
async fn drain(crowd: &Crowd, life: &Life) {
    let world = &crowd.world;
    if life.leaving.swap(true, Ordering::Relaxed) {
        return;
    }
    life.members.update(|me| me.state = MemberState::Draining);
    world.sleep(world.between(0, 50)).await;
    let had = life.owners.tenants().len();
    let handed = world.within(DRAIN_MS, life.owners.hand_all_over()).await.is_some();
    if handed && had > 0 {
        world.count("tenants handed over by a leaving node");
    }
    let told = world.within(2 * DRAIN_MS, life.handle.drain(DRAIN_MS)).await.unwrap_or(false);
    let runs = crowd.cluster.life(&life.place.node);
    if told && runs.is_some_and(|running| running.number == life.number) {
        world.count("node drained");
        for (tag, request) in crowd.diary.settled(life.number) {
            if !crowd.books.has(&request.tenant, tag) {
                let seen = format!("process {} left without writing {tag}", life.number);
                world.violated("a_drained_node_loses_nothing", seen);
            }
        }
    }
    life.members.update(|me| me.state = MemberState::Left);
    world.sleep(100).await;
    restart(crowd, life).await;
}

/// New amounts for the same limits.
async fn change_limits(crowd: &Crowd, life: &Life) {
    let world = &crowd.world;
    let limited: Vec<_> =
        crowd.cluster.options.tenants.iter().filter(|tenant| !tenant.limits.is_empty()).collect();
    let Some(tenant) = any(world, &limited) else { return };
    let amount = |limit: &Limit| limit.amount * world.between(60, 150) / 100;
    let limits = tenant.limits.iter().map(|limit| Limit { amount: amount(limit), ..limit.clone() });
    let limits = Limits { revision: 0, limits: limits.collect() };
    let set = life.handle.set_limits(&tenant.name, limits);
    if let Some(Ok(revision)) = world.within(10_000, set).await {
        world.count("limits changed");
        world.note(format_args!("limits of {} have revision {revision}", tenant.name));
    }
}
