//! Drawing the next token.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

/// Candidates that are sorted at first; seldom are more needed.
const SORTED: usize = 256;

/// How a request wants its tokens drawn.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Draw {
    /// 0 takes the likeliest.
    pub(super) temperature: f32,
    /// The likeliest tokens that together have this share are candidates; from 0 to 1, and at
    /// least one is.
    pub(super) top_p: f32,
    pub(super) top_k: Option<usize>,
    pub(super) seed: Option<i64>,
    /// Taken from the logit of each token that was written before, once.
    pub(super) presence: f32,
    /// Taken from it for each time that it was written.
    pub(super) frequency: f32,
}

impl Draw {
    /// What SmolLM2's authors recommend.
    pub(super) const TEMPERATURE: f64 = 0.2;
    pub(super) const TOP_P: f64 = 0.9;
}

pub(super) struct Sampler {
    draw: Draw,
    numbers: Numbers,
    written: BTreeMap<u32, u32>,
}

impl Sampler {
    pub(super) fn new(draw: Draw) -> Self {
        // Without a seed one that nobody knows: the key of a new hash map is as random.
        let seed = draw.seed.map_or_else(|| RandomState::new().hash_one(0), i64::cast_unsigned);
        Sampler { draw, numbers: Numbers(seed), written: BTreeMap::new() }
    }

    /// The next token; none when the logits are no numbers or there are none.
    pub(super) fn next(&mut self, logits: &mut [f32]) -> Option<u32> {
        for (id, times) in &self.written {
            let logit = logits.get_mut(*id as usize)?;
            *logit -= self.draw.presence + self.draw.frequency * *times as f32;
        }
        if !logits.iter().all(|logit| logit.is_finite()) {
            return None;
        }
        let (likeliest, top) = largest(logits)?;
        let id = match self.draw.temperature {
            0.0 => likeliest,
            temperature => {
                for logit in logits.iter_mut() {
                    *logit = ((*logit - top) / temperature).exp();
                }
                self.among(logits)
            }
        };
        *self.written.entry(id).or_default() += 1;
        Some(id)
    }

    /// Draws by the weights, the largest of which is 1.
    fn among(&mut self, weights: &[f32]) -> u32 {
        let whole: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        let most = self.draw.top_k.unwrap_or(weights.len()).min(weights.len());
        let mass = whole * f64::from(self.draw.top_p);
        if most == weights.len() && self.draw.top_p == 1.0 {
            let all = (0u32..).zip(weights).map(|(id, weight)| (id, *weight));
            return pick(all, self.numbers.share() * whole);
        }
        let mut ids: Vec<u32> = (0u32..).take(weights.len()).collect();
        // Of two that are as likely the first stands first, so that a seed tells everything.
        let order =
            |a: &u32, b: &u32| weights[*b as usize].total_cmp(&weights[*a as usize]).then(a.cmp(b));
        let mut sorted = SORTED;
        loop {
            sorted = sorted.min(most);
            if sorted < ids.len() {
                ids.select_nth_unstable_by(sorted, order);
            }
            ids[..sorted].sort_unstable_by(order);
            let (mut kept, mut share) = (0, 0.0);
            while kept < sorted && (kept == 0 || share < mass) {
                share += f64::from(weights[ids[kept] as usize]);
                kept += 1;
            }
            if share >= mass || sorted == most {
                let kept = ids[..kept].iter().map(|id| (*id, weights[*id as usize]));
                return pick(kept, self.numbers.share() * share);
            }
            sorted *= 8;
        }
    }
}

/// The first of the largest numbers, and that number.
fn largest(logits: &[f32]) -> Option<(u32, f32)> {
    let pairs = (0u32..).zip(logits.iter().copied());
    pairs.reduce(|best, next| if next.1 > best.1 { next } else { best })
}

/// Where `at` falls when the weights lie side by side; the last one that has any, where rounding
/// leads beyond them.
fn pick(candidates: impl Iterator<Item = (u32, f32)>, at: f64) -> u32 {
    let (mut passed, mut last) = (0.0, 0);
    for (id, weight) in candidates.filter(|(_, weight)| *weight > 0.0) {
        passed += f64::from(weight);
        last = id;
        if passed > at {
            break;
        }
    }
    last
}

/// SplitMix64 (doi:10.1145/2660193.2660195): the same numbers for the same seed, everywhere.
struct Numbers(u64);

impl Numbers {
    /// From 0 to below 1, in steps of 2⁻⁵³.
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests;
