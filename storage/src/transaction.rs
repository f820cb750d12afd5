//! The port's traits: a store, and the transactions that it begins.

use std::pin::Pin;

use async_trait::async_trait;

use crate::{AtomicOp, Stamp, Stamped, StoreError};

/// A key with its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Resolves when the watched key's value is no longer what the transaction saw. An error
/// says that the watch is lost: read the key again and watch anew.
pub type Watch = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// Keys from `begin` up to but not including `end`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyRange {
    pub begin: Vec<u8>,
    pub end: Vec<u8>,
}

impl KeyRange {
    pub fn new(begin: impl Into<Vec<u8>>, end: impl Into<Vec<u8>>) -> Self {
        KeyRange { begin: begin.into(), end: end.into() }
    }

    /// The range of one key alone.
    pub fn of_key(key: &[u8]) -> Self {
        let mut end = key.to_vec();
        end.push(0);
        KeyRange { begin: key.to_vec(), end }
    }

    /// All keys that start with the prefix.
    pub fn of_prefix(prefix: &[u8]) -> Self {
        let kept = prefix.iter().rposition(|byte| *byte != 0xff).map_or(0, |last| last + 1);
        let mut end = prefix[..kept].to_vec();
        match end.last_mut() {
            Some(last) => *last += 1,
            None => end.push(0xff),
        }
        KeyRange { begin: prefix.to_vec(), end }
    }

    pub fn is_empty(&self) -> bool {
        self.begin >= self.end
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        self.begin.as_slice() <= key && key < self.end.as_slice()
    }
}

/// Whether a read takes part in conflict detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadMode {
    /// The commit fails when another transaction changes what was read.
    #[default]
    Serializable,
    /// Read and forget: another transaction's change does not matter.
    Snapshot,
}

/// What to read of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeRead {
    pub range: KeyRange,
    /// Most pairs to return.
    pub limit: usize,
    /// From the end backwards.
    pub reverse: bool,
    pub mode: ReadMode,
}

impl RangeRead {
    /// All of a range, in order.
    pub fn all(range: KeyRange) -> Self {
        RangeRead { range, limit: usize::MAX, reverse: false, mode: ReadMode::Serializable }
    }

    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    pub fn reverse(mut self) -> Self {
        self.reverse = true;
        self
    }

    pub fn snapshot(mut self) -> Self {
        self.mode = ReadMode::Snapshot;
        self
    }
}

/// A commit that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The version at which the writes are visible; `None` when there was nothing to write.
    pub version: Option<u64>,
    /// The stamp that the transaction's placeholders became.
    pub stamp: Option<Stamp>,
}

/// An engine.
#[async_trait]
pub trait Store: Send + Sync {
    /// The engine's name, for logs.
    fn engine(&self) -> &'static str;

    /// Begins a transaction that reads what is committed now.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError>;
}

/// One transaction. Dropping it without a commit writes nothing.
#[async_trait]
pub trait Transaction: Send {
    /// The value of a key, the transaction's own writes included.
    ///
    /// # Errors
    /// [`StoreError::TooOld`], [`StoreError::Unavailable`], limits; [`StoreError::Usage`]
    /// for a key whose value holds a stamp of this transaction.
    async fn get(&mut self, key: &[u8], mode: ReadMode) -> Result<Option<Vec<u8>>, StoreError>;

    /// The pairs of a range, the transaction's own writes included.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    async fn range(&mut self, read: RangeRead) -> Result<Vec<Pair>, StoreError>;

    /// # Errors
    /// [`StoreError::Limit`] and [`StoreError::Usage`], as for every write.
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError>;

    /// # Errors
    /// As [`Transaction::set`].
    fn clear(&mut self, key: &[u8]) -> Result<(), StoreError>;

    /// # Errors
    /// As [`Transaction::set`].
    fn clear_range(&mut self, range: &KeyRange) -> Result<(), StoreError>;

    /// Changes a value at the commit without reading it, so that such changes do not
    /// conflict with each other.
    ///
    /// # Errors
    /// As [`Transaction::set`].
    fn atomic(&mut self, key: &[u8], op: AtomicOp, operand: &[u8]) -> Result<(), StoreError>;

    /// Sets a key that holds the commit's stamp.
    ///
    /// # Errors
    /// As [`Transaction::set`].
    fn set_stamped_key(&mut self, key: &Stamped, value: &[u8]) -> Result<(), StoreError>;

    /// Sets a value that holds the commit's stamp.
    ///
    /// # Errors
    /// As [`Transaction::set`].
    fn set_stamped_value(&mut self, key: &[u8], value: &Stamped) -> Result<(), StoreError>;

    /// Counts the range as read.
    ///
    /// # Errors
    /// As [`Transaction::set`].
    fn add_read_conflict(&mut self, range: &KeyRange) -> Result<(), StoreError>;

    /// Counts the range as written.
    ///
    /// # Errors
    /// As [`Transaction::set`].
    fn add_write_conflict(&mut self, range: &KeyRange) -> Result<(), StoreError>;

    /// Watches a key from the commit on; this reads it as [`ReadMode::Serializable`]. The watch of a transaction that does not commit
    /// resolves to an error.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    async fn watch(&mut self, key: &[u8]) -> Result<Watch, StoreError>;

    /// The version that this transaction reads.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn read_version(&mut self) -> Result<u64, StoreError>;

    /// Writes everything, or nothing and an error. A transaction without writes and write
    /// conflicts always commits.
    ///
    /// # Errors
    /// Any kind; see [`StoreError`] for what to do.
    async fn commit(self: Box<Self>) -> Result<Committed, StoreError>;
}
