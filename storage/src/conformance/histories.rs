//! Random interleaved transactions. Each read is compared with the model at the
//! transaction's read version; each commit is replayed on the model at its place in the
//! order, and its serializable reads must be the same there.

use std::sync::Arc;

use super::model::{Model, Seen, Step, key_of};
use super::{Draw, Violation};
use crate::{AtomicOp, KeyRange, RangeRead, ReadMode, Store, StoreError, Transaction};

const KEYS: usize = 8;
const CLIENTS: usize = 4;
const TRANSACTIONS: usize = 10;
const STEPS: usize = 5;

/// What the histories were made of; all of it must have happened for a run to mean much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HistoryCounts {
    pub histories: usize,
    pub commits: usize,
    pub conflicts: usize,
    pub reads: usize,
}

pub(super) async fn run(
    store: &Arc<dyn Store>,
    seed: u64,
    histories: usize,
) -> Result<HistoryCounts, Violation> {
    let mut counts = HistoryCounts { histories, ..HistoryCounts::default() };
    for number in 0..histories as u64 {
        let history_seed = Draw::new(seed ^ number.rotate_left(32)).number();
        let mut history = History::new(store.as_ref(), history_seed);
        let outcome = history.run().await;
        outcome.map_err(|what| Violation { place: format!("history {number} of {seed}"), what })?;
        counts.commits += history.counts.commits;
        counts.conflicts += history.counts.conflicts;
        counts.reads += history.counts.reads;
    }
    Ok(counts)
}

struct History<'a> {
    store: &'a dyn Store,
    prefix: Vec<u8>,
    draw: Draw,
    /// What is committed.
    model: Model,
    counts: HistoryCounts,
}

/// A transaction under way.
struct Client {
    transaction: Box<dyn Transaction>,
    /// The committed state when it began, plus its own writes.
    view: Model,
    steps_left: usize,
    done: Vec<(Step, Option<Seen>)>,
}

impl<'a> History<'a> {
    fn new(store: &'a dyn Store, seed: u64) -> Self {
        let prefix = [b"history/", seed.to_be_bytes().as_slice(), b"/"].concat();
        let (draw, model) = (Draw::new(seed), Model::default());
        History { store, prefix, draw, model, counts: HistoryCounts::default() }
    }

    async fn run(&mut self) -> Result<(), String> {
        let mut clients: Vec<Option<Client>> = (0..CLIENTS).map(|_| None).collect();
        let mut to_begin = TRANSACTIONS;
        while to_begin > 0 || clients.iter().any(Option::is_some) {
            let place = self.draw.below(CLIENTS);
            match clients[place].take() {
                None if to_begin > 0 => {
                    to_begin -= 1;
                    clients[place] = Some(self.begin().await?);
                }
                None => {}
                Some(mut client) if client.steps_left > 0 => {
                    self.step(&mut client).await?;
                    clients[place] = Some(client);
                }
                Some(client) => self.commit(client).await?,
            }
        }
        let range = KeyRange::of_prefix(&self.prefix);
        let mut last = self.store.begin().await.map_err(super::told("begin"))?;
        let found = last.range(RangeRead::all(range.clone())).await;
        let found = found.map_err(super::told("the last read"))?;
        super::same("the state at the end", found, self.model.pairs(&range))?;
        last.clear_range(&range).map_err(super::told("clearing"))?;
        last.commit().await.map(|_| ()).map_err(super::told("clearing"))
    }

    async fn begin(&mut self) -> Result<Client, String> {
        let mut transaction = self.store.begin().await.map_err(super::told("begin"))?;
        // Engines may choose the version at the first read; this pins it here.
        transaction.read_version().await.map_err(super::told("read_version"))?;
        let steps_left = 1 + self.draw.below(STEPS);
        Ok(Client { transaction, view: self.model.clone(), steps_left, done: Vec::new() })
    }

    async fn step(&mut self, client: &mut Client) -> Result<(), String> {
        client.steps_left -= 1;
        let step = draw_step(&mut self.draw);
        let seen = perform(client.transaction.as_mut(), &self.prefix, &step).await;
        let seen = seen.map_err(super::told(&format!("{step:?}")))?;
        let expected = client.view.step(&self.prefix, &step);
        self.counts.reads += usize::from(seen.is_some());
        super::same(&format!("{step:?} at its read version"), &seen, &expected)?;
        client.done.push((step, seen));
        Ok(())
    }

    async fn commit(&mut self, client: Client) -> Result<(), String> {
        let writes = client.done.iter().any(|(_, seen)| seen.is_none());
        match client.transaction.commit().await {
            Ok(committed) => {
                super::same("whether it has a version", committed.version.is_some(), writes)?
            }
            Err(StoreError::Conflict) if writes => {
                self.counts.conflicts += 1;
                return Ok(());
            }
            Err(error) => return Err(super::told("commit")(error)),
        }
        if !writes {
            return Ok(());
        }
        self.counts.commits += 1;
        for (step, seen) in &client.done {
            let expected = self.model.step(&self.prefix, step);
            if is_serializable(step) {
                super::same(&format!("{step:?} at its commit"), seen, &expected)?;
            }
        }
        Ok(())
    }
}

fn is_serializable(step: &Step) -> bool {
    !matches!(step, Step::Get { serializable: false, .. } | Step::Range { serializable: false, .. })
}

fn draw_step(draw: &mut Draw) -> Step {
    let key = draw.below(KEYS) as u8;
    let (begin, end) = (key, key + draw.below(KEYS) as u8);
    let serializable = draw.percent(80);
    let number = draw.number().to_le_bytes();
    let value = number[..1 + draw.below(3)].to_vec();
    match draw.below(10) {
        0..=2 => Step::Get { key, serializable },
        3 | 4 => {
            let limit = if draw.percent(50) { usize::MAX } else { 1 + draw.below(4) };
            Step::Range { begin, end, limit, reverse: draw.percent(40), serializable }
        }
        5 | 6 => Step::Set { key, value },
        7 => Step::Clear { key },
        // An empty range would be no write at all.
        8 => Step::ClearRange { begin, end: end + 1 },
        _ => {
            let op = [AtomicOp::Add, AtomicOp::Max, AtomicOp::Min][draw.below(3)];
            Step::Atomic { key, op, operand: value }
        }
    }
}

async fn perform(
    transaction: &mut dyn Transaction,
    prefix: &[u8],
    step: &Step,
) -> Result<Option<Seen>, StoreError> {
    let key_of = |key: &u8| key_of(prefix, *key);
    let mode = if is_serializable(step) { ReadMode::Serializable } else { ReadMode::Snapshot };
    match step {
        Step::Get { key, .. } => {
            return Ok(Some(Seen::Value(transaction.get(&key_of(key), mode).await?)));
        }
        Step::Range { begin, end, limit, reverse, .. } => {
            let range = KeyRange::new(key_of(begin), key_of(end));
            let read = RangeRead { range, limit: *limit, reverse: *reverse, mode };
            return Ok(Some(Seen::Pairs(transaction.range(read).await?)));
        }
        Step::Set { key, value } => transaction.set(&key_of(key), value)?,
        Step::Clear { key } => transaction.clear(&key_of(key))?,
        Step::ClearRange { begin, end } => {
            transaction.clear_range(&KeyRange::new(key_of(begin), key_of(end)))?;
        }
        Step::Atomic { key, op, operand } => transaction.atomic(&key_of(key), *op, operand)?,
    }
    Ok(None)
}
