//! When a request of `headwater ingest` is sent again, and when its refusal is the end.

use std::time::Duration;

use serde_json::Value;

use crate::failure::Failure;
use crate::operator::NoAnswer;

/// Most times that one request is sent.
const TRIES: u32 = 8;
/// Pause behind the first try; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause, whatever a node asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Refusals below 500 that pass: RFC 9110 (408), RFC 8470 (425) and RFC 6585 (429).
const PASSING: [u16; 3] = [408, 425, 429];

/// Asks until there is a good answer, or one that stays as it is, or the tries are used up.
/// Only for questions that may come twice.
///
/// # Errors
/// The last try's, in the node's own words.
pub(super) fn persist(
    mut ask: impl FnMut() -> Result<Value, NoAnswer>,
    mut sleep: impl FnMut(Duration),
) -> Result<Value, Failure> {
    let mut tries = 0;
    loop {
        let no_answer = match ask() {
            Ok(answer) => return Ok(answer),
            Err(no_answer) => no_answer,
        };
        tries += 1;
        match pause_after(&no_answer, tries) {
            Some(pause) => sleep(pause),
            None => return Err(no_answer.into()),
        }
    }
}

/// How long to wait before the next try; none when there is none.
fn pause_after(no_answer: &NoAnswer, tries: u32) -> Option<Duration> {
    let asked = match no_answer {
        NoAnswer::Broken(_) => None,
        NoAnswer::NotAsked(_) => return None,
        NoAnswer::Refused { status, retry_after, .. } => {
            if *status < 500 && !PASSING.contains(status) {
                return None;
            }
            *retry_after
        }
    };
    if tries >= TRIES {
        return None;
    }
    let own = FIRST_PAUSE.saturating_mul(1 << (tries - 1));
    Some(own.max(asked.unwrap_or_default()).min(LONGEST_PAUSE))
}
