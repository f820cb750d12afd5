//! The embedded engine: a durable store in one file of one node's disk, on redb.
//!
//! redb keeps a copy-on-write B-tree with two commit slots, so that a crash at any moment
//! leaves the last commit whole. Above it stand the port's optimistic transactions: reads
//! come from redb's snapshots, and one committer thread puts the commits in order and
//! writes those that wait together as one group with one fsync.
//!
//! **Durability.** With [`Fsync::Always`] a commit is answered after its group is on disk.
//! With [`Fsync::Delayed`] it is answered before, and the disk follows within
//! [`DELAYED_FSYNC_MS`]: a crash loses at most that much, whole commits only, the last ones.

mod committer;
mod failure;
mod snapshot;
mod store;

pub use committer::DELAYED_FSYNC_MS;
pub use store::{EmbeddedSettings, EmbeddedStore, Fsync};
