//! The split of a batch into shards.

use super::{SHARD_TOKENS, split};

#[test]
fn every_sequence_is_in_one_shard_and_the_work_is_even() {
    let cases: [(&[usize], usize, usize); 7] = [
        (&[], 2, 0),
        (&[256], 4, 1),
        (&[1, 1, 1], 2, 2),
        (&[8; 3], 1, 1),
        (&[128; 32], 1, 8),
        (&[128; 32], 3, 9),
        (&[256, 3, 3, 3, 3, 3, 3], 2, 2),
    ];
    for (lengths, threads, expected) in cases {
        let shards = split(lengths, threads);
        assert_eq!(shards.len(), expected, "{lengths:?} on {threads} threads");
        let mut all: Vec<usize> = shards.concat();
        all.sort_unstable();
        assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
        let loads: Vec<usize> =
            shards.iter().map(|shard| shard.iter().map(|index| lengths[*index]).sum()).collect();
        let longest = lengths.iter().max().copied().unwrap_or(0);
        let (low, high) = (loads.iter().min().unwrap_or(&0), loads.iter().max().unwrap_or(&0));
        assert!(high - low <= longest, "loads {loads:?}");
        assert!(*high <= SHARD_TOKENS + longest, "loads {loads:?}");
    }
}
