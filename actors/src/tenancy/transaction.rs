//! One owner's transaction: proves the lease, reads the rows, does the arithmetic, writes.

use std::collections::{BTreeMap, BTreeSet};

use headwater_storage::retry::Retry;
use headwater_storage::{KeyRange, RangeRead, ReadMode, StoreError, Transaction, codec};
use headwater_tenancy::{
    Amounts, Ask, Books, CounterKey, Entry, EntryId, GrantSettings, Limit, Limits, Operation,
    Outcome, OwnerProblem, Report, Thresholds, Window, apply_return, charge, grant, reached,
};
use serde::{Deserialize, Serialize};

use super::limited;
use super::records::{
    AmountsRecord, LedgerRow, LimitsRecord, allowance_key, allowances_of, counter_key,
    decode_allowance, encode_allowance, encode_entry, ledger_key, limits_key, meta_key, usage_key,
    windows_before,
};
use super::told::{Told, tell};
use crate::cluster::{LeaseProof, lease_stands};
use crate::runtime::Runtime;

const RECORD: u8 = 1;
/// Counters of so many windows stay for people to look at.
const WINDOWS_KEPT: u64 = 120;
/// Entries of one report whose numbers are further apart are looked for one by one: what lies
/// between them would be read for nothing.
const ENTRIES_APART: u128 = 64;
/// Every so many transactions old rows are swept.
const SWEEP_EVERY: u64 = 64;
/// Most allowances looked at in one sweep.
const SWEEP_ROWS: usize = 100;
/// An allowance that did not come back for so long never will: its edge is gone.
const ALLOWANCE_KEPT_MS: u64 = 24 * 60 * 60 * 1000;

/// The key of a tenant's lease.
pub fn tenant_key(tenant: &str) -> Vec<u8> {
    format!("tenant/{tenant}").into_bytes()
}

/// One transaction's work.
#[derive(Clone)]
pub(super) struct Batch {
    pub(super) tenant: String,
    pub(super) proof: LeaseProof,
    pub(super) operations: Vec<Operation>,
    pub(super) grants: GrantSettings,
    /// Of limits that are told of.
    pub(super) thresholds: Thresholds,
    pub(super) told: Told,
}

/// Counts a tenant's transactions.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct MetaRecord {
    sequence: u64,
}

/// Does all of the batch in one transaction. Doing it twice is as good as once: every operation
/// is found by its id.
pub(super) async fn commit(
    retry: &Retry,
    runtime: &Runtime,
    batch: Batch,
) -> Result<Vec<Outcome>, OwnerProblem> {
    let (tenant, known) = (batch.tenant.clone(), batch.told.clone());
    let written = retry
        .write_idempotent(|transaction| {
            let (batch, wall_ms) = (batch.clone(), runtime.wall_ms());
            Box::pin(async move {
                if !lease_stands(transaction, &batch.proof).await? {
                    return Ok(None);
                }
                let mut rows = Rows::load(transaction, &batch.tenant).await?;
                let mut outcomes = Vec::with_capacity(batch.operations.len());
                for operation in &batch.operations {
                    outcomes.push(rows.apply(transaction, &batch, operation, wall_ms).await?);
                }
                let notices = reached(&rows.books, &rows.refused, batch.thresholds, wall_ms);
                rows.store(transaction, wall_ms).await?;
                let told = tell(transaction, &batch.tenant, notices, &batch.told, wall_ms).await?;
                Ok(Some((outcomes, told)))
            })
        })
        .await;
    match written {
        Ok(Some((outcomes, told))) => {
            known.remember(told);
            Ok(outcomes)
        }
        Ok(None) => Err(OwnerProblem::NotOwner),
        Err(error) => {
            tracing::warn!(tenant, %error, "an owner's transaction failed");
            Err(OwnerProblem::StoreDown)
        }
    }
}

/// What the transaction has read and will write.
struct Rows<'a> {
    tenant: &'a str,
    books: Books,
    before: BTreeMap<CounterKey, u64>,
    usage: BTreeMap<Vec<u8>, Amounts>,
    /// Limits that left an ask too little.
    refused: Vec<Limit>,
    sequence: u64,
    changed: bool,
}

