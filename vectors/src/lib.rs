//! The vectors port: what a vector sink is, told without any engine.
//!
//! A [`Space`] holds the vectors of one model version and nothing else, so vectors of two
//! versions never stand beside each other. A [`Sink`] keeps spaces, takes records by id any
//! number of times, and finds the records nearest to a vector.

#[cfg(feature = "conformance")]
pub mod conformance;
mod filter;
pub mod memory;
pub mod products;
pub mod quantise;
mod record;
mod search;
mod sink;

pub use filter::{Filter, Value};
pub use record::{Record, RecordId};
pub use search::{HITS_MAX, Hit, SearchQuery, similarity};
pub use sink::{Sink, SinkError};
pub use space::{Metric, NumberFormat, Space};

mod space;
#[cfg(any(test, feature = "conformance"))]
mod testing;
