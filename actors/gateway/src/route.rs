//! The order in which the targets of an alias are asked.

use sha2::{Digest, Sha256};

use crate::config::Alias;

/// Places of an alias's targets, the preferred one first: by weighted rendezvous hashing of the
/// key (Thaler and Ravishankar; weights as in Schindler, "Weighted distributed hash tables"), so
/// each key keeps its target while weights stay, and a change of weight moves as few keys as it
/// must. A target of weight 0 is only asked when the others fail, and fallbacks after all.
pub fn order(alias: &Alias, key: &str) -> Vec<usize> {
    let mut weighted: Vec<(f64, usize)> = Vec::with_capacity(alias.targets.len());
    for (place, target) in alias.targets.iter().enumerate() {
        let unit = unit_of(key, &target.backend, &target.model);
        // Lowest first; a weight of 0 makes it endless.
        weighted.push((-unit.ln() / f64::from(target.weight), place));
    }
    weighted.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
    let fallbacks = alias.targets.len()..alias.targets.len() + alias.fallbacks.len();
    weighted.into_iter().map(|(_, place)| place).chain(fallbacks).collect()
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
