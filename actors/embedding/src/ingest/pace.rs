//! A job's own limit of tokens a second, shared by all its workers.
//! Source: the generic cell rate algorithm, ITU-T I.371, annex A, with the burst of one second.

/// How far the row may lie behind the clock: what was not used for a second comes on top.
const BURST_MS: u64 = 1_000;

/// Takes so many tokens: when the caller may go on, and the row's next value, both in ms of the
/// wall clock. `free_at_ms` is the row's value, 0 without one.
pub fn pass_at(free_at_ms: u64, now_ms: u64, tokens: u64, tokens_per_s: u64) -> (u64, u64) {
    let from_ms = free_at_ms.max(now_ms.saturating_sub(BURST_MS));
    let takes_ms = tokens.saturating_mul(1000).div_ceil(tokens_per_s.max(1));
    let next_ms = from_ms.saturating_add(takes_ms);
    (from_ms.max(now_ms), next_ms)
}
