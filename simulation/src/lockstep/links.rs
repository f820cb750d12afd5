//! The links between nodes: dialled, lost after the idle timeout, dialled again.

use std::collections::BTreeMap;

use super::chance::Chance;
use super::conditions::Conditions;
use super::outcome::{LineKind, Trace};
use super::queues::Queues;
use super::wire::{Passing, ToNode};

/// A link on which nothing is heard for so long is down, as QUIC has it.
pub(super) const IDLE_TIMEOUT_MS: u64 = 2_000;
/// How long a node waits before it dials for the first time.
const FIRST_DIAL_MS: (u64, u64) = (5, 50);
/// How long it waits after a link was lost.
const REDIAL_MS: (u64, u64) = (100, 1_000);
/// Tells the coordinator's streams from those that nodes open.
const CONTROL_STREAM: u64 = 1 << 63;

/// The two ends of a link, the lower one first.
type Pair = (usize, usize);

pub(super) struct Links {
    chance: Chance,
    links: BTreeMap<Pair, Link>,
    control_streams: u64,
}

struct Link {
    /// Whether each end wants it.
    wanted: [bool; 2],
    dial_ms: u64,
    rounds: u32,
    up: Option<Up>,
}

struct Up {
    round: u32,
    /// Of both ends, when it came up.
    incarnations: [u64; 2],
    /// Since when nothing passes in at least one direction.
    silent_since_ms: Option<u64>,
    control: Option<u64>,
    control_dial_ms: u64,
}

/// What a step needs beside the links.
pub(super) struct Scene<'a> {
    pub(super) now_ms: u64,
    pub(super) conditions: &'a Conditions,
    pub(super) queues: &'a mut Queues,
    pub(super) trace: &'a mut Trace,
}

impl Links {
    pub(super) fn new(seed: u64, nodes: usize) -> Links {
        let pairs = (0..nodes).flat_map(|a| (a + 1..nodes).map(move |b| (a, b)));
        let link = || Link { wanted: [false; 2], dial_ms: 0, rounds: 0, up: None };
        let links = pairs.map(|pair| (pair, link())).collect();
        Links { chance: Chance::of(seed, "links"), links, control_streams: 0 }
    }

    fn link(&mut self, node: usize, peer: usize) -> Option<(&mut Link, usize)> {
        let link = self.links.get_mut(&(node.min(peer), node.max(peer)))?;
        Some((link, usize::from(node > peer)))
    }

    pub(super) fn introduce(&mut self, node: usize, peer: usize, now_ms: u64) {
        let wait_ms = self.chance.between(FIRST_DIAL_MS.0, FIRST_DIAL_MS.1);
        let Some((link, end)) = self.link(node, peer) else { return };
        if !link.wanted[end] {
            link.wanted[end] = true;
            link.dial_ms = now_ms + wait_ms;
        }
    }

    pub(super) fn forget(&mut self, node: usize, peer: usize, scene: &mut Scene<'_>) {
        let Some((link, end)) = self.link(node, peer) else { return };
        link.wanted[end] = false;
        let pair = (node.min(peer), node.max(peer));
        let dial_ms = scene.now_ms + self.chance.between(REDIAL_MS.0, REDIAL_MS.1);
        if let Some(link) = self.links.get_mut(&pair) {
            link.go_down(pair, "one side forgot the other", dial_ms, scene);
        }
    }

    /// A node's process died: it wants nothing any more until it says so again.
    pub(super) fn died(&mut self, node: usize) {
        for ((a, b), link) in &mut self.links {
            if *a == node {
                link.wanted[0] = false;
            }
            if *b == node {
                link.wanted[1] = false;
            }
        }
    }

    /// A node closed its control stream; another one is opened a while later.
    pub(super) fn control_closed(&mut self, node: usize, peer: usize, stream: u64, now_ms: u64) {
        let wait_ms = self.chance.between(REDIAL_MS.0, REDIAL_MS.1);
        let Some((link, _)) = self.link(node, peer) else { return };
        if let Some(up) = link.up.as_mut().filter(|up| up.control == Some(stream)) {
            up.control = None;
            up.control_dial_ms = now_ms + wait_ms;
        }
    }

    /// Sends between two nodes, if the sender's link is still the same.
    pub(super) fn pass(
        &mut self,
        (from, to): (usize, usize),
        round: u32,
        passing: Passing,
        scene: &mut Scene<'_>,
    ) {
        let Some((link, end)) = self.link(from, to) else { return };
        let incarnations = &scene.conditions.incarnations;
        let same = |up: &&Up| up.round == round && up.incarnations[1 - end] == incarnations[to];
        if link.up.as_ref().filter(same).is_some() {
            scene.queues.send(from, to, scene.now_ms, passing);
        } else {
            scene.trace.count("message lost with its link");
        }
    }

