//! Reads from one of redb's snapshots.

use async_trait::async_trait;
use headwater_storage::optimistic::Snapshot;
use headwater_storage::{KeyRange, Pair, StoreError};
use redb::{ReadOnlyTable, ReadTransaction, TableDefinition};

use crate::failure::{of_storage, of_table};

/// The port's keys and values.
pub(crate) const PAIRS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("pairs");
/// The engine's own numbers.
pub(crate) const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");
/// In [`NUMBERS`]: the version of the last commit.
pub(crate) const VERSION: &str = "version";

/// Reads run on the caller's thread: nearly all of them hit the cache, where handing them
/// to another thread would cost more than they do.
pub(crate) struct EmbeddedSnapshot {
    version: u64,
    pairs: ReadOnlyTable<&'static [u8], &'static [u8]>,
}

impl EmbeddedSnapshot {
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn new(transaction: &ReadTransaction) -> Result<Self, StoreError> {
        let numbers = transaction.open_table(NUMBERS).map_err(of_table)?;
        let version = numbers.get(VERSION).map_err(of_storage)?;
        let version = version.map_or(0, |version| version.value());
        let pairs = transaction.open_table(PAIRS).map_err(of_table)?;
        Ok(EmbeddedSnapshot { version, pairs })
    }
}

#[async_trait]
impl Snapshot for EmbeddedSnapshot {
    fn version(&self) -> u64 {
        self.version
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.pairs.get(key).map_err(of_storage)?;
        Ok(value.map(|value| value.value().to_vec()))
    }

    async fn range(
        &self,
        range: &KeyRange,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<Pair>, StoreError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let bounds = range.begin.as_slice()..range.end.as_slice();
        let mut found = self.pairs.range::<&[u8]>(bounds).map_err(of_storage)?;
        let mut pairs = Vec::new();
        while pairs.len() < limit {
            let next = if reverse { found.next_back() } else { found.next() };
            let Some(pair) = next else { break };
            let (key, value) = pair.map_err(of_storage)?;
            pairs.push((key.value().to_vec(), value.value().to_vec()));
        }
        if reverse {
            pairs.reverse();
        }
        Ok(pairs)
    }
}
