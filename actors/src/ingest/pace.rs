//! A job's limit of tokens a second, kept in one row of the store by all its workers.

use headwater_embedding::ingest::pass_at;
use headwater_storage::ReadMode;
use headwater_storage::retry::Retry;

use super::document::Problem;
use super::keys::pace_key;
use super::nouns::Job;
use super::records::{decode_some, encode};
use crate::runtime::Runtime;

/// Bytes of a token, for the estimate that the limit is kept by.
const TOKEN_BYTES: u64 = 4;

/// Longer waits are left to the store, so that nobody holds a partition for them, in ms.
const WAIT_MS: u64 = 2_000;

/// Waits until the job may embed these texts; at once when it has no limit. A wait of more than
/// [`WAIT_MS`] takes no tokens and ends in [`Problem::OverLimit`].
pub(super) async fn pass(
    runtime: &Runtime,
    retry: &Retry,
    job: &Job,
    texts: &[String],
) -> Result<(), Problem> {
    let Some(tokens_per_s) = job.spec.tokens_per_s else { return Ok(()) };
    let bytes: u64 = texts.iter().map(|text| text.len() as u64).sum();
    let tokens = bytes.div_ceil(TOKEN_BYTES).max(texts.len() as u64);
    let now_ms = runtime.wall_ms();
    // A try whose result is not known takes its tokens twice: the job is slower, never faster.
    let at_ms = retry.write_idempotent(|transaction| {
        let key = pace_key(&job.key);
        Box::pin(async move {
            let row = transaction.get(&key, ReadMode::Serializable).await?;
            let free_at_ms: u64 = decode_some(row)?.unwrap_or(0);
            let (at_ms, next_ms) = pass_at(free_at_ms, now_ms, tokens, tokens_per_s);
            if at_ms.saturating_sub(now_ms) > WAIT_MS {
                return Ok(at_ms);
            }
            transaction.set(&key, &encode(&next_ms)?)?;
            Ok(at_ms)
        })
    });
    let wait_ms = at_ms.await?.saturating_sub(now_ms);
    if wait_ms > WAIT_MS {
        let reason = "the job's limit of tokens a second is used up".to_owned();
        return Err(Problem::OverLimit { reason, after_ms: wait_ms });
    }
    runtime.pause(wait_ms).await;
    Ok(())
}
