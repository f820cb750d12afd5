//! Searching for the records nearest to a vector.

use crate::{Filter, Metric, Record};

/// What to look for.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchQuery {
    /// A vector of the space's own version, `dimensions` components.
    pub vector: Vec<f32>,
    /// The version of the vector's model; a sink refuses another one than the space's.
    pub version: String,
    /// Most hits to return, at least 1.
    pub limit: usize,
    pub filter: Option<Filter>,
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
    let dot = |left: &[f32], right: &[f32]| -> f32 {
        left.iter().zip(right).map(|(left, right)| left * right).sum()
    };
    match metric {
        Metric::Dot => dot(left, right),
        Metric::Cosine => {
            let lengths = (dot(left, left) * dot(right, right)).sqrt();
            if lengths > 0.0 { dot(left, right) / lengths } else { 0.0 }
        }
    }
}