    /// Lets links go down and come up.
    pub(super) fn step(&mut self, scene: &mut Scene<'_>) {
        for (pair, link) in &mut self.links {
            let linked = scene.conditions.is_linked(pair.0, pair.1);
            let incarnations = pair_of(&scene.conditions.incarnations, *pair);
            let fresh = link.up.as_ref().is_some_and(|up| up.incarnations == incarnations);
            if let Some(up) = &mut link.up {
                let passes = linked && fresh;
                up.silent_since_ms = match (passes, up.silent_since_ms) {
                    (true, _) => None,
                    (false, since) => Some(since.unwrap_or(scene.now_ms)),
                };
                let silent_ms = up.silent_since_ms.map_or(0, |since| scene.now_ms - since);
                if silent_ms >= IDLE_TIMEOUT_MS {
                    let dial_ms = scene.now_ms + self.chance.between(REDIAL_MS.0, REDIAL_MS.1);
                    link.go_down(*pair, "nothing heard for the idle timeout", dial_ms, scene);
                }
            }
            // Whoever lost the link's other end does not know it; the restarted end dials.
            let stale_end = link.up.as_ref().map(|up| up.incarnations != incarnations);
            let wants = match (&link.up, stale_end) {
                (Some(up), Some(true)) => {
                    (0..2).any(|end| link.wanted[end] && up.incarnations[end] != incarnations[end])
                }
                (Some(_), _) => false,
                (None, _) => link.wanted[0] || link.wanted[1],
            };
            if !wants || scene.now_ms < link.dial_ms {
                continue;
            }
            link.dial_ms = scene.now_ms + self.chance.between(REDIAL_MS.0, REDIAL_MS.1);
            if linked {
                let dial_ms = link.dial_ms;
                link.go_down(*pair, "the other side was started anew", dial_ms, scene);
                link.come_up(*pair, incarnations, scene);
            }
        }
        self.dial_controls(scene);
    }

    fn dial_controls(&mut self, scene: &mut Scene<'_>) {
        for (pair, link) in &mut self.links {
            let Some(up) = &mut link.up else { continue };
            let is_due = up.control.is_none() && scene.now_ms >= up.control_dial_ms;
            let passes = up.silent_since_ms.is_none();
            if !is_due || !passes || !scene.conditions.is_linked(pair.0, pair.1) {
                continue;
            }
            self.control_streams += 1;
            let stream = CONTROL_STREAM | self.control_streams;
            up.control = Some(stream);
            let first_dials = match link.wanted {
                [true, true] => self.chance.percent(50),
                [first, _] => first,
            };
            for (node, peer, dialled) in
                [(pair.0, pair.1, first_dials), (pair.1, pair.0, !first_dials)]
            {
                let (peer, round) = (peer as u8, up.round);
                let event = ToNode::ControlOpened { peer, round, stream, dialled };
                scene.queues.tell(node, scene.now_ms, event);
            }
        }
    }
}

impl Link {
    fn come_up(&mut self, pair: Pair, incarnations: [u64; 2], scene: &mut Scene<'_>) {
        self.rounds += 1;
        let round = self.rounds;
        self.up = Some(Up {
            round,
            incarnations,
            silent_since_ms: None,
            control: None,
            control_dial_ms: 0,
        });
        for (node, peer, incarnation) in
            [(pair.0, pair.1, incarnations[1]), (pair.1, pair.0, incarnations[0])]
        {
            let event = ToNode::LinkUp { peer: peer as u8, round, incarnation };
            scene.queues.tell(node, scene.now_ms, event);
        }
        scene.trace.count("link up");
        let text = format!("link n{} - n{} up", pair.0 + 1, pair.1 + 1);
        scene.trace.add(scene.now_ms, "net", LineKind::Network, text);
    }

    fn go_down(&mut self, pair: Pair, why: &str, dial_ms: u64, scene: &mut Scene<'_>) {
        let Some(up) = self.up.take() else { return };
        self.dial_ms = dial_ms;
        let lost = scene.queues.lose(pair.0, pair.1);
        let incarnations = pair_of(&scene.conditions.incarnations, pair);
        for (end, (node, peer)) in [(pair.0, pair.1), (pair.1, pair.0)].into_iter().enumerate() {
            let lives = !scene.conditions.dead.contains(&node);
            if lives && incarnations[end] == up.incarnations[end] {
                let (peer, round, why) = (peer as u8, up.round, why.to_owned());
                scene.queues.tell(node, scene.now_ms, ToNode::LinkDown { peer, round, why });
            }
        }
        scene.trace.count("link down");
        let text =
            format!("link n{} - n{} down: {why}; {lost} messages lost", pair.0 + 1, pair.1 + 1);
        scene.trace.add(scene.now_ms, "net", LineKind::Network, text);
    }
}

fn pair_of(incarnations: &[u64], pair: Pair) -> [u64; 2] {
    [pair.0, pair.1].map(|node| incarnations.get(node).copied().unwrap_or_default())
}
