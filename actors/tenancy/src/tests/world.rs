//! Several edges and one owner at a time, over rows, with everything between them unreliable.

use super::accounts::{Accounts, Checked, Invariant, MARCH_2024_MS, hold};
use super::rows::Rows;
use super::steps::{Fate, Options, Step, Verdict};
use super::watched::{Call, Seen, Wanted, WatchedEdge};
use crate::{Answer, Clocks, Limits, Operation, Outcome, Owner, OwnerEffect, OwnerProblem};

/// When an edge gives a call up, in ms.
const CALL_TIMEOUT_MS: u64 = 500;
/// More turns than this in one place mean that it goes round in circles.
const TURNS_MAX: usize = 200_000;

/// Who asks the owner: an edge's call, or a person.
type Asker = Option<usize>;

#[derive(Clone)]
struct Sent {
    edge: usize,
    call: Call,
    deadline_ms: u64,
    /// Whether the edge has heard an answer, or that there is none.
    is_over: bool,
}

#[derive(Clone)]
enum Packet {
    ToOwner { call: usize },
    ToEdge { call: usize, answer: Answer },
}

struct Pending {
    operations: Vec<Operation>,
    /// What the owner will hear.
    heard: Option<Result<Vec<Outcome>, OwnerProblem>>,
}

pub(super) struct World {
    options: Options,
    at: Clocks,
    edges: Vec<WatchedEdge>,
    owner: Owner<Asker>,
    pending: Option<Pending>,
    calls: Vec<Sent>,
    packets: Vec<Packet>,
    is_cut: bool,
    accounts: Accounts,
    pub(super) rows: Rows,
    seen: Seen,
}

impl World {
    pub(super) fn new(options: &Options) -> World {
        let edge = |number| WatchedEdge::new(number, options.edge);
        let mut rows = Rows::default();
        rows.books.limits = options.limits.clone();
        World {
            at: Clocks { now_ms: 1_000, wall_ms: MARCH_2024_MS - options.before_month_ms },
            edges: (0..options.edges).map(edge).collect(),
            owner: Owner::new(options.owner),
            options: options.clone(),
            pending: None,
            calls: Vec::new(),
            packets: Vec::new(),
            is_cut: false,
            accounts: Accounts::default(),
            rows,
            seen: Seen::new(),
        }
    }

    fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// What happened in the world and in its edges.
    pub(super) fn seen(&self) -> Seen {
        let mut all = self.seen.clone();
        for (what, times) in self.edges.iter().flat_map(|edge| &edge.seen) {
            *all.entry(what).or_default() += times;
        }
        all
    }

    pub(super) fn play(&mut self, step: &Step) -> Checked {
        match step.clone() {
            Step::Request { edge, model, estimate, used } => {
                let (edge, wanted) = (self.living(edge), Wanted { model, estimate, used });
                self.edges[edge].request(self.at, wanted, &self.rows)?;
                self.after(edge)
            }
            Step::Settle { pick, all } => {
                let edge = self.living(pick);
                let open = self.edges[edge].open.len();
                for _ in 0..if all { open } else { 1 } {
                    self.edges[edge].settle(self.at, pick / 4, &self.rows)?;
                }
                self.after(edge)
            }
            Step::GiveUp { pick } => {
                let edge = self.living(pick);
                self.edges[edge].give_up(pick / 4);
                self.after(edge)
            }
            Step::RetireAll { edge } => {
                let edge = self.living(edge);
                self.edges[edge].retire_all(self.at, &self.rows)?;
                self.after(edge)
            }
            Step::Deliver { pick, fate } => self.deliver(pick, fate),
            Step::Flow => {
                let is_answer = |packet: &&Packet| matches!(packet, Packet::ToEdge { .. });
                let copy = self.packets.iter().find(is_answer).cloned();
                self.flow()?;
                self.packets.extend(copy.filter(|_| self.options.faults.copies));
                Ok(())
            }
            Step::Commit(verdict) => self.commit(verdict),
            Step::Acknowledge => self.acknowledge(),
            Step::Advance { by_ms } => self.advance(by_ms),
            Step::SetLimits(limits) => self.set_limits(limits),
            Step::Look => self.give_owner(None, Operation::Look),
            Step::ReplaceOwner => {
                self.replace_owner();
                Ok(())
            }
            Step::KillEdge { edge } => {
                let edge = self.living(edge);
                self.edges[edge].is_alive = false;
                self.edges.push(WatchedEdge::new(self.edges.len(), self.options.edge));
                self.saw("edge dies");
                Ok(())
            }
            Step::Cut => {
                self.is_cut = !self.is_cut;
                Ok(())
            }
        }
    }

