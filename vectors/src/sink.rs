//! The port's one trait.

use async_trait::async_trait;

use crate::{Hit, Record, RecordId, SearchQuery, Space};

/// Why a sink did not do what it was asked, by what the caller should do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// The space is not there, or is another one than the caller believes; nothing was done.
    #[error("{0}")]
    Space(String),
    /// A vector or a query of another model version, or of another length; nothing was done.
    #[error("{0}")]
    Version(String),
    /// The request breaks a limit and must be changed; nothing was done.
    #[error("{0}")]
    Request(String),
    /// The sink does not answer or has no room now; some of the request may have happened.
    /// Every call may be made again.
    #[error("the vector sink is not available: {0}")]
    Unavailable(String),
}

/// A place that keeps vectors. Every call may be repeated without harm: after an unknown
/// outcome the caller makes it again.
#[async_trait]
pub trait Sink: Send + Sync {
    /// The sink's name, for logs and answers.
    fn name(&self) -> &'static str;

    /// Creates the space, or finds it.
    ///
    /// # Errors
    /// [`SinkError::Space`] when a space of that name but another version, length, metric or
    /// format is there.
    async fn create(&self, space: &Space) -> Result<(), SinkError>;

    /// The space of this name.
    ///
    /// # Errors
    /// [`SinkError::Unavailable`].
    async fn space(&self, name: &str) -> Result<Option<Space>, SinkError>;

    /// Drops a space with all its records; one that is not there is no error.
    ///
    /// # Errors
    /// [`SinkError::Unavailable`].
    async fn drop_space(&self, name: &str) -> Result<(), SinkError>;

    /// Writes the records; one with the id of an earlier one replaces it. When this returns,
    /// they are durable and every later [`Sink::get`], [`Sink::page`] and [`Sink::search`] sees
    /// them.
    ///
    /// # Errors
    /// [`SinkError::Version`] for a record of another version or length, with nothing written.
    async fn upsert(&self, space: &str, records: Vec<Record>) -> Result<(), SinkError>;

    /// Removes records; ids that are not there are no error.
    ///
    /// # Errors
    /// [`SinkError::Space`] and [`SinkError::Unavailable`].
    async fn delete(&self, space: &str, ids: &[RecordId]) -> Result<(), SinkError>;

    /// The records of these ids, in their order. A vector comes back as the space's format
    /// keeps it.
    ///
    /// # Errors
    /// [`SinkError::Space`] and [`SinkError::Unavailable`].
    async fn get(&self, space: &str, ids: &[RecordId]) -> Result<Vec<Option<Record>>, SinkError>;

    /// Records in the order of their ids, those behind `after` first, at most `limit`.
    ///
    /// # Errors
    /// [`SinkError::Space`] and [`SinkError::Unavailable`].
    async fn page(
        &self,
        space: &str,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<Vec<Record>, SinkError>;

    /// How many records the space holds.
    ///
    /// # Errors
    /// [`SinkError::Space`] and [`SinkError::Unavailable`].
    async fn count(&self, space: &str) -> Result<u64, SinkError>;

    /// The records nearest to the query, the nearest first.
    ///
    /// # Errors
    /// [`SinkError::Version`] when the query's version is not the space's.
    async fn search(&self, space: &str, query: &SearchQuery) -> Result<Vec<Hit>, SinkError>;
}
