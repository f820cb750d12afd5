//! Training: texts are made of templates and lists, none of which is anybody's data, and the
//! chain's scores are learnt from them. The same seed gives the same weights.

mod address;
mod chance;
mod learn;
mod lists;
mod person;
mod text;

pub use learn::{Progress, TrainSettings, train};
pub use text::{Example, Labelled};

use chance::Chance;
use lists::Lists;

/// Texts as training sees them, drawn by a seed; for whoever wants to look at them.
pub fn examples(seed: u64, count: usize) -> Vec<Example> {
    let (lists, mut chance) = (Lists::new(), Chance::new(seed));
    (0..count).map(|_| text::example(&lists, &mut chance)).collect()
}