    fn living(&self, pick: usize) -> usize {
        let alive = |edge: &(usize, &WatchedEdge)| edge.1.is_alive;
        let numbers = self.edges.iter().enumerate().filter(alive).map(|(number, _)| number);
        numbers.clone().nth(pick % numbers.count()).unwrap()
    }

    /// Sends what an edge has to send, and has it do what is due.
    fn after(&mut self, number: usize) -> Checked {
        let edge = &mut self.edges[number];
        if self.options.wakes_at_once {
            edge.wake(self.at, &self.rows)?;
        } else {
            edge.wake_ms = edge.wake_ms.min(self.at.now_ms + 50);
        }
        self.send(number);
        Ok(())
    }

    fn send(&mut self, number: usize) {
        for call in std::mem::take(&mut self.edges[number].outgoing) {
            let deadline_ms = self.at.now_ms + CALL_TIMEOUT_MS;
            self.packets.push(Packet::ToOwner { call: self.calls.len() });
            self.calls.push(Sent { edge: number, call, deadline_ms, is_over: false });
        }
    }

    fn deliver(&mut self, pick: usize, fate: Fate) -> Checked {
        if self.packets.is_empty() {
            return Ok(());
        }
        let place = pick % self.packets.len();
        let packet = match fate {
            Fate::Twice => self.packets[place].clone(),
            Fate::Arrives | Fate::Lost => self.packets.remove(place),
        };
        match packet {
            _ if fate == Fate::Lost => Ok(()),
            Packet::ToOwner { .. } if self.is_cut => Ok(()),
            Packet::ToOwner { call } => {
                let operation = match self.calls[call].call.clone() {
                    Call::Ask(ask) => Operation::Ask(ask),
                    Call::Report(report) => Operation::Report(report),
                };
                self.give_owner(Some(call), operation)
            }
            Packet::ToEdge { call, answer } => self.tell_edge(call, answer.ok()),
        }
    }

    fn give_owner(&mut self, asker: Asker, operation: Operation) -> Checked {
        // Between writing and hearing of it, an owner may speak of what was true before.
        let knows_all = self.pending.as_ref().is_none_or(|pending| pending.heard.is_none());
        let mut effects = Vec::new();
        self.owner.take(asker, operation.clone(), self.at.wall_ms, &mut effects);
        for effect in &effects {
            if let (OwnerEffect::Answer(_, Ok(Outcome::Exhausted(said))), Operation::Ask(ask)) =
                (effect, &operation)
            {
                self.saw("used up from memory");
                if knows_all {
                    let limits = &self.rows.books.limits;
                    self.accounts.check_used_up(limits, ask, said, self.at.wall_ms)?;
                }
            }
        }
        self.heed_owner(effects)
    }

    fn heed_owner(&mut self, effects: Vec<OwnerEffect<Asker>>) -> Checked {
        for effect in effects {
            match effect {
                OwnerEffect::Commit(operations) => {
                    hold(self.pending.is_none(), Invariant::OneAtATime, || {
                        format!("{operations:?}")
                    })?;
                    self.pending = Some(Pending { operations, heard: None });
                }
                OwnerEffect::Answer(Some(call), answer) => {
                    if matches!(answer, Err(OwnerProblem::Overloaded)) {
                        self.saw("owner overloaded");
                    }
                    self.packets.push(Packet::ToEdge { call, answer });
                }
                OwnerEffect::Answer(None, _) => {}
                OwnerEffect::Resign => self.replace_owner(),
            }
        }
        Ok(())
    }

    fn replace_owner(&mut self) {
        self.owner = Owner::new(self.options.owner);
        self.pending = None;
        self.saw("owner replaced");
    }

    fn commit(&mut self, verdict: Verdict) -> Checked {
        let Some(pending) = self.pending.as_mut().filter(|pending| pending.heard.is_none()) else {
            return Ok(());
        };
        let mut write = || {
            let (operations, wall_ms) = (&pending.operations, self.at.wall_ms);
            self.rows.commit(operations, wall_ms, &self.options.grant, &mut self.accounts)
        };
        pending.heard = Some(match verdict {
            Verdict::Written => Ok(write()?),
            Verdict::Unknown => {
                write()?;
                Err(OwnerProblem::StoreDown)
            }
            Verdict::Failed => Err(OwnerProblem::StoreDown),
            Verdict::Fenced => Err(OwnerProblem::NotOwner),
        });
        Ok(())
    }

    fn acknowledge(&mut self) -> Checked {
        let Some(pending) = self.pending.take_if(|pending| pending.heard.is_some()) else {
            return Ok(());
        };
        let mut effects = Vec::new();
        if let Some(heard) = pending.heard {
            self.owner.committed(heard, self.at.wall_ms, &mut effects);
        }
        self.heed_owner(effects)
    }

