//! A tenant's owner: puts what edges ask and report into one transaction after the other, and
//! answers when it is known what was written.

use std::collections::VecDeque;

use crate::ledger::{Allowance, Ask, Books, CounterKey, Exhausted};
use crate::limits::Limits;
use crate::mutants::{Mutant, planted};
use crate::outbox::Report;

/// How an owner works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerSettings {
    /// Most operations in one transaction.
    pub batch_operations: usize,
    /// Most ledger entries in one transaction, so that it keeps the store's limits.
    pub batch_entries: usize,
    /// Most operations that wait for the next transaction.
    pub queue_operations: usize,
}

impl Default for OwnerSettings {
    fn default() -> Self {
        OwnerSettings { batch_operations: 64, batch_entries: 1_024, queue_operations: 4_096 }
    }
}

/// What an owner is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    Ask(Ask),
    Report(Report),
    /// Replaces the limits; the revision is the owner's to give.
    SetLimits(Limits),
    /// Reads limits and counters.
    Look,
}

/// What a transaction came to, for one of its operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Granted(Allowance),
    Exhausted(Exhausted),
    Written,
    LimitsSet { revision: u64 },
    Looked(Books),
}

/// Why an owner did nothing, by what the asker should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnerProblem {
    /// Look for the owner anew.
    #[error("this node does not own the tenant; look for its owner anew")]
    NotOwner,
    /// The operation may or may not have happened; send it again with the same ids.
    #[error("the store does not answer; send the same operation again later")]
    StoreDown,
    #[error("the tenant's owner has too much to do; send the same operation again later")]
    Overloaded,
}

/// An owner's answer.
pub type Answer = Result<Outcome, OwnerProblem>;

/// What the shell is to do. `T` names who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnerEffect<T> {
    /// Do all of it in one transaction; tell [`Owner::committed`].
    Commit(Vec<Operation>),
    Answer(T, Answer),
    /// The lease is lost: stop.
    Resign,
}

/// The transaction under way.
struct Committing<T> {
    /// Who asked for each operation, and whether it may free what was used up.
    askers: Vec<(Option<T>, bool)>,
    /// When it began, in ms since 1970.
    started_ms: u64,
}

/// See the module.
pub struct Owner<T> {
    settings: OwnerSettings,
    queue: VecDeque<(T, Operation)>,
    committing: Option<Committing<T>>,
    /// Limits that were used up when last looked at, with what was left.
    used_up: Vec<(CounterKey, Exhausted)>,
}

impl<T> Owner<T> {
    pub fn new(settings: OwnerSettings) -> Owner<T> {
        Owner { settings, queue: VecDeque::new(), committing: None, used_up: Vec::new() }
    }

    /// Takes in one operation. `wall_ms` is the owner's clock, in ms since 1970.
    pub fn take(
        &mut self,
        asker: T,
        operation: Operation,
        wall_ms: u64,
        effects: &mut Vec<OwnerEffect<T>>,
    ) {
        if let Operation::Ask(ask) = &operation
            && let Some(exhausted) = self.known_used_up(ask, wall_ms)
        {
            effects.push(OwnerEffect::Answer(asker, Ok(Outcome::Exhausted(exhausted))));
            return;
        }
        if self.queue.len() >= self.settings.queue_operations {
            effects.push(OwnerEffect::Answer(asker, Err(OwnerProblem::Overloaded)));
            return;
        }
        self.queue.push_back((asker, operation));
        self.pump(wall_ms, effects);
    }

