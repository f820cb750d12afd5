//! The pauses between dials grow, are bounded, and start anew after something that lasted.

use std::time::Duration;

use super::Backoff;

#[test]
fn pauses_double_up_to_the_longest() {
    let (first, longest) = (Duration::from_millis(100), Duration::from_millis(500));
    let mut backoff = Backoff { first, longest, next: first };
    let check = |backoff: &mut Backoff, whole_ms: u64| {
        let (pause, whole) = (backoff.pause(), Duration::from_millis(whole_ms));
        assert!(pause >= whole / 2 && pause <= whole, "{pause:?} of {whole:?}");
    };
    for whole_ms in [100, 200, 400, 500, 500] {
        check(&mut backoff, whole_ms);
    }
    backoff.lasted(Duration::from_millis(499));
    check(&mut backoff, 500);
    backoff.lasted(longest);
    check(&mut backoff, 100);
}
