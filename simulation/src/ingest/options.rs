//! What a seed of the ingest workload draws.

use headwater_actors::ingest::{AttemptSettings, HoldSettings, IngestSettings};
use headwater_storage::retry::RetryPolicy;

use super::chaos::Episode;
use crate::world::World;

/// When faults stop, in virtual ms.
const HEAL_MS: u64 = 45_000;
/// When every job must have ended, in virtual ms.
const END_MS: u64 = 300_000;
/// The longest that a request to the store or the sink is late, in ms.
pub(super) const LATE_MS: u64 = 4_000;

const EPISODES: [Episode; 7] = [
    Episode::Kill,
    Episode::Kill,
    Episode::Leave,
    Episode::StoreCut,
    Episode::StoreStall,
    Episode::StoreDown,
    Episode::StoreSlow,
];

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) nodes: u64,
    pub(super) settings: IngestSettings,
    /// Models whose versions are live in the collection.
    pub(super) versions: u64,
    /// Every document is written once, by a job that nobody cancels: then duplicates can be
    /// counted by hand.
    pub(super) plain: bool,
    pub(super) jobs: u64,
    /// Different document ids.
    pub(super) documents: u64,
    pub(super) lines: (u64, u64),
    pub(super) episodes: Vec<Episode>,
    /// Thousandths of the sink's calls in which each mishap strikes.
    pub(super) sink: (u64, u64, u64),
    /// Thousandths of the embedder's calls that fail, are slow, and find it full.
    pub(super) embedder: (u64, u64, u64),
    pub(super) heal_ms: u64,
    pub(super) end_ms: u64,
}

impl Options {
    pub(super) fn draw(world: &World) -> Options {
        let plain = world.percent(35);
        let some = |percent: u64, most: u64| match world.percent(percent) {
            true => world.between(1, most),
            false => 0,
        };
        let attempts = if plain { 1_000 } else { world.between(3, 8) as u32 };
        let settings = IngestSettings {
            workers: world.between(1, 3) as usize,
            documents: world.between(1, 4) as usize,
            embed_texts: world.between(1, 6) as usize,
            hold: HoldSettings {
                ttl_ms: world.between(9_000, 14_000),
                renew_ms: world.between(500, 1_500),
                max_skew_ms: 500,
                late_ms: 5_000,
            },
            attempts: AttemptSettings { attempts, first_pause_ms: 100, longest_pause_ms: 2_000 },
            retry: RetryPolicy {
                tries: 20,
                first_pause_ms: 5,
                longest_pause_ms: 200,
                total_ms: 3_000,
            },
            poll_ms: world.between(50, 500),
            slice_ms: world.between(500, 6_000),
            retention_ms: 3_600_000,
            backlog_ms: 5_000,
            jobs: 1_000,
            line_bytes: 2_000,
        };
        let episodes = EPISODES.into_iter().filter(|_| world.percent(60)).collect();
        Options {
            nodes: world.between(1, 3),
            settings,
            versions: world.between(1, 2),
            plain,
            jobs: world.between(1, 4),
            documents: world.between(2, 12),
            lines: (6, world.between(8, 24)),
            episodes,
            sink: (some(60, 80), some(60, 80), some(60, 60)),
            embedder: (some(50, 80), some(60, 60), some(50, 80)),
            heal_ms: HEAL_MS,
            end_ms: END_MS,
        }
    }

    pub(super) fn describe(&self) -> String {
        let IngestSettings { workers, documents, hold, attempts, .. } = self.settings;
        format!(
            "{} nodes × {workers} workers × {documents} documents, ttl {} ms, {} attempts, {} \
             versions, {} jobs of up to {} lines over {} documents, plain: {}; sink {:?} ‰, \
             embedder {:?} ‰; troubles: {:?}",
            self.nodes,
            hold.ttl_ms,
            attempts.attempts,
            self.versions,
            self.jobs,
            self.lines.1,
            self.documents,
            self.plain,
            self.sink,
            self.embedder,
            self.episodes,
        )
    }
}
