//! Searching for the records nearest to a vector.

use crate::products::dot;
use crate::{Filter, Metric, Record, SinkError, Space};

/// Most hits that a search may ask for.
pub const HITS_MAX: usize = 10_000;

/// What to look for.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchQuery {
    /// A vector of the space's own version, `dimensions` components.
    pub vector: Vec<f32>,
    /// The version of the vector's model; a sink refuses another one than the space's.
    pub version: String,
    /// Most hits to return, 1 to [`HITS_MAX`].
    pub limit: usize,
    pub filter: Option<Filter>,
}

impl SearchQuery {
    /// Refuses a query that the space cannot answer.
    ///
    /// # Errors
    /// [`SinkError::Version`] for a vector of another version or length, [`SinkError::Request`]
    /// for components that are no numbers and a limit out of range.
    pub fn check(&self, space: &Space) -> Result<(), SinkError> {
        space.admits_vector(&self.version, &self.vector)?;
        if (1..=HITS_MAX).contains(&self.limit) {
            return Ok(());
        }
        let given = self.limit;
        Err(SinkError::Request(format!("limit is {given}; ask for 1 to {HITS_MAX} hits")))
    }
}

/// A record and how near it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    pub record: Record,
    /// By the space's metric: the higher, the nearer.
    pub score: f32,
}

/// How near two vectors of one length are; 0 when one of them is all zeros.
pub fn similarity(metric: Metric, left: &[f32], right: &[f32]) -> f32 {
    metric.of_products(dot(left, right), dot(left, left), dot(right, right))
}
