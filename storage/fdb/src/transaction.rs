//! A transaction of the port as one of FoundationDB.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use foundationdb::options::{ConflictRangeType, MutationType, StreamingMode};
use foundationdb::{Database, FdbError, RangeOption};
use headwater_storage::limits::{TRANSACTION_MS, check_transaction, check_value};
use headwater_storage::{
    AtomicOp, Committed, KeyRange, Pair, RangeRead, ReadMode, Stamp, Stamped, StoreError,
    Transaction, Watch,
};

use crate::failure::{NO_COMMIT_VERSION, Phase, Refusal};
use crate::keys::{KeySpace, stamped_value};

/// The port's error for one of FoundationDB; `size_bytes` is what the transaction was
/// counted to write.
pub(crate) fn refused(error: FdbError, phase: Phase, size_bytes: usize) -> StoreError {
    let refusal = Refusal {
        code: error.code(),
        text: error.message(),
        is_not_committed: error.is_retryable_not_committed(),
        phase,
        size_bytes,
    };
    refusal.error()
}

/// Retries are the port's: `on_error` of FoundationDB is never called, so its retry limit
/// has no say.
pub(crate) struct FdbTransaction {
    transaction: foundationdb::Transaction,
    keys: Arc<KeySpace>,
    read_version: u64,
    began: Instant,
    /// What the mutations count against [`check_transaction`], in bytes.
    mutation_bytes: usize,
    /// What the conflict ranges count, in bytes.
    conflict_bytes: usize,
    writes: bool,
    watches: bool,
    /// The transaction is destroyed before its database.
    _database: Arc<Database>,
}

impl FdbTransaction {
    /// FoundationDB takes the read version at the first read; the port takes it here.
    pub(crate) async fn begin(
        database: &Arc<Database>,
        keys: &Arc<KeySpace>,
    ) -> Result<Self, StoreError> {
        let refuse = |error| refused(error, Phase::Read, 0);
        let transaction = database.create_trx().map_err(refuse)?;
        let version = transaction.get_read_version().await.map_err(refuse)?;
        let read_version = u64::try_from(version).map_err(|_| {
            StoreError::Unavailable(format!("FoundationDB gave the read version {version}"))
        })?;
        Ok(FdbTransaction {
            transaction,
            keys: Arc::clone(keys),
            read_version,
            began: Instant::now(),
            mutation_bytes: 0,
            conflict_bytes: 0,
            writes: false,
            watches: false,
            _database: Arc::clone(database),
        })
    }

    /// FoundationDB tells a transaction's age by its versions, which run on when nobody
    /// asks; the port's five seconds hold for every engine alike.
    fn check_age(&self) -> Result<(), StoreError> {
        let age_ms = self.began.elapsed().as_millis();
        if age_ms > u128::from(TRANSACTION_MS) { Err(StoreError::TooOld) } else { Ok(()) }
    }

    fn refused(&self, error: FdbError, phase: Phase) -> StoreError {
        refused(error, phase, self.mutation_bytes + self.conflict_bytes)
    }

    /// Counts a write of so many bytes, before it is handed to FoundationDB.
    fn count_write(&mut self, bytes: usize) -> Result<(), StoreError> {
        check_transaction(self.mutation_bytes + bytes)?;
        self.mutation_bytes += bytes;
        self.writes = true;
        Ok(())
    }

    fn count_read(&mut self, range: &KeyRange, mode: ReadMode) {
        if mode == ReadMode::Serializable {
            self.conflict_bytes += range_bytes(range);
        }
    }

    fn add_conflict(
        &mut self,
        range: &KeyRange,
        kind: ConflictRangeType,
    ) -> Result<(), StoreError> {
        let absolute = self.keys.range(range)?;
        // FoundationDB takes an inverted range for a fault of the caller.
        if range.is_empty() {
            return Ok(());
        }
        self.transaction
            .add_conflict_range(&absolute.begin, &absolute.end, kind)
            .map_err(|error| self.refused(error, Phase::Read))?;
        self.conflict_bytes += range_bytes(range);
        Ok(())
    }
}

fn range_bytes(range: &KeyRange) -> usize {
    range.begin.len() + range.end.len()
}

#[async_trait]
impl Transaction for FdbTransaction {
    async fn get(&mut self, key: &[u8], mode: ReadMode) -> Result<Option<Vec<u8>>, StoreError> {
        let absolute = self.keys.key(key)?;
        self.check_age()?;
        self.count_read(&KeyRange::of_key(key), mode);
        let found = self.transaction.get(&absolute, mode == ReadMode::Snapshot).await;
        let value = found.map_err(|error| self.refused(error, Phase::Read))?;
        Ok(value.map(|bytes| bytes.to_vec()))
    }

