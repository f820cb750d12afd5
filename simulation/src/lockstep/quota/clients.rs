//! The clients: they set the limits, then use them up at every node, and keep what they hear.

use std::collections::BTreeMap;

use headwater_storage::Pair;

use super::checks::{self, Holdings, Ledger, Word};
use super::{Parameters, tenant};
use crate::lockstep::workload::{Clients, Workload};

/// So long after healing no new request is made: what runs gets to its end.
const WORK_AFTER_HEALING_MS: u64 = 10_000;
/// So long after healing every request must be decided by an owner.
const RECOVERY_MS: u64 = 7_000;
/// Before a limit is set again, when nobody said that it is.
const SET_AGAIN_MS: u64 = 2_000;
/// Longest time that the limits' setting may take before the clients begin all the same.
const PATIENCE_MS: u64 = 8_000;
/// A request takes no longer than its wait for a share, its work and the wait for the ledger
/// together.
pub(super) const LONGEST_MS: u64 = 8_500;
/// A verified entry is acknowledged when its wait for the ledger ended before this.
const WRITTEN_MS: u64 = 2_000;

/// One request, with all that was heard of it.
pub(super) struct Request {
    pub(super) at_ms: u64,
    pub(super) node: usize,
    pub(super) incarnation: u64,
    pub(super) tenant: String,
    pub(super) estimate: u64,
    pub(super) used: u64,
    pub(super) fate: Fate,
    pub(super) unverified: bool,
    must_be_decided: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Asked,
    Admitted,
    Refused,
    /// The client left before the end: nothing is charged.
    Left,
    /// Settled; whether the wait for the ledger ended before its time was up.
    Settled {
        in_time: bool,
    },
}

pub(super) struct QuotaClients {
    parameters: Parameters,
    next_ms: u64,
    next_tag: u64,
    limited: BTreeMap<usize, bool>,
    set_again_ms: u64,
    requests: BTreeMap<u64, Request>,
    holdings: Holdings,
}

impl QuotaClients {
    pub(super) fn new(parameters: Parameters) -> QuotaClients {
        let limited = (0..parameters.tenants).map(|number| (number, false)).collect();
        QuotaClients {
            parameters,
            next_ms: 0,
            next_tag: 1,
            limited,
            set_again_ms: 0,
            requests: BTreeMap::new(),
            holdings: Holdings::default(),
        }
    }

    /// Sets each tenant's limit, at one node after the other, until it is acknowledged.
    fn set_limits(&mut self, clients: &mut Clients<'_>) {
        if clients.now_ms < self.set_again_ms {
            return;
        }
        self.set_again_ms = clients.now_ms + SET_AGAIN_MS;
        let amount = self.parameters.tokens_per_minute;
        for number in 0..self.parameters.tenants {
            let node = clients.chance.place(clients.nodes);
            if self.limited.get(&number) == Some(&false) && clients.is_running(node) {
                clients.send(node, format!("limit {} {amount}", tenant(number)).into_bytes());
            }
        }
    }

    fn use_some(&mut self, clients: &mut Clients<'_>) {
        let node = clients.chance.place(clients.nodes);
        let number = clients.chance.place(self.parameters.tenants);
        if !clients.is_running(node) || self.limited.get(&number) != Some(&true) {
            return;
        }
        let estimate = clients.chance.between(1, 60);
        let used = match clients.chance.place(10) {
            0 => estimate + clients.chance.between(1, 20),
            1..=4 => clients.chance.between(0, estimate),
            _ => estimate,
        };
        let work_ms = clients.chance.between(0, 150);
        let leaves = u8::from(clients.chance.percent(5));
        let (tag, tenant) = (self.next_tag, tenant(number));
        self.next_tag += 1;
        let work = format!("use {tag} {tenant} {estimate} {used} {work_ms} {leaves}");
        clients.send(node, work.into_bytes());
        let must_be_decided = clients.healed_since_ms().is_some_and(|ms| ms >= RECOVERY_MS);
        let request = Request {
            at_ms: clients.now_ms,
            node,
            incarnation: clients.incarnation(node),
            tenant,
            estimate,
            used,
            fate: Fate::Asked,
            unverified: false,
            must_be_decided,
        };
        self.requests.insert(tag, request);
    }

