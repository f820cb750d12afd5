//! Precision and recall of spans.

use std::collections::BTreeMap;

use crate::redaction::Entity;
use crate::redaction::score::{Span, Tally, tally};

#[test]
fn spans_are_the_same_when_they_share_nine_tenths() {
    let text = "Dr. Ada Lovelace-Byron, of London, writes to ada@example.com about Paris.";
    let name = 4..22;
    for (found, expected) in [
        (vec![(Entity::Person, name.clone())], (1, 1)),
        // A sign at the end does not count, a missing word does.
        (vec![(Entity::Person, 4..23)], (1, 1)),
        (vec![(Entity::Person, 4..16)], (1, 0)),
        (vec![(Entity::Address, name.clone())], (1, 0)),
        // Twice found is once right.
        (vec![(Entity::Person, name.clone()), (Entity::Person, name.clone())], (2, 1)),
        // Ignored.
        (vec![(Entity::Person, 27..33)], (0, 0)),
        (vec![(Entity::Person, 67..72)], (1, 0)),
        (vec![], (0, 0)),
    ] {
        let labelled: Vec<Span> = vec![(Entity::Person, name.clone()), (Entity::Email, 45..60)];
        let mut tallies = BTreeMap::new();
        tally(text, &labelled, std::slice::from_ref(&(27..33)), &found, &mut tallies);
        let mut all = Tally::default();
        tallies.values().for_each(|own| all.add(own));
        assert_eq!((all.found, all.right), expected, "{found:?}");
        assert_eq!(all.labelled, 2);
    }
}

#[test]
fn recall_counts_more_than_precision() {
    let of = |labelled, found, right| Tally { labelled, found, right };
    for (tally, expected) in [
        (of(10, 10, 10), 1.0),
        (of(10, 20, 10), 5.0 * 0.5 / (4.0 * 0.5 + 1.0)),
        (of(20, 10, 10), 5.0 * 0.5 / (4.0 + 0.5)),
        (of(10, 0, 0), 0.0),
        (of(0, 0, 0), 0.0),
    ] {
        assert!((tally.f2() - expected).abs() < 1e-9, "{tally:?}");
    }
}
