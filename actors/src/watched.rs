//! Rows that nodes follow: read, then told of a change.

use headwater_storage::retry::Retry;
use headwater_storage::{ReadMode, StoreError, Watch};

use crate::runtime::Runtime;

/// A change that no watch told is seen after so long at the latest, in ms.
pub(crate) const LOOK_MS: u64 = 5_000;
/// Pause after a read that failed, in ms.
const AGAIN_MS: u64 = 500;

/// A row's value, and the watch of what comes after it.
///
/// # Errors
/// The store's, without any retry: the caller is in a loop of its own.
pub(crate) async fn read(
    retry: &Retry,
    key: &[u8],
) -> Result<(Option<Vec<u8>>, Watch), StoreError> {
    let mut transaction = retry.store().begin().await?;
    let value = transaction.get(key, ReadMode::Serializable).await?;
    let watch = transaction.watch(key).await?;
    transaction.commit().await?;
    Ok((value, watch))
}

/// Waits until the row may have changed: it did, its watch was lost, or [`LOOK_MS`] have passed.
pub(crate) async fn change(runtime: &Runtime, watch: Watch) {
    if let Some(Err(_)) = runtime.within(LOOK_MS, watch).await {
        runtime.pause(AGAIN_MS).await;
    }
}
