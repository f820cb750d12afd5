//! What names alone say.

use crate::audit::names::{FileName, Partition, Segment, Tier, covered};

fn segment(writer: u64, number: u32) -> Segment {
    Segment { writer: format!("{writer:016x}"), run: 7, number }
}

fn file(writer: u64, first: u32, last: u32, tier: Tier) -> FileName {
    FileName { first: segment(writer, first), last: segment(writer, last), tier }
}

#[test]
fn a_path_says_which_rows_a_file_holds() {
    for team in ["acme", "a b/c%.._=", "..", "é"] {
        let name = file(1, 2, 3, Tier::Metadata);
        let partition = Partition::new(20_788, team);
        let path = partition.file(&name);
        assert!(path.starts_with("day=2026-12-01/team="), "{path}");
        assert_eq!(path.matches('/').count(), 2, "{path}");
        assert_eq!(Partition::parse(&path), Some((partition, name)), "{path}");
    }
    for strange in ["day=2026-12-01/team=a/x.parquet", "day=x/team=a/b", "a", "a/b/c/d"] {
        assert_eq!(Partition::parse(strange), None, "{strange}");
    }
    let segment = segment(1, 9);
    assert_eq!(Segment::of_file(&segment.file()), Some(segment));
    assert_eq!(Segment::of_file("0_1.spill"), None);
}

#[test]
fn a_file_is_covered_by_a_longer_or_a_later_one_of_its_writer() {
    use Tier::{All, Flagged, Metadata};
    for (names, expected) in [
        (vec![], vec![]),
        (vec![file(1, 1, 1, All), file(1, 2, 2, All)], vec![false, false]),
        (vec![file(1, 1, 1, All), file(1, 1, 2, All), file(1, 2, 2, All)], vec![true, false, true]),
        (vec![file(1, 1, 1, All), file(2, 1, 5, All)], vec![false, false]),
        (vec![file(1, 1, 1, All), file(1, 1, 1, Metadata)], vec![true, false]),
        (
            vec![file(1, 1, 4, All), file(1, 1, 4, Flagged), file(1, 1, 4, Metadata)],
            vec![true, false, true],
        ),
        (
            vec![file(1, 1, 6, All), file(1, 2, 3, All), file(1, 7, 7, All), file(2, 3, 3, All)],
            vec![false, true, false, false],
        ),
        (vec![file(2, 1, 1, All), file(1, 1, 3, All), file(2, 2, 2, All)], vec![false; 3]),
    ] {
        assert_eq!(covered(&names), expected, "{names:?}");
    }
}
