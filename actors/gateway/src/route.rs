//! The order in which the targets of an alias are asked.

use std::cmp::Ordering;

use headwater_models::chat::{ChatRequest, Role};
use sha2::{Digest, Sha256};

use crate::config::{Alias, Choice, Target};

/// How a target is doing just now.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Standing {
    /// Answers under way on this node.
    pub in_flight: u32,
    /// Time to the first part of its answers of late, in ms; 0 when nothing is known.
    pub first_ms: f64,
}

/// Places of an alias's targets, the preferred one first.
///
/// By weight, that is by weighted rendezvous hashing of the key (Thaler and Ravishankar; weights as
/// in Schindler, "Weighted distributed hash tables"), so each key keeps its target while weights
/// stay, and a change of weight moves as few keys as it must. Any other choice puts the best target
/// first, but for the keys that the canary's share covers: a canary that nobody asks proves nothing.
/// A target without room comes behind those with room, one of weight 0 is only asked when the others
/// fail, and fallbacks after all.
pub fn order(alias: &Alias, key: &str, standing: impl Fn(&Target) -> Standing) -> Vec<usize> {
    let by_weight = |target: &Target| {
        // Lowest first; a weight of 0 makes it endless.
        -unit_of(key, &target.backend, &target.model).ln() / f64::from(target.weight)
    };
    let ranked = alias.targets.iter().enumerate();
    let mut ranked: Vec<Rank> = ranked
        .map(|(place, target)| {
            let now = standing(target);
            Rank {
                helps_out: target.weight == 0,
                is_full: target.room.is_some_and(|room| now.in_flight >= room),
                is_canary: target.is_canary,
                by_choice: score(alias.choice, target, now),
                by_weight: by_weight(target),
                place,
            }
        })
        .collect();
    ranked.sort_by(|one, other| one.by_weight.total_cmp(&other.by_weight));
    let is_canarys = ranked.first().is_some_and(|first| first.is_canary);
    ranked.sort_by(|one, other| one.compare(other, is_canarys));
    let fallbacks = alias.targets.len()..alias.targets.len() + alias.fallbacks.len();
    ranked.into_iter().map(|rank| rank.place).chain(fallbacks).collect()
}

struct Rank {
    helps_out: bool,
    is_full: bool,
    is_canary: bool,
    by_choice: f64,
    by_weight: f64,
    place: usize,
}

impl Rank {
    /// `is_canarys` says that the key is the canary's.
    fn compare(&self, other: &Rank, is_canarys: bool) -> Ordering {
        let last = |rank: &Rank| (rank.helps_out, rank.is_full, rank.is_canary != is_canarys);
        last(self)
            .cmp(&last(other))
            .then(self.by_choice.total_cmp(&other.by_choice))
            .then(self.by_weight.total_cmp(&other.by_weight))
            .then(self.place.cmp(&other.place))
    }
}

/// Lowest is best.
fn score(choice: Choice, target: &Target, now: Standing) -> f64 {
    let in_flight = f64::from(now.in_flight);
    match choice {
        Choice::Weight | Choice::Prefix => 0.0,
        // As if each answer under way took its turn before.
        Choice::Latency => now.first_ms * (in_flight + 1.0),
        Choice::Load => in_flight / f64::from(target.weight.max(1)),
        // An answer as long as its question, near enough to compare.
        Choice::Cost => target.price.bound(1_000_000, 1_000_000) as f64,
    }
}

/// The key of requests that begin alike, so that a provider finds its cached prefix again: of what
/// the system and the user said first.
pub fn prefix_key(request: &ChatRequest) -> String {
    let mut hash = Sha256::new();
    let first_user = request.messages.iter().position(|one| one.role == Role::User);
    let first = first_user.map_or(request.messages.len(), |place| place + 1);
    hash.update(format!("{:?}{:?}", &request.messages[..first], request.tools));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number above 0 and below 1 that hangs on all three.
fn unit_of(key: &str, backend: &str, model: &str) -> f64 {
    let mut hash = Sha256::new();
    for part in [key, backend, model] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let bytes = hash.finalize();
    let drawn = bytes.iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    // 53 bits fit a double exactly; the half keeps the ends out.
    ((drawn >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}
