//! The escape and abuse suite that every engine must pass: attackers' programs, and what must be seen.
//!
//! An engine is checked through [`Engine`] and [`Slot`](crate::Slot) alone. What must not happen on
//! the host is seen by a [`Witness`] that the caller brings.

mod data;
mod ordinary;
mod run;

use async_trait::async_trait;

use crate::engine::Engine;
use crate::image::Image;

pub use data::{Case, See, cases};

/// What lies on the host for attackers to reach for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The path of a file that no guest may read or change.
    pub canary: String,
    /// A TCP port of the host's loopback that must get no connection.
    pub port: u16,
    /// The name of an abstract Unix socket that must get no connection.
    pub abstract_socket: String,
    /// The path of a Unix socket that must get no connection.
    pub socket: String,
}

/// What the engine's slots take of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub processes: usize,
    pub mounts: usize,
    pub cgroups: usize,
}

/// Sees on the host what guests did.
#[async_trait]
pub trait Witness: Send {
    fn places(&self) -> Places;

    /// What has happened since the last question that must not: a connection, a changed canary.
    async fn faults(&mut self) -> Vec<String>;

    /// What is there now of engines' slots; the same before a case and after it.
    async fn counts(&mut self) -> Counts;
}

/// What one case has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub name: String,
    pub passed: bool,
    /// What was seen; the reason where it did not pass.
    pub seen: String,
}

/// Runs every case of the engine's class, or those whose names hold `only`; never stops at the
/// first that fails.
pub async fn run(
    engine: &dyn Engine,
    image: &Image,
    witness: &mut dyn Witness,
    only: &str,
) -> Vec<Report> {
    let mut reports = run::attacks(engine, image, witness, only).await;
    reports.extend(ordinary::all(engine, image, witness, only).await);
    reports
}
