//! The plan for a thousand nodes, tried out: views that spread as rumours.
//!
//! Today every node tells its whole view to every other one each second, which is right for some
//! ten nodes. With a thousand that would be a million messages of a thousand rows. Here each node
//! tells a few others at a time, a few rows in a message, each row a number of times that grows
//! with the logarithm of the cluster (Demers and others, "Epidemic algorithms for replicated
//! database maintenance", 1987; Das and others, "SWIM", 2002); now and then two nodes compare
//! their whole views, so that what a rumour missed arrives too. The rows and the rule by which
//! they merge are the real ones.

use std::collections::{BTreeMap, BTreeSet};

use headwater_cluster::{Incarnation, Member, MemberState, Membership, NodeId, ProtocolRange};

use crate::outcome::Outcome;
use crate::world::World;

/// Nodes that hear of one node in one period.
const FANOUT: u64 = 3;
/// Most rows in one message: about 4 KB.
const ROWS_MAX: usize = 32;
/// A row is told so often for each doubling of the cluster.
const TELLINGS_PER_DOUBLING: u32 = 3;
/// Periods in which rows change and messages get lost.
const TROUBLE_PERIODS: u64 = 15;
/// Periods after which every view must be the same.
const CALM_PERIODS: u64 = 60;
/// Share of nodes that compare their whole view with another in a period, in percent.
const COMPARISONS_PERCENT: u64 = 3;

/// What must happen in some of many seeds.
pub(crate) const SOMETIMES: &[&str] = &[
    "a thousand nodes",
    "message lost",
    "node died",
    "node left",
    "row changed",
    "views compared",
];

struct Node {
    view: Membership,
    /// Rows that are news, with how often each is yet to be told.
    news: BTreeMap<NodeId, u32>,
    dead: bool,
}

/// Runs the workload under one seed.
pub(crate) fn run(seed: u64) -> Outcome {
    let world = World::new(seed);
    let large = world.percent(3);
    let count = if large { 1_000 } else { world.between(20, 200) };
    let loss = world.between(0, 30);
    let mut nodes = start(count);
    let mut cluster = Cluster { world: &world, nodes: &mut nodes, loss, rows: 0, messages: 0 };
    if large {
        world.count("a thousand nodes");
    }
    for _ in 0..TROUBLE_PERIODS {
        cluster.trouble();
        cluster.period();
    }
    cluster.loss = 0;
    let mut agreed = None;
    for period in 0..CALM_PERIODS {
        if cluster.agrees() {
            agreed = Some(period);
            break;
        }
        cluster.period();
    }
    let (rows, messages) = (cluster.rows, cluster.messages);
    match agreed {
        Some(periods) => world.note(format_args!(
            "{count} nodes agree {periods} periods after the last change; {messages} messages of \
             {:.1} rows",
            rows as f64 / messages.max(1) as f64
        )),
        None => world.violated("every_view_agrees_in_the_end", format_args!("{count} nodes")),
    }
    let (trace, counts, violations) = world.take_notes();
    let options = format!("{count} nodes, {loss} % of messages lost");
    Outcome { seed, options, counts, violations, trace }
}

fn start(count: u64) -> Vec<Node> {
    let member = |number: u64| {
        let node = NodeId::new(format!("n{number}")).ok()?;
        Some(Member {
            node,
            incarnation: Incarnation(1),
            state: MemberState::Alive,
            revision: 0,
            address: String::new(),
            capacity: 1,
            load: 0,
            offers: BTreeSet::new(),
            versions: ProtocolRange { oldest: 1, newest: 1 },
        })
    };
    let mut view = Membership::default();
    for member in (0..count).filter_map(member) {
        view.merge(member);
    }
    (0..count).map(|_| Node { view: view.clone(), news: BTreeMap::new(), dead: false }).collect()
}

struct Cluster<'a> {
    world: &'a World,
    nodes: &'a mut Vec<Node>,
    loss: u64,
    rows: u64,
    messages: u64,
}

impl Cluster<'_> {
    fn tellings(&self) -> u32 {
        TELLINGS_PER_DOUBLING * (u64::BITS - (self.nodes.len() as u64).leading_zeros())
    }

    fn place(&self) -> usize {
        self.world.between(0, self.nodes.len() as u64 - 1) as usize
    }

    /// Some nodes tell something new of themselves, one may leave, one may die.
    fn trouble(&mut self) {
        for _ in 0..self.world.between(0, 5) {
            let place = self.place();
            let left = self.world.percent(10);
            self.change(place, |row| {
                row.revision += 1;
                if left {
                    row.state = MemberState::Left;
                }
            });
            self.world.count(if left { "node left" } else { "row changed" });
        }
        let alive = self.nodes.iter().filter(|node| !node.dead).count();
        if self.world.percent(10) && alive > self.nodes.len() / 2 {
            let place = self.place();
            self.nodes[place].dead = true;
            self.world.count("node died");
        }
    }

    fn change(&mut self, place: usize, change: impl FnOnce(&mut Member)) {
        let tellings = self.tellings();
        let node = &mut self.nodes[place];
        let Ok(name) = NodeId::new(format!("n{place}")) else { return };
        let Some(mut row) = node.view.get(&name).filter(|_| !node.dead).cloned() else { return };
        change(&mut row);
        node.view.merge(row);
        node.news.insert(name, tellings);
    }

    /// Every living node tells its news to a few others.
    fn period(&mut self) {
        for place in 0..self.nodes.len() {
            for _ in 0..FANOUT {
                let to = self.place();
                if to != place && !self.nodes[place].dead {
                    self.tell(place, to);
                }
            }
            if self.world.percent(COMPARISONS_PERCENT) && !self.nodes[place].dead {
                self.compare(place, self.place());
            }
        }
    }

    fn tell(&mut self, from: usize, to: usize) {
        let sender = &mut self.nodes[from];
        // What was told least goes first.
        let mut news: Vec<(u32, NodeId)> =
            sender.news.iter().map(|(name, left)| (*left, name.clone())).collect();
        news.sort_by(|one, next| next.cmp(one));
        news.truncate(ROWS_MAX);
        let mut message = Vec::with_capacity(news.len());
        for (left, name) in news {
            message.extend(sender.view.get(&name).cloned());
            match left {
                0 | 1 => sender.news.remove(&name),
                _ => sender.news.insert(name, left - 1),
            };
        }
        if message.is_empty() {
            return;
        }
        self.messages += 1;
        self.rows += message.len() as u64;
        if self.world.percent(self.loss) {
            self.world.count("message lost");
            return;
        }
        let tellings = self.tellings();
        let receiver = &mut self.nodes[to];
        if receiver.dead {
            return;
        }
        for row in message {
            let name = row.node.clone();
            if receiver.view.merge(row) {
                receiver.news.insert(name, tellings);
            }
        }
    }

    /// Two nodes take in each other's whole view.
    fn compare(&mut self, one: usize, other: usize) {
        if one == other || self.nodes[other].dead {
            return;
        }
        self.world.count("views compared");
        let view = self.nodes[one].view.clone();
        self.nodes[other].view.merge_all(&view);
        let view = self.nodes[other].view.clone();
        self.nodes[one].view.merge_all(&view);
    }

    /// Whether all living nodes see the same.
    fn agrees(&self) -> bool {
        let mut living = self.nodes.iter().filter(|node| !node.dead);
        let Some(first) = living.next() else { return true };
        living.all(|node| node.view == first.view)
    }
}
