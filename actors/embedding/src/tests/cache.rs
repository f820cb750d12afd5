//! Keys tell apart what a model reads differently; fullness is told once.

use std::collections::BTreeSet;
use std::sync::Arc;

use headwater_models::{Pixels, Sequence};

use crate::{Fullness, KeySpace, entry_bytes};

fn text(ids: &[u32], second: Option<usize>) -> Sequence {
    Sequence::Tokens { ids: ids.to_vec(), second }
}

fn image(tokens: usize, height: usize, values: &[f32]) -> Sequence {
    Sequence::Image(Arc::new(Pixels { tokens, height, width: 1, values: values.to_vec() }))
}

#[test]
fn inputs_that_a_model_tells_apart_have_keys_of_their_own() {
    let long: Vec<u32> = (0..5000).collect();
    let mut other = long.clone();
    other[4999] = 1;
    let inputs = [
        text(&[], None),
        text(&[0], None),
        text(&[0, 0], None),
        text(&[1, 2], None),
        text(&[2, 1], None),
        text(&[1, 2], Some(1)),
        text(&[1, 2], Some(0)),
        text(&long, None),
        text(&other, None),
        image(1, 1, &[0.0]),
        image(1, 1, &[-0.0]),
        image(2, 1, &[0.0]),
        image(1, 2, &[0.0]),
        image(1, 1, &[]),
    ];
    let spaces = ["", "v1", "v2", "v1\u{0}"].map(KeySpace::of);
    let keys = spaces.iter().flat_map(|space| inputs.iter().map(|input| space.key(input)));
    assert_eq!(keys.collect::<BTreeSet<_>>().len(), spaces.len() * inputs.len());
}

#[test]
fn equal_inputs_of_one_version_share_a_key() {
    let (first, second) = (KeySpace::of("v1"), KeySpace::of("v1"));
    for input in [text(&[1, 2], None), image(1, 1, &[0.5, 0.25, 0.0])] {
        assert_eq!(first.key(&input), second.key(&input.clone()));
    }
}

#[test]
fn a_cache_at_the_border_is_reported_once() {
    let mut fullness = Fullness::default();
    let table = [
        (0, None),
        (79, None),
        (80, Some(true)),
        (79, None),
        (100, None),
        (70, None),
        (69, Some(false)),
        (75, None),
        (120, Some(true)),
        (0, Some(false)),
    ];
    for (bytes, changed) in table {
        assert_eq!(fullness.changed(bytes, 100), changed, "{bytes} of 100");
    }
    assert_eq!(Fullness::default().changed(5, 0), None, "a cache without room is not full");
    assert_eq!(Fullness::default().changed(u64::MAX, u64::MAX), Some(true));
    assert!(entry_bytes(384) > 384 * 4);
}
