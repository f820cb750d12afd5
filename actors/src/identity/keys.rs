//! Keys of the directory's rows.

use headwater_storage::KeyRange;
use headwater_storage::tuple::{self, Element};

const IDENTITY: &str = "identity";
const HOUR_MS: u64 = 60 * 60 * 1000;

/// How many changes there were: what every node watches.
pub(super) fn revision_key() -> Vec<u8> {
    tuple::pack(&[IDENTITY.into(), "revision".into()])
}

fn number(revision: u64) -> Element {
    Element::Integer(i64::try_from(revision).unwrap_or(i64::MAX))
}

/// What the change with this number was about.
pub(super) fn log_key(revision: u64) -> Vec<u8> {
    tuple::pack(&[IDENTITY.into(), "log".into(), number(revision)])
}

/// The changes behind `after`, up to `last`.
pub(super) fn log_rows(after: u64, last: u64) -> KeyRange {
    KeyRange { begin: log_key(after.saturating_add(1)), end: KeyRange::of_key(&log_key(last)).end }
}

/// The changes before this one.
pub(super) fn log_before(revision: u64) -> KeyRange {
    let begin = tuple::below(&[IDENTITY.into(), "log".into()]).begin;
    KeyRange { begin, end: log_key(revision) }
}

pub(super) fn record_key(id: &str) -> Vec<u8> {
    tuple::pack(&[IDENTITY.into(), "key".into(), id.into()])
}

/// Keys behind this id, or all.
pub(super) fn records_after(after: Option<&str>) -> KeyRange {
    let all = tuple::below(&[IDENTITY.into(), "key".into()]);
    match after {
        Some(after) => KeyRange { begin: KeyRange::of_key(&record_key(after)).end, ..all },
        None => all,
    }
}

/// Where the revocation of a token stands: by the hour of its end, so that those that have ended
/// are dropped together.
pub(super) fn token_key(expires_ms: u64, issuer: &str, id: &str) -> Vec<u8> {
    tuple::pack(&[IDENTITY.into(), "token".into(), hour(expires_ms), issuer.into(), id.into()])
}

fn hour(at_ms: u64) -> Element {
    number(at_ms / HOUR_MS)
}

/// Revocations of tokens that ended an hour before this time, or earlier.
pub(super) fn tokens_ended(now_ms: u64) -> KeyRange {
    let begin = tuple::below(&[IDENTITY.into(), "token".into()]).begin;
    let end = tuple::pack(&[IDENTITY.into(), "token".into(), hour(now_ms.saturating_sub(HOUR_MS))]);
    KeyRange { begin, end }
}

pub(super) fn all_tokens() -> KeyRange {
    tuple::below(&[IDENTITY.into(), "token".into()])
}
