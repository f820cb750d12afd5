//! The coordinator of one run: it owns seed, virtual time, network, store and faults.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::chance::Chance;
use super::conditions::Conditions;
use super::links::{Links, Scene};
use super::outcome::{Cost, LineKind, LockstepOutcome, Trace, fingerprint};
use super::process::{self, LockstepError, Process};
use super::queues::Queues;
use super::scenario::Scenario;
use super::schedule::ScheduledFault;
use super::store::StoreHost;
use super::wire::{FromNode, Hello, Stretch, ToNode, decode_deeds};
use super::workload::{self, Clients, Workload};

/// How long the nodes may take for their last word.
const LAST_WORD_MS: u64 = 1_000;

pub(super) struct Coordinator<'a> {
    scenario: &'a Scenario,
    seed: u64,
    faults: &'a [ScheduledFault],
    binary: PathBuf,
    nodes: Vec<Option<Process>>,
    conditions: Conditions,
    /// The nodes that were frozen a tick ago and meet messages before overdue timers.
    messages_first: BTreeSet<usize>,
    queues: Queues,
    links: Links,
    store: StoreHost,
    clients: Box<dyn Workload>,
    client_chance: Chance,
    client_delays: Chance,
    order: Chance,
    /// Answers on their way to the clients.
    results: BTreeMap<(u64, u64), (usize, Vec<u8>)>,
    results_numbered: u64,
    reports: BTreeMap<usize, Vec<u8>>,
    trace: Trace,
    fingerprint: u64,
    cpu_us: u64,
    /// A node ended or hangs: the run cannot go on.
    broken_off: bool,
}

