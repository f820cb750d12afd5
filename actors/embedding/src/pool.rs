//! The two service levels on one fleet.

/// Whose latency contract a request is under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Pool {
    /// Somebody waits for the answer.
    #[default]
    Query,
    /// Bulk work: it takes what queries leave over and yields to them between batches.
    Ingest,
}

impl Pool {
    pub const ALL: [Pool; 2] = [Pool::Query, Pool::Ingest];

    /// The place in [`Pool::ALL`], for one row of something by pool.
    pub fn index(self) -> usize {
        match self {
            Pool::Query => 0,
            Pool::Ingest => 1,
        }
    }

    /// The name in metrics and answers.
    pub fn name(self) -> &'static str {
        match self {
            Pool::Query => "query",
            Pool::Ingest => "ingest",
        }
    }
}
