//! What a seed of the gateway workload draws.

use headwater_actors::gateway::{BreakerSettings, Choice, GatewaySettings, RetrySettings};

use crate::world::World;

/// When faults stop, in virtual ms.
pub(super) const HEAL_MS: u64 = 40_000;
/// When all has been charged, in virtual ms.
pub(super) const CHECK_MS: u64 = 150_000;
pub(super) const END_MS: u64 = 151_000;
/// The longest that a request to the store is late, in ms.
pub(super) const LATE_MS: u64 = 1_000;
/// The longest that a backend is silent before its adapter gives up, in ms.
pub(super) const SILENT_MS: u64 = 3_000;

/// What may be wrong with a backend, in percent of its calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mood {
    pub(super) broken: u64,
    pub(super) limited: u64,
    pub(super) silent: u64,
    pub(super) cut: u64,
    /// Longest time between two words, in ms.
    pub(super) slow_ms: u64,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) backends: Vec<Mood>,
    /// How many of them are targets; the others are fallbacks.
    pub(super) targets: usize,
    pub(super) clients: u64,
    pub(super) requests: u64,
    /// Percent of the answers that their client leaves.
    pub(super) leaves: u64,
    /// Whether backends tell what was used with every word, or only at the end.
    pub(super) tells_always: bool,
    pub(super) choice: Choice,
    pub(super) limit: Option<u64>,
    /// Percent of the requests that take an answer which was given before.
    pub(super) takes_kept: u64,
    pub(super) store_fails: bool,
    pub(super) settings: GatewaySettings,
    /// Percent of what the audit lake is asked that fails.
    pub(super) audit_fails: u64,
    pub(super) audit_flush_ms: u64,
    /// Percent of the questions that cannot be compared; none where they are not.
    pub(super) compares: Option<u64>,
}

impl Options {
    pub(super) fn draw(world: &World) -> Options {
        let some = |percent: u64, most: u64| match world.percent(percent) {
            true => world.between(1, most),
            false => 0,
        };
        let mood = |_| Mood {
            broken: some(60, 60),
            limited: some(40, 50),
            silent: some(30, 20),
            cut: some(50, 40),
            slow_ms: world.between(0, 200),
        };
        let backends: Vec<Mood> = (0..world.between(1, 4)).map(mood).collect();
        let targets = world.between(1, backends.len() as u64) as usize;
        let settings = GatewaySettings {
            retry: RetrySettings {
                budget_ms: world.between(100, 5_000),
                tries: world.between(1, 8) as u32,
                ..RetrySettings::default()
            },
            breaker: BreakerSettings {
                failures: world.between(2, 8) as u32,
                ..BreakerSettings::default()
            },
            cache_bytes: if world.percent(50) { 20_000 } else { 0 },
        };
        Options {
            backends,
            targets,
            clients: world.between(1, 6),
            requests: world.between(12, 20),
            leaves: some(60, 40),
            tells_always: world.percent(60),
            limit: world.percent(30).then(|| world.between(50, 2_000)),
            takes_kept: some(50, 80),
            choice: match world.between(0, 4) {
                0 => Choice::Latency,
                1 => Choice::Load,
                2 => Choice::Cost,
                _ => Choice::Weight,
            },
            store_fails: world.percent(50),
            settings,
            audit_fails: some(60, 60),
            audit_flush_ms: world.between(500, 5_000),
            compares: world.percent(50).then(|| some(50, 50)),
        }
    }

    pub(super) fn describe(&self) -> String {
        format!(
            "{} clients × {} requests, {} targets of {:?}, {} % leave, told always: {}, limit {:?}, \
             {:?}, audit fails: {} %, compares: {:?}",
            self.clients,
            self.requests,
            self.targets,
            self.backends,
            self.leaves,
            self.tells_always,
            self.limit,
            self.settings.retry,
            self.audit_fails,
            self.compares,
        )
    }
}