impl<'a> Coordinator<'a> {
    pub(super) fn new(
        scenario: &'a Scenario,
        seed: u64,
        faults: &'a [ScheduledFault],
        binary: Option<&Path>,
    ) -> Result<Coordinator<'a>, LockstepError> {
        let nodes = scenario.nodes;
        Ok(Coordinator {
            scenario,
            seed,
            faults,
            binary: process::find_binary(binary)?,
            nodes: (0..nodes).map(|_| None).collect(),
            conditions: Conditions::at(0, faults, &vec![0; nodes]),
            messages_first: BTreeSet::new(),
            queues: Queues::new(seed, nodes, scenario.delay_ms),
            links: Links::new(seed, nodes),
            store: StoreHost::new(seed, scenario.delay_ms, faults),
            clients: workload::clients(&scenario.workload, &scenario.parameters)?,
            client_chance: Chance::of(seed, "clients"),
            client_delays: Chance::of(seed, "delay to clients"),
            order: Chance::of(seed, "order of nodes"),
            results: BTreeMap::new(),
            results_numbered: 0,
            reports: BTreeMap::new(),
            trace: Trace::default(),
            fingerprint: 0,
            cpu_us: 0,
            broken_off: false,
        })
    }

    pub(super) fn run(mut self, options: String) -> Result<LockstepOutcome, LockstepError> {
        let (began, began_us) = (Instant::now(), process::own_cpu_us());
        let (end_ms, tick_ms) = (self.scenario.duration_ms, self.scenario.tick_ms);
        let mut now_ms = 0;
        while now_ms < end_ms && !self.broken_off {
            self.suffer(now_ms)?;
            self.step_clients(now_ms);
            self.stretch(now_ms, now_ms + tick_ms);
            now_ms += tick_ms;
        }
        self.finish(now_ms);
        self.trace.sort();
        for process in self.nodes.iter_mut().filter_map(Option::take) {
            self.cpu_us += process.kill();
        }
        let own_us = process::own_cpu_us() - began_us;
        Ok(LockstepOutcome {
            scenario: self.scenario.name.clone(),
            seed: self.seed,
            nodes: self.scenario.nodes,
            duration_ms: end_ms,
            heal_ms: self.scenario.heal_ms,
            options,
            faults: self.faults.to_vec(),
            trace: self.trace.take_lines(),
            counts: self.trace.counts,
            violations: self.trace.violations,
            fingerprint: self.fingerprint,
            cost: Cost {
                wall_ms: began.elapsed().as_millis() as u64,
                cpu_ms: (self.cpu_us + own_us) / 1_000,
            },
        })
    }

    /// Lets faults begin and end.
    fn suffer(&mut self, now_ms: u64) -> Result<(), LockstepError> {
        for fault in self.faults {
            // Both are noticed at the first tick that is not before them.
            let ticks = now_ms.saturating_sub(self.scenario.tick_ms - 1)..now_ms + 1;
            if ticks.contains(&fault.from_ms) {
                let text = format!("{}: {}", fault.id, fault);
                self.trace.add(now_ms, "fault", LineKind::Fault, text);
                self.trace.count(&format!("fault: {}", fault.strike.name()));
            }
            if ticks.contains(&fault.until_ms) {
                let text = format!("{}: over: {}", fault.id, fault.strike);
                self.trace.add(now_ms, "fault", LineKind::Fault, text);
            }
        }
        let next = Conditions::at(now_ms, self.faults, &self.conditions.incarnations);
        let before = std::mem::replace(&mut self.conditions, next);
        self.messages_first = before.messages_first;
        let died: Vec<usize> = self.conditions.dead.difference(&before.dead).copied().collect();
        for node in died {
            if let Some(process) = self.nodes.get_mut(node).and_then(Option::take) {
                self.cpu_us += process.kill();
            }
            self.links.died(node);
            self.queues.lose_all_to(node);
        }
        for node in 0..self.nodes.len() {
            if self.nodes[node].is_none() && !self.conditions.dead.contains(&node) {
                self.start(node, now_ms)?;
            }
        }
        Ok(())
    }

    fn start(&mut self, node: usize, now_ms: u64) -> Result<(), LockstepError> {
        self.conditions.incarnations[node] += 1;
        self.queues.lose_all_to(node);
        let parameters = toml::to_string(&self.scenario.parameters)
            .map_err(|error| LockstepError::Parameters(error.to_string()))?;
        let hello = Hello {
            seed: self.seed,
            node: node as u8,
            nodes: self.nodes.len() as u8,
            incarnation: self.conditions.incarnations[node],
            now_ms,
            wall_offset_ms: self.conditions.wall_offsets_ms[node],
            workload: self.scenario.workload.clone(),
            parameters,
        };
        self.nodes[node] = Some(Process::start(&self.binary, &hello)?);
        let text = format!("starts, incarnation {}", hello.incarnation);
        self.trace.add(now_ms, &who(node), LineKind::Node, text);
        Ok(())
    }

    /// Everybody lives through one stretch; what is sent in it arrives after it.
    fn stretch(&mut self, from_ms: u64, until_ms: u64) {
        let Coordinator { conditions, queues, trace, .. } = self;
        self.links.step(&mut Scene { now_ms: from_ms, conditions, queues, trace });
        self.store.live((from_ms, until_ms), &self.conditions, &mut self.queues);
        for (at_ms, fault, what) in self.store.take_struck() {
            self.trace.count(what);
            self.trace.add(at_ms, "store", LineKind::Store, format!("{what} (fault {fault})"));
        }
        let mut order: Vec<usize> =
            (0..self.nodes.len()).filter(|node| self.conditions.is_up(*node)).collect();
        self.order.shuffle(&mut order);
        // All nodes compute at once: nothing that one does can reach another in this stretch.
        for node in &order {
            self.put(*node, from_ms, until_ms);
        }
        for node in order {
            let Some(process) = self.nodes[node].as_mut() else { continue };
            if let Err(error) = process.get().and_then(|frame| self.heard(node, &frame)) {
                self.break_off(node, until_ms, &error);
            }
        }
        self.trace.sort();
    }

    fn put(&mut self, node: usize, from_ms: u64, until_ms: u64) {
        let conditions = &self.conditions;
        let is_open = |from| conditions.is_open(from, node);
        let stretch = Stretch {
            from_ms,
            until_ms,
            wall_offset_ms: conditions.wall_offsets_ms[node],
            messages_first: self.messages_first.contains(&node),
            events: self.queues.take(node, (from_ms, until_ms), is_open),
        };
        // A node that ended is noticed when its answer is read.
        let _ = self.nodes[node].as_mut().map(|process| process.put(&stretch));
    }

    fn heard(&mut self, node: usize, frame: &[u8]) -> io::Result<()> {
        self.fingerprint = fingerprint(self.fingerprint, frame);
        for (at_ms, deed) in decode_deeds(frame)? {
            self.did(node, at_ms, deed);
        }
        Ok(())
    }

    fn did(&mut self, node: usize, at_ms: u64, deed: FromNode) {
        let Coordinator { conditions, queues, trace, .. } = self;
        let mut scene = Scene { now_ms: at_ms, conditions, queues, trace };
        match deed {
            FromNode::Introduce { peer } => self.links.introduce(node, usize::from(peer), at_ms),
            FromNode::Forget { peer } => self.links.forget(node, usize::from(peer), &mut scene),
            FromNode::ControlClosed { peer, stream } => {
                self.links.control_closed(node, usize::from(peer), stream, at_ms);
            }
            FromNode::Pass { peer, round, passing } => {
                self.links.pass((node, usize::from(peer)), round, passing, &mut scene);
            }
            FromNode::AskStore { call, request } => {
                let incarnation = self.conditions.incarnations[node];
                self.store.ask((node, incarnation), call, at_ms, request);
            }
            FromNode::Result(result) => {
                let [shortest_ms, longest_ms] = self.scenario.delay_ms;
                let due_ms = at_ms + self.client_delays.between(shortest_ms, longest_ms);
                self.results_numbered += 1;
                self.results.insert((due_ms, self.results_numbered), (node, result));
            }
            FromNode::Note(line) => self.trace.add(at_ms, &who(node), LineKind::Node, line),
            FromNode::Counted(what) => self.trace.count(&what),
            FromNode::Violated(what) => self.trace.violated(at_ms, &who(node), &what),
            FromNode::Report(report) => {
                self.reports.insert(node, report);
            }
        }
    }

    fn break_off(&mut self, node: usize, now_ms: u64, error: &io::Error) {
        let what = match error.kind() {
            io::ErrorKind::UnexpectedEof => "a_node_lives: its process ended by itself".to_owned(),
            io::ErrorKind::TimedOut => "a_node_goes_on: it computes without end".to_owned(),
            _ => format!("a_node_speaks: {error}"),
        };
        self.trace.violated(now_ms, &who(node), &what);
        self.nodes[node] = None;
        self.broken_off = true;
    }

    fn step_clients(&mut self, now_ms: u64) {
        while let Some(entry) = self.results.first_entry().filter(|it| it.key().0 <= now_ms) {
            let (node, result) = entry.remove();
            self.with_clients(now_ms, |workload, clients| workload.result(clients, node, &result));
        }
        self.with_clients(now_ms, |workload, clients| workload.step(clients));
    }

    fn with_clients(&mut self, now_ms: u64, act: impl FnOnce(&mut dyn Workload, &mut Clients<'_>)) {
        let mut sent = Vec::new();
        let mut clients = Clients {
            now_ms,
            heal_ms: self.scenario.heal_ms,
            nodes: self.nodes.len(),
            chance: &mut self.client_chance,
            conditions: &self.conditions,
            trace: &mut self.trace,
            sent: &mut sent,
        };
        act(self.clients.as_mut(), &mut clients);
        let [shortest_ms, longest_ms] = self.scenario.delay_ms;
        for (node, work) in sent {
            let due_ms = now_ms + self.client_delays.between(shortest_ms, longest_ms);
            self.queues.tell(node, due_ms, ToNode::Work(work));
        }
    }

    /// Asks every node for its last word, then lets the workload judge.
    fn finish(&mut self, end_ms: u64) {
        for node in 0..self.nodes.len() {
            self.queues.tell(node, end_ms, ToNode::Finish);
        }
        let mut now_ms = end_ms;
        let running: BTreeSet<usize> =
            (0..self.nodes.len()).filter(|node| self.nodes[*node].is_some()).collect();
        let waits = |it: &Self| running.iter().any(|node| !it.reports.contains_key(node));
        while waits(self) && now_ms < end_ms + LAST_WORD_MS && !self.broken_off {
            self.stretch(now_ms, now_ms + self.scenario.tick_ms);
            now_ms += self.scenario.tick_ms;
        }
        if self.broken_off {
            return;
        }
        for node in running {
            if !self.reports.contains_key(&node) {
                let text = "a_node_gives_its_last_word: it reports nothing at the end";
                self.trace.violated(now_ms, &who(node), text);
            }
        }
        let (reports, rows) = (std::mem::take(&mut self.reports), self.store.contents());
        let reports: Vec<(usize, Vec<u8>)> = reports.into_iter().collect();
        self.with_clients(now_ms, |workload, clients| workload.end(clients, &reports, &rows));
    }
}

fn who(node: usize) -> String {
    format!("n{}", node + 1)
}