    /// What the transaction under way came to, operation by operation.
    pub fn committed(
        &mut self,
        outcomes: Result<Vec<Outcome>, OwnerProblem>,
        wall_ms: u64,
        effects: &mut Vec<OwnerEffect<T>>,
    ) {
        let Some(Committing { askers, started_ms }) = self.committing.take() else { return };
        match outcomes {
            Ok(outcomes) => {
                for ((asker, frees), outcome) in askers.into_iter().zip(outcomes) {
                    if frees {
                        self.used_up.clear();
                    }
                    if let Outcome::Exhausted(exhausted) = &outcome {
                        self.remember(exhausted, started_ms, wall_ms);
                    }
                    let answer = |asker| OwnerEffect::Answer(asker, Ok(outcome));
                    effects.extend(asker.map(answer));
                }
            }
            Err(problem) => {
                // It may have been written, and with it what frees a limit.
                if askers.iter().any(|(_, frees)| *frees) {
                    self.used_up.clear();
                }
                let answer = |asker| OwnerEffect::Answer(asker, Err(problem));
                effects.extend(askers.into_iter().filter_map(|(asker, _)| asker).map(answer));
                if problem == OwnerProblem::NotOwner {
                    self.resign(effects);
                    return;
                }
            }
        }
        self.pump(wall_ms, effects);
    }

    /// Answers all that wait: the lease is lost or given away. A transaction under way is still
    /// to be reported.
    pub fn resign(&mut self, effects: &mut Vec<OwnerEffect<T>>) {
        let answer = |(asker, _)| OwnerEffect::Answer(asker, Err(OwnerProblem::NotOwner));
        effects.extend(self.queue.drain(..).map(answer));
        effects.push(OwnerEffect::Resign);
    }

    /// Whether nothing waits and nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.committing.is_none()
    }

    /// Keeps what is used up, unless a window ended while the store was at work: the word may be
    /// about the one before.
    fn remember(&mut self, exhausted: &Exhausted, started_ms: u64, wall_ms: u64) {
        let key = CounterKey::of(&exhausted.limit, wall_ms);
        if key != CounterKey::of(&exhausted.limit, started_ms) {
            return;
        }
        self.used_up.retain(|(known, _)| *known != key);
        self.used_up.push((key, exhausted.clone()));
    }

    fn known_used_up(&mut self, ask: &Ask, wall_ms: u64) -> Option<Exhausted> {
        self.used_up.retain(|(key, _)| key.index == key.window.index(wall_ms));
        let applies = |exhausted: &Exhausted| {
            let limited = exhausted.limit.model.as_ref();
            limited.is_none_or(|model| *model == ask.model)
                && ask.need.get(exhausted.limit.unit) > exhausted.remaining
        };
        let found = self.used_up.iter().map(|(_, exhausted)| exhausted).find(|one| applies(one));
        found.map(|exhausted| {
            let window = exhausted.limit.window;
            let end_ms = window.end_ms(window.index(wall_ms));
            Exhausted { resets_in_ms: end_ms.saturating_sub(wall_ms), ..exhausted.clone() }
        })
    }

    /// Starts the next transaction when none is under way.
    fn pump(&mut self, wall_ms: u64, effects: &mut Vec<OwnerEffect<T>>) {
        if self.committing.is_some() || self.queue.is_empty() {
            return;
        }
        let mut operations = Vec::new();
        let mut askers = Vec::new();
        let mut entries = 0;
        while operations.len() < self.settings.batch_operations
            && let Some((asker, operation)) = self.queue.pop_front()
        {
            let more = match &operation {
                Operation::Report(report) => report.entries.len(),
                _ => 0,
            };
            // One report alone is taken however large it is, or nothing would go on.
            if entries + more > self.settings.batch_entries && !operations.is_empty() {
                self.queue.push_front((asker, operation));
                break;
            }
            entries += more;
            let written = matches!(operation, Operation::Report(_));
            // Returns and new limits may free what was used up.
            let frees = !matches!(operation, Operation::Ask(_) | Operation::Look);
            operations.push(operation);
            if written && planted(Mutant::AnswerBeforeCommit) {
                effects.push(OwnerEffect::Answer(asker, Ok(Outcome::Written)));
                askers.push((None, frees));
            } else {
                askers.push((Some(asker), frees));
            }
        }
        self.committing = Some(Committing { askers, started_ms: wall_ms });
        effects.push(OwnerEffect::Commit(operations));
    }
}
