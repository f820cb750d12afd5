//! How spans are written.

use super::span;

#[test]
fn spans_are_written_as_openai_writes_them() {
    for (ms, written) in [
        (0, "0ms"),
        (999, "999ms"),
        (1_000, "1s"),
        (59_001, "1m0s"),
        (360_000, "6m0s"),
        (93_780_000, "26h3m0s"),
    ] {
        assert_eq!(span(ms), written);
    }
}
