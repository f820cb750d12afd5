//! The resolver against a list of all writes, and the sequencer's window.

use proptest::prelude::{Strategy, prop, proptest};

use super::{Proposal, Resolver, Sequencer};
use crate::mutation::Mutation;
use crate::{KeyRange, StoreError};

fn range() -> impl Strategy<Value = KeyRange> {
    (0_u8..12, 0_u8..12).prop_map(|(begin, end)| KeyRange::new([begin], [end]))
}

proptest! {
    #[test]
    fn the_resolver_agrees_with_a_list(
        writes in prop::collection::vec(range(), 0..20),
        asked in range(),
        forget in 0_u64..20,
        read in 0_u64..25,
    ) {
        let mut resolver = Resolver::new(0);
        for (version, range) in (1..).zip(&writes) {
            resolver.record(range, version);
        }
        resolver.forget(forget);
        let meets = |range: &KeyRange| {
            let inside = |key: &u8| range.contains(&[*key]) && asked.contains(&[*key]);
            (0..12).any(|key: u8| inside(&key))
        };
        let expected = (1_u64..).zip(&writes).any(|(version, range)| version > read && meets(range));
        // Readers older than the window are refused before the resolver is asked.
        if read >= forget {
            assert_eq!(resolver.written_after(&asked, read), expected);
        }
        assert!(resolver.len() <= 2 * writes.len() + 1);
    }
}

#[test]
fn forgetting_everything_leaves_one_interval() {
    let mut resolver = Resolver::new(0);
    for version in 1..1_000_u64 {
        resolver.record(&KeyRange::of_key(&version.to_be_bytes()), version);
    }
    assert!(resolver.len() > 1_000);
    resolver.forget(999);
    assert_eq!(resolver.len(), 1);
}

#[test]
fn the_window_is_five_seconds() {
    let write = |read_version, now_ms, sequencer: &mut Sequencer| {
        let reads = vec![KeyRange::of_key(b"read")];
        let mutation = Mutation::Set { key: b"written".to_vec(), value: Vec::new() };
        let mutations = vec![mutation];
        let proposal = Proposal { read_version, reads, mutations, ..Proposal::default() };
        sequencer.decide(&proposal, now_ms).map(|decision| decision.version)
    };
    let mut sequencer = Sequencer::new(10);
    for second in 0..20 {
        let version = sequencer.version();
        assert_eq!(write(version, second * 1_000, &mut sequencer), Ok(version + 1));
    }
    assert_eq!(write(sequencer.version() - 4, 20_000, &mut sequencer), Ok(31));
    assert_eq!(write(12, 20_001, &mut sequencer), Err(StoreError::TooOld));
}