    async fn range(&mut self, read: RangeRead) -> Result<Vec<Pair>, StoreError> {
        let absolute = self.keys.range(&read.range)?;
        self.check_age()?;
        let mut pairs = Vec::new();
        // To FoundationDB a limit of 0 is none.
        if read.range.is_empty() || read.limit == 0 {
            return Ok(pairs);
        }
        self.count_read(&read.range, read.mode);
        let mut rest = Some(RangeOption {
            limit: i32::try_from(read.limit).is_ok().then_some(read.limit),
            mode: StreamingMode::WantAll,
            reverse: read.reverse,
            ..RangeOption::from((absolute.begin, absolute.end))
        });
        let snapshot = read.mode == ReadMode::Snapshot;
        let mut iteration = 1;
        while let Some(part) = rest {
            let found = self.transaction.get_range(&part, iteration, snapshot).await;
            let found = found.map_err(|error| self.refused(error, Phase::Read))?;
            for pair in found.iter() {
                pairs.push((self.keys.relative(pair.key())?, pair.value().to_vec()));
            }
            rest = part.next_range(&found);
            iteration += 1;
        }
        Ok(pairs)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let absolute = self.keys.key(key)?;
        check_value(value)?;
        self.count_write(key.len() + value.len())?;
        self.transaction.set(&absolute, value);
        Ok(())
    }

    fn clear(&mut self, key: &[u8]) -> Result<(), StoreError> {
        let absolute = self.keys.key(key)?;
        self.count_write(range_bytes(&KeyRange::of_key(key)))?;
        self.transaction.clear(&absolute);
        Ok(())
    }

    fn clear_range(&mut self, range: &KeyRange) -> Result<(), StoreError> {
        let absolute = self.keys.range(range)?;
        // The client library ends the process for an inverted range.
        if range.is_empty() {
            return Ok(());
        }
        self.count_write(range_bytes(range))?;
        self.transaction.clear_range(&absolute.begin, &absolute.end);
        Ok(())
    }

    /// For an absent value FoundationDB's `MAX` and `MIN` (its second version, which it uses
    /// since API version 510) store the operand, as the port demands.
    fn atomic(&mut self, key: &[u8], op: AtomicOp, operand: &[u8]) -> Result<(), StoreError> {
        let absolute = self.keys.key(key)?;
        check_value(operand)?;
        self.count_write(key.len() + operand.len())?;
        let kind = match op {
            AtomicOp::Add => MutationType::Add,
            AtomicOp::Max => MutationType::Max,
            AtomicOp::Min => MutationType::Min,
        };
        self.transaction.atomic_op(&absolute, operand, kind);
        Ok(())
    }

    fn set_stamped_key(&mut self, key: &Stamped, value: &[u8]) -> Result<(), StoreError> {
        let absolute = self.keys.stamped_key(key)?;
        check_value(value)?;
        self.count_write(key.placeholder().len() + value.len())?;
        self.transaction.atomic_op(&absolute, value, MutationType::SetVersionstampedKey);
        Ok(())
    }

    fn set_stamped_value(&mut self, key: &[u8], value: &Stamped) -> Result<(), StoreError> {
        let absolute = self.keys.key(key)?;
        let operand = stamped_value(value)?;
        self.count_write(key.len() + value.placeholder().len())?;
        self.transaction.atomic_op(&absolute, &operand, MutationType::SetVersionstampedValue);
        Ok(())
    }

    fn add_read_conflict(&mut self, range: &KeyRange) -> Result<(), StoreError> {
        self.add_conflict(range, ConflictRangeType::Read)
    }

    fn add_write_conflict(&mut self, range: &KeyRange) -> Result<(), StoreError> {
        self.add_conflict(range, ConflictRangeType::Write)?;
        self.writes |= !range.is_empty();
        Ok(())
    }

    /// FoundationDB counts the watched key as read by this transaction.
    async fn watch(&mut self, key: &[u8]) -> Result<Watch, StoreError> {
        let absolute = self.keys.key(key)?;
        self.check_age()?;
        self.count_read(&KeyRange::of_key(key), ReadMode::Serializable);
        self.watches = true;
        // The future owns its part of the client library and outlives the transaction.
        let watch = self.transaction.watch(&absolute);
        Ok(Box::pin(async move { watch.await.map_err(|error| refused(error, Phase::Read, 0)) }))
    }

    async fn read_version(&mut self) -> Result<u64, StoreError> {
        Ok(self.read_version)
    }

    async fn commit(self: Box<Self>) -> Result<Committed, StoreError> {
        if !self.writes && !self.watches {
            return Ok(Committed { version: None, stamp: None });
        }
        let size_bytes = self.mutation_bytes + self.conflict_bytes;
        if self.writes {
            self.check_age()?;
            check_transaction(size_bytes)?;
        }
        // Can be asked for only before the commit, and is answered only after it.
        let stamp = self.writes.then(|| self.transaction.get_versionstamp());
        let phase = if self.writes { Phase::Commit } else { Phase::Read };
        let committed =
            self.transaction.commit().await.map_err(|error| refused(*error, phase, size_bytes))?;
        let Some(stamp) = stamp else { return Ok(Committed { version: None, stamp: None }) };
        // The commit has happened: no failure from here on may say that nothing was written.
        let version = committed.committed_version().map_err(|_| StoreError::CommitUnknown)?;
        let stamp = match stamp.await {
            Ok(bytes) => Some(Stamp::try_from(&*bytes).map_err(|_| StoreError::CommitUnknown)?),
            Err(error) if error.code() == NO_COMMIT_VERSION => None,
            Err(_) => return Err(StoreError::CommitUnknown),
        };
        // A commit that turned out to write nothing has the version -1.
        Ok(Committed { version: u64::try_from(version).ok(), stamp })
    }
}
