//! The Qdrant adapter of the vectors port, over Qdrant's documented REST API (1.16 or later).
//! Source: "API Reference" at api.qdrant.tech.
//!
//! | of the port | in Qdrant |
//! | --- | --- |
//! | space | a collection; model, version and format stand in its metadata |
//! | record | a point, its id a UUID of the first 16 bytes of the record's id |
//! | model, version, id, source, fields | the point's payload: `model`, `version`, `chunk_sha256`, `source`, `fields` |
//! | `f16` | datatype `float16` |
//! | `i8`, `binary` | scalar or binary quantisation beside the vectors in f32, by which Qdrant rescores |
//!
//! **Ids.** Two records whose ids agree in their first 16 bytes would be one point. Ids are
//! SHA-256, so among n records the chance is n² / 2¹²⁹: 10⁻²¹ for a billion. A read compares the
//! whole id and takes another one for a record that is not there.
//!
//! **Vectors.** Under the cosine Qdrant keeps vectors of length 1. The payload keeps the length,
//! and a read multiplies it back, which is exact to f32's rounding.
//!
//! **When a call returns.** Writes wait until they are applied (`wait=true`, `ordering=strong`).
//! On a Qdrant cluster a search may ask a replica that lags unless the collection's
//! `write_consistency_factor` is its `replication_factor`.
//!
//! **Equal scores** come in the order of their ids within the hits; which of them the last place
//! goes to is Qdrant's choice.

mod client;
mod filter;
mod settings;
mod sink;
mod wire;

#[cfg(test)]
mod tests;

pub use settings::{ApiKey, QdrantSettings};
pub use sink::QdrantSink;