    fn heard(&mut self, clients: &mut Clients<'_>, node: usize, words: &[&str]) -> Option<()> {
        let number = |place: usize| words.get(place)?.parse::<u64>().ok();
        match *words.first()? {
            "holds" => {
                let (name, epoch) = (*words.get(1)?, number(2)?);
                let word = Word { node, number: number(3)?, left_ms: number(4)? };
                self.holdings.holds(clients, name, epoch, &word);
            }
            "lost" => {
                let word = Word { node, number: number(3)?, left_ms: 0 };
                self.holdings.lost(clients, words.get(1)?, number(2)?, &word);
            }
            "limited" => {
                let of = words.get(1)?.trim_start_matches('t').parse().ok()?;
                self.limited.insert(of, true);
                clients.count("limits set");
            }
            "unlimited" => clients.count("limits not set"),
            verb => {
                let tag = number(1)?;
                let request = self.requests.get_mut(&tag)?;
                let (fate, counted) = match verb {
                    "admitted" => {
                        request.unverified = number(2)? == 0;
                        let counted = match request.unverified {
                            true => "admitted in an outage",
                            false => "admitted",
                        };
                        (Fate::Admitted, counted)
                    }
                    "left" => (Fate::Left, "client left"),
                    "settled" => {
                        let in_time = number(3)? < WRITTEN_MS;
                        (Fate::Settled { in_time }, "settled")
                    }
                    _ => (Fate::Refused, "refused"),
                };
                // Answers overtake each other on their way: the last word stays the last.
                if fate != Fate::Admitted || request.fate == Fate::Asked {
                    request.fate = fate;
                }
                clients.count(counted);
                let why = words.get(2).copied().unwrap_or_default();
                if fate == Fate::Refused {
                    clients.count(&format!("refused: {why}"));
                    if request.must_be_decided && why != "used_up" {
                        let seen = format!("request {tag} of {}: {why}", request.tenant);
                        clients.violated("a_healed_cluster_decides", seen);
                    }
                }
            }
        }
        Some(())
    }
}

impl Workload for QuotaClients {
    fn step(&mut self, clients: &mut Clients<'_>) {
        let waits_for_limits = self.limited.values().any(|done| !done);
        if waits_for_limits {
            self.set_limits(clients);
        }
        let over = clients.healed_since_ms().is_some_and(|ms| ms >= WORK_AFTER_HEALING_MS);
        if over
            || clients.now_ms < self.next_ms
            || (waits_for_limits && clients.now_ms < PATIENCE_MS)
        {
            return;
        }
        self.next_ms = clients.now_ms + clients.chance.between(1, self.parameters.interval_ms);
        self.use_some(clients);
    }

    fn result(&mut self, clients: &mut Clients<'_>, node: usize, result: &[u8]) {
        let text = String::from_utf8_lossy(result).into_owned();
        let words: Vec<&str> = text.split(' ').collect();
        if self.heard(clients, node, &words).is_none() {
            clients.violated("every_answer_was_asked_for", text);
        }
    }

    fn end(&mut self, clients: &mut Clients<'_>, reports: &[(usize, Vec<u8>)], store: &[Pair]) {
        let mut written = BTreeMap::new();
        for (node, report) in reports {
            let all = report.starts_with(b"1");
            written.insert((*node, clients.incarnation(*node)), all);
            if !all {
                let seen = format!("n{} has unwritten entries", node + 1);
                clients.violated("every_entry_is_written_in_the_end", seen);
            }
        }
        for (tag, request) in &self.requests {
            let lives = clients.is_running(request.node)
                && clients.incarnation(request.node) == request.incarnation;
            let open = matches!(request.fate, Fate::Asked | Fate::Admitted);
            if lives && open && clients.now_ms - request.at_ms > LONGEST_MS {
                let (fate, at_ms) = (request.fate, request.at_ms);
                let who = format!("{} at n{}, sent at {at_ms}", request.tenant, request.node + 1);
                let seen = format!("request {tag} of {who} ms: {fate:?}");
                clients.violated("nobody_waits_for_ever", seen);
            }
        }
        let ledger = Ledger::read(clients, store);
        checks::requests(clients, &self.requests, &ledger, &written);
        checks::bounds(clients, &self.requests, &ledger, &self.parameters);
    }
}