    /// A person sets limits, and does not look whether they stand.
    fn set_limits(&mut self, limits: Limits) -> Checked {
        self.saw("limits set");
        self.give_owner(None, Operation::SetLimits(limits))
    }

    /// The edge hears an answer, or that none will come.
    fn tell_edge(&mut self, call: usize, outcome: Option<Outcome>) -> Checked {
        let Sent { edge: number, call, is_over, .. } = &mut self.calls[call];
        let edge = &mut self.edges[*number];
        *is_over = true;
        if !edge.is_alive {
            return Ok(());
        }
        match call {
            Call::Ask(ask) => {
                let answer = match outcome {
                    Some(Outcome::Granted(allowance)) => Some(Ok(allowance)),
                    Some(Outcome::Exhausted(exhausted)) => Some(Err(exhausted)),
                    _ => None,
                };
                edge.answered(self.at, ask, answer, &self.rows)?;
            }
            Call::Report(report) => {
                edge.reported(self.at, report.number, outcome.is_some(), &self.rows)?;
            }
        }
        let number = *number;
        self.after(number)
    }

    /// Everything on the way arrives, and all that comes of it.
    fn flow(&mut self) -> Checked {
        for _ in 0..TURNS_MAX {
            if self.packets.is_empty() && self.pending.is_none() {
                return Ok(());
            }
            self.deliver(0, Fate::Arrives)?;
            self.commit(Verdict::Written)?;
            self.acknowledge()?;
        }
        hold(false, Invariant::NothingWaits, || "messages go round in circles".to_owned())
    }

    fn advance(&mut self, by_ms: u64) -> Checked {
        let target_ms = self.at.now_ms + by_ms;
        while self.at.now_ms < target_ms {
            let alive = |number: usize| self.edges[number].is_alive;
            let calls = self.calls.iter().filter(|sent| !sent.is_over && alive(sent.edge));
            let edges = self.edges.iter().filter(|edge| edge.is_alive);
            let due_ms = calls.map(|sent| sent.deadline_ms).chain(edges.map(|edge| edge.wake_ms));
            // What is due already is done in the next ms.
            let next_ms = due_ms.min().unwrap_or(target_ms).max(self.at.now_ms + 1).min(target_ms);
            self.at.wall_ms += next_ms - self.at.now_ms;
            self.at.now_ms = next_ms;
            for call in 0..self.calls.len() {
                if !self.calls[call].is_over && self.calls[call].deadline_ms <= next_ms {
                    self.tell_edge(call, None)?;
                }
            }
            for number in 0..self.edges.len() {
                if self.edges[number].is_alive && self.edges[number].wake_ms <= next_ms {
                    self.edges[number].wake(self.at, &self.rows)?;
                    self.send(number);
                }
            }
        }
        Ok(())
    }

    /// Faults stop; from here on everything must come to rest.
    pub(super) fn heal(&mut self) -> Checked {
        self.is_cut = false;
        for _ in 0..100 {
            self.flow()?;
            for number in 0..self.edges.len() {
                while self.edges[number].is_alive && !self.edges[number].open.is_empty() {
                    self.edges[number].settle(self.at, 0, &self.rows)?;
                    self.after(number)?;
                }
            }
            self.flow()?;
            self.advance(50)?;
        }
        hold(self.owner.is_idle(), Invariant::NothingWaits, || "the owner is busy".to_owned())?;
        for edge in self.edges.iter().filter(|edge| edge.is_alive) {
            let waiting = edge.waiting.len();
            hold(waiting == 0, Invariant::NothingWaits, || format!("{waiting} requests wait"))?;
            let told = edge.book.is_told() && edge.book.unwritten() == 0;
            hold(told, Invariant::NothingWaits, || "an outbox is not empty".to_owned())?;
        }
        // Beyond the minute in which an outage counted.
        self.advance(61_000)?;
        let forgotten = self
            .edges
            .iter()
            .all(|edge| !edge.is_alive || (edge.wake_ms == u64::MAX && edge.book.tenants() == 0));
        hold(forgotten, Invariant::NothingWaits, || "a book has more to do".to_owned())?;
        self.check_end()
    }

    fn check_end(&mut self) -> Checked {
        for edge in &mut self.edges {
            if edge.is_alive {
                edge.check_ledger(&self.rows)?;
                edge.accepted.keys().try_for_each(|id| self.accounts.check_nothing_leaks(*id))?;
            }
        }
        for id in self.rows.ledger.keys() {
            let known = self.edges.iter().any(|edge| edge.has_settled(*id));
            hold(known, Invariant::LedgerTellsTheTruth, || format!("{id:?} never ran"))?;
        }
        Ok(())
    }
}
