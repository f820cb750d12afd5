//! How a tenant's limits stand, in the headers that OpenAI's clients read.

#[cfg(test)]
mod tests;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use headwater_actors::tenancy::{Exhausted, Standing, Unit};

/// Names of the headers for a unit: the limit, what is left, and when it counts from zero again.
/// Money has none that clients know.
fn names(unit: Unit) -> Option<[HeaderName; 3]> {
    let names = match unit {
        Unit::Requests => [
            "x-ratelimit-limit-requests",
            "x-ratelimit-remaining-requests",
            "x-ratelimit-reset-requests",
        ],
        Unit::Tokens => {
            ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"]
        }
        Unit::MicroUsd => return None,
    };
    Some(names.map(HeaderName::from_static))
}

/// Tells how these limits stand.
pub(crate) fn name_standing(headers: &mut HeaderMap, standing: &[Standing]) {
    for Standing { unit, amount, remaining, resets_in_ms } in standing {
        let Some([limit, left, reset]) = names(*unit) else { continue };
        headers.insert(limit, HeaderValue::from(*amount));
        headers.insert(left, HeaderValue::from(*remaining));
        if let Ok(span) = HeaderValue::from_str(&span(*resets_in_ms)) {
            headers.insert(reset, span);
        }
    }
}

/// The limit that is in the way.
pub(crate) fn of_exhausted(exhausted: &Exhausted) -> Standing {
    let Exhausted { limit, remaining, resets_in_ms } = exhausted;
    let (unit, amount) = (limit.unit, limit.amount);
    Standing { unit, amount, remaining: *remaining, resets_in_ms: *resets_in_ms }
}

/// A span as OpenAI writes it: `250ms`, `12s`, `6m0s`, `26h3m0s`.
fn span(ms: u64) -> String {
    if ms < 1_000 {
        return format!("{ms}ms");
    }
    let seconds = ms.div_ceil(1_000);
    let (hours, minutes, rest) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, minutes) => format!("{minutes}m{rest}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}s"),
    }
}