impl<'a> Rows<'a> {
    async fn load(
        transaction: &mut dyn Transaction,
        tenant: &'a str,
    ) -> Result<Rows<'a>, StoreError> {
        // Nothing lies between the two rows, so one read gets both.
        let (limits_key, meta_key) = (limits_key(tenant), meta_key(tenant));
        let range = KeyRange::new(limits_key.clone(), KeyRange::of_key(&meta_key).end);
        let rows: BTreeMap<Vec<u8>, Vec<u8>> =
            transaction.range(RangeRead::all(range)).await?.into_iter().collect();
        let limits: Option<LimitsRecord> =
            rows.get(&limits_key).map(|row| codec::decode(RECORD, row)).transpose()?;
        let limits = limits.map(Limits::try_from).transpose()?.unwrap_or_default();
        let meta: Option<MetaRecord> =
            rows.get(&meta_key).map(|row| codec::decode(RECORD, row)).transpose()?;
        Ok(Rows {
            tenant,
            books: Books { limits, counters: BTreeMap::new() },
            before: BTreeMap::new(),
            usage: BTreeMap::new(),
            refused: Vec::new(),
            sequence: meta.unwrap_or_default().sequence + 1,
            changed: false,
        })
    }

    async fn apply(
        &mut self,
        transaction: &mut dyn Transaction,
        batch: &Batch,
        operation: &Operation,
        wall_ms: u64,
    ) -> Result<Outcome, StoreError> {
        match operation {
            Operation::Ask(ask) => self.ask(transaction, ask, &batch.grants, wall_ms).await,
            Operation::Report(report) => {
                self.report(transaction, report, batch.proof.epoch, wall_ms).await
            }
            Operation::SetLimits(limits) => {
                let revision = self.books.limits.revision + 1;
                self.books.limits = Limits { revision, limits: limits.limits.clone() };
                let record = LimitsRecord::from(&self.books.limits);
                transaction.set(&limits_key(self.tenant), &codec::encode(RECORD, &record)?)?;
                limited::note(transaction, self.tenant, !limits.limits.is_empty())?;
                self.changed = true;
                Ok(Outcome::LimitsSet { revision })
            }
            Operation::Look => {
                let limits = self.books.limits.limits.clone();
                let keys = limits.iter().map(|limit| CounterKey::of(limit, wall_ms));
                for key in keys {
                    self.need(transaction, key).await?;
                }
                Ok(Outcome::Looked(self.books.clone()))
            }
        }
    }

    async fn ask(
        &mut self,
        transaction: &mut dyn Transaction,
        ask: &Ask,
        settings: &GrantSettings,
        wall_ms: u64,
    ) -> Result<Outcome, StoreError> {
        let row_key = allowance_key(self.tenant, ask.id);
        let existing = transaction.get(&row_key, ReadMode::Serializable).await?;
        let existing = existing.map(|row| decode_allowance(&row)).transpose()?;
        self.need_for(transaction, &ask.model, wall_ms).await?;
        match grant(&mut self.books, existing.as_ref(), ask, wall_ms, settings) {
            Ok(record) => {
                if existing.is_none() {
                    transaction.set(&row_key, &encode_allowance(&record)?)?;
                    self.changed = true;
                }
                Ok(Outcome::Granted(record.allowance))
            }
            Err(exhausted) => {
                self.refused.push(exhausted.limit.clone());
                Ok(Outcome::Exhausted(exhausted))
            }
        }
    }

    async fn report(
        &mut self,
        transaction: &mut dyn Transaction,
        report: &Report,
        epoch: u64,
        wall_ms: u64,
    ) -> Result<Outcome, StoreError> {
        let standing = self.standing(transaction, &report.entries).await?;
        for entry in &report.entries {
            let row_key = ledger_key(self.tenant, entry.id);
            let stands = standing.contains(&row_key);
            if !entry.uncovered.is_zero() {
                self.need_for(transaction, &entry.model, wall_ms).await?;
            }
            if !charge(&mut self.books, stands, entry, wall_ms) {
                continue;
            }
            let row = LedgerRow { entry: entry.clone(), sequence: self.sequence, epoch };
            transaction.set(&row_key, &encode_entry(&row)?)?;
            let usage = usage_key(self.tenant, entry.at_ms, &entry.model);
            let sum = self.usage.entry(usage).or_default();
            *sum = sum.plus(entry.used);
            self.changed = true;
        }
        for given_back in &report.returns {
            let row_key = allowance_key(self.tenant, given_back.id);
            let existing = transaction.get(&row_key, ReadMode::Serializable).await?;
            let Some(record) = existing.map(|row| decode_allowance(&row)).transpose()? else {
                continue;
            };
            for key in &record.counters {
                self.need(transaction, key.clone()).await?;
            }
            if apply_return(&mut self.books, Some(&record), given_back) {
                transaction.clear(&row_key)?;
            }
            self.changed = true;
        }
        Ok(Outcome::Written)
    }

    /// The ledger's rows of these entries that stand already. One edge numbers its entries on,
    /// so most lie side by side and one read finds them; long requests lie apart.
    async fn standing(
        &self,
        transaction: &mut dyn Transaction,
        entries: &[Entry],
    ) -> Result<BTreeSet<Vec<u8>>, StoreError> {
        let mut ids: Vec<EntryId> = entries.iter().map(|entry| entry.id).collect();
        ids.sort_unstable();
        let mut standing = BTreeSet::new();
        for side_by_side in ids.chunk_by(|one, next| next.0 - one.0 <= ENTRIES_APART) {
            let (Some(first), Some(last)) = (side_by_side.first(), side_by_side.last()) else {
                continue;
            };
            let (first, last) = (ledger_key(self.tenant, *first), ledger_key(self.tenant, *last));
            let range = KeyRange::new(first, KeyRange::of_key(&last).end);
            let rows = transaction.range(RangeRead::all(range)).await?;
            standing.extend(rows.into_iter().map(|(key, _)| key));
        }
        Ok(standing)
    }

    /// Reads the counters of every limit on this model, now.
    async fn need_for(
        &mut self,
        transaction: &mut dyn Transaction,
        model: &str,
        wall_ms: u64,
    ) -> Result<(), StoreError> {
        let limits = self.books.limits.of_model(model);
        let keys: Vec<CounterKey> = limits.map(|limit| CounterKey::of(limit, wall_ms)).collect();
        for key in keys {
            self.need(transaction, key).await?;
        }
        Ok(())
    }

    async fn need(
        &mut self,
        transaction: &mut dyn Transaction,
        key: CounterKey,
    ) -> Result<(), StoreError> {
        if self.before.contains_key(&key) {
            return Ok(());
        }
        let row_key = counter_key(self.tenant, &key);
        let row = transaction.get(&row_key, ReadMode::Serializable).await?;
        let count: u64 = row.map_or(Ok(0), |row| codec::decode(RECORD, &row))?;
        self.before.insert(key.clone(), count);
        self.books.counters.insert(key, count);
        Ok(())
    }

    async fn store(
        self,
        transaction: &mut dyn Transaction,
        wall_ms: u64,
    ) -> Result<(), StoreError> {
        let Rows { tenant, books, before, usage, sequence, changed, refused: _ } = self;
        if !changed {
            return Ok(());
        }
        for (key, count) in &books.counters {
            if before.get(key) != Some(count) {
                transaction.set(&counter_key(tenant, key), &codec::encode(RECORD, count)?)?;
            }
        }
        for (row_key, more) in usage {
            let row = transaction.get(&row_key, ReadMode::Serializable).await?;
            let sum: AmountsRecord =
                row.map_or(Ok(AmountsRecord::default()), |row| codec::decode(RECORD, &row))?;
            let sum = AmountsRecord::from(Amounts::from(sum).plus(more));
            transaction.set(&row_key, &codec::encode(RECORD, &sum)?)?;
        }
        transaction.set(&meta_key(tenant), &codec::encode(RECORD, &MetaRecord { sequence })?)?;
        if sequence.is_multiple_of(SWEEP_EVERY) {
            sweep(transaction, tenant, wall_ms).await?;
        }
        Ok(())
    }
}

/// Drops counters of windows long past, and allowances of edges that never came back. Neither
/// counts any more.
async fn sweep(
    transaction: &mut dyn Transaction,
    tenant: &str,
    wall_ms: u64,
) -> Result<(), StoreError> {
    for window in Window::ALL {
        let oldest = window.index(wall_ms).saturating_sub(WINDOWS_KEPT);
        for kind in ["counter", "told"] {
            transaction.clear_range(&windows_before(tenant, kind, window, oldest))?;
        }
    }
    let read = RangeRead::all(allowances_of(tenant)).limit(SWEEP_ROWS);
    for (row_key, row) in transaction.range(read).await? {
        let record = decode_allowance(&row)?;
        if record.granted_ms.saturating_add(ALLOWANCE_KEPT_MS) < wall_ms {
            transaction.clear(&row_key)?;
        }
    }
    Ok(())
}
