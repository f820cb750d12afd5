//! Who sees which variant: the same answer on every node and in every language.
//!
//! # Specification, version 1
//!
//! Strings are UTF-8 as they came: no trimming, no change of case, no normalisation. `||` joins
//! bytes, `0x00` is the single byte zero. All arithmetic is on integers.
//!
//! **Hash.** `hash(salt, id)` = the first 8 bytes, big-endian, unsigned, of
//! `SHA-256(salt || 0x00 || id)`. No salt contains the byte zero, so the two parts cannot blur.
//!
//! **Bucket.** `bucket(salt, id) = (hash(salt, id) * 10000) >> 64`, with a product of 128 bits:
//! 0 to 9999. (A remainder would favour the low buckets; this spreads the excess evenly.)
//!
//! **Salts**, each with its own prefix so that the three draws are independent:
//! - holdout: `holdout:` then the name of the holdout;
//! - share: `layer:` then the name of the layer; without a layer `share:` prompt `:` experiment;
//! - variant: `variant:` prompt `:` experiment `:` variant. Names of experiments and variants
//!   hold no `:`, so a salt has only one reading.
//!
//! **Steps**, the first that applies ends it; outside, the control is served and nothing counted:
//! 1. the experiment is not running, or now is before its start, or at or after its end: outside;
//! 2. a condition on attributes does not hold (each needs the attribute, with a listed value):
//!    outside;
//! 3. the unit id is the empty string: outside;
//! 4. `bucket(holdout salt, id) < holdout.buckets`: outside;
//! 5. `bucket(share salt, id)` is not within `share.from <= b < share.until`: outside;
//! 6. the variant with the lowest score, below. With no weight above zero: outside.
//!
//! **Variant: weighted rendezvous.** For each variant with weight `w > 0`, in the order of names
//! by bytes: `h = hash(variant salt, id)`, `cost = minus_log2(h)`. Variant `i` beats the best so
//! far `j` when `cost_i * w_j < cost_j * w_i`, in 128 bits. Ties leave the first.
//!
//! **`minus_log2(h)`** is close to `-log2((h + 1) / 2^64)` with 32 fractional bits. These steps
//! are the definition, down to what the shifts cut off:
//! ```text
//! if h = 2^64 - 1: return 0
//! x = h + 1                             # 1 .. 2^64 - 1
//! zeros = leading zero bits of x as a 64-bit number
//! m = x << zeros                        # 2^63 <= m < 2^64: the mantissa, 1 <= m / 2^63 < 2
//! fraction = 0
//! repeat 32 times:
//!     m = (m * m) >> 63                 # 128-bit product
//!     fraction = fraction << 1
//!     if m >= 2^64: fraction = fraction + 1; m = m >> 1
//! return ((zeros + 1) << 32) - fraction
//! ```
//!
//! # What stays the same
//!
//! A unit's cost for a variant depends on nothing but the names and its id. So while prompt,
//! experiment and variant names stay:
//! - raising the weight of a variant moves units only to it, lowering it only away from it;
//! - adding a variant moves units only to it, removing one moves only its own units;
//! - both move the fewest units that any rule could: exactly the change of the shares;
//! - the order of the variants, their versions, and the common scale of the weights move nobody.
//!
//! A changed share moves only the units of the buckets that enter or leave. Each change of the
//! weights still is a new revision for the analysis: moved units have seen both variants.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::{BUCKETS, Experiment, Unit, Variant};

/// Fractional bits of the logarithm.
const FRACTION_BITS: u32 = 32;

/// What assignment needs to know of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Id of the user; empty when there is none.
    pub user: String,
    /// Id of the request.
    pub request: String,
    /// Attributes that segments ask about.
    pub attributes: BTreeMap<String, String>,
}

/// Why a request is outside an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The experiment is not running now.
    NotRunning,
    /// A condition on attributes does not hold.
    Segment,
    /// There is no id to assign by.
    NoUnit,
    /// The unit is held out.
    Holdout,
    /// The unit's bucket is not in the share of the experiment.
    Share,
    /// No variant has a weight.
    NoVariant,
}

/// The answer for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assignment<'a> {
    /// Serve this variant and count the unit.
    Inside(&'a Variant),
    /// Serve the control, or what the prompt serves anyway, and count nothing.
    Outside(Reason),
}

impl Experiment {
    /// Assigns a request at `now_ms`, in milliseconds since 1970, by the specification of this
    /// module.
    #[must_use]
    pub fn assign(&self, request: &Request, now_ms: u64) -> Assignment<'_> {
        if !self.serves(now_ms) {
            return Assignment::Outside(Reason::NotRunning);
        }
        if !self.admits(&request.attributes) {
            return Assignment::Outside(Reason::Segment);
        }
        let id = match self.unit {
            Unit::User => &request.user,
            Unit::Request => &request.request,
        };
        if id.is_empty() {
            return Assignment::Outside(Reason::NoUnit);
        }
        if let Some(holdout) = &self.holdout
            && bucket_of(&format!("holdout:{}", holdout.name), id) < holdout.buckets
        {
            return Assignment::Outside(Reason::Holdout);
        }
        let salt = self.layer.as_ref().map_or_else(
            || format!("share:{}:{}", self.prompt, self.name),
            |layer| format!("layer:{layer}"),
        );
        if !self.share.contains(bucket_of(&salt, id)) {
            return Assignment::Outside(Reason::Share);
        }
        self.draw(id).map_or(Assignment::Outside(Reason::NoVariant), Assignment::Inside)
    }

    /// Weighted rendezvous over the variants.
    fn draw(&self, id: &str) -> Option<&Variant> {
        let mut variants: Vec<&Variant> =
            self.variants.iter().filter(|variant| variant.weight > 0).collect();
        variants.sort_by(|left, right| left.name.as_bytes().cmp(right.name.as_bytes()));
        let mut best: Option<(&Variant, u128)> = None;
        for variant in variants {
            let salt = format!("variant:{}:{}:{}", self.prompt, self.name, variant.name);
            let cost = u128::from(minus_log2(hash(&salt, id)));
            let wins = best.is_none_or(|(leader, lowest)| {
                cost * u128::from(leader.weight) < lowest * u128::from(variant.weight)
            });
            if wins {
                best = Some((variant, cost));
            }
        }
        best.map(|(variant, _)| variant)
    }
}

/// The bucket of a unit under a salt, 0 to 9999.
#[must_use]
pub fn bucket_of(salt: &str, id: &str) -> u16 {
    ((u128::from(hash(salt, id)) * u128::from(BUCKETS)) >> 64) as u16
}

fn hash(salt: &str, id: &str) -> u64 {
    let digest = Sha256::new().chain_update(salt).chain_update([0]).chain_update(id).finalize();
    digest.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// `-log2((h + 1) / 2^64)` with 32 fractional bits.
pub(crate) fn minus_log2(hash: u64) -> u64 {
    let Some(number) = hash.checked_add(1) else {
        return 0;
    };
    let zeros = number.leading_zeros();
    let mut mantissa = u128::from(number) << zeros;
    let mut fraction = 0_u64;
    for _ in 0..FRACTION_BITS {
        mantissa = (mantissa * mantissa) >> 63;
        fraction <<= 1;
        if mantissa >> 64 != 0 {
            fraction |= 1;
            mantissa >>= 1;
        }
    }
    (u64::from(zeros + 1) << FRACTION_BITS) - fraction
}
