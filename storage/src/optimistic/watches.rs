//! Who waits for which key to change.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use crate::{KeyRange, StoreError, Watch};

/// A watch on its way from a transaction to the place where commits are put in order.
#[derive(Debug)]
pub struct WatchRequest {
    key: Vec<u8>,
    seen: Option<Vec<u8>>,
    changed: oneshot::Sender<()>,
}

impl WatchRequest {
    /// The request, and what its maker waits on. A dropped request resolves to an error.
    pub(super) fn new(key: &[u8], seen: Option<Vec<u8>>) -> (Self, Watch) {
        let (changed, waiting) = oneshot::channel();
        let request = WatchRequest { key: key.to_vec(), seen, changed };
        let lost = "the watch is lost, its transaction did not commit or the store closed";
        let watch =
            async move { waiting.await.map_err(|_| StoreError::Unavailable(lost.to_owned())) };
        (request, Box::pin(watch))
    }

    pub(super) fn range(&self) -> KeyRange {
        KeyRange::of_key(&self.key)
    }
}

/// All watches of an engine, by key.
#[derive(Debug, Default)]
pub(super) struct Watches {
    by_key: BTreeMap<Vec<u8>, Vec<WatchRequest>>,
}

impl Watches {
    pub(super) fn add(&mut self, request: WatchRequest) {
        let waiting = self.by_key.entry(request.key.clone()).or_default();
        waiting.retain(|request| !request.changed.is_closed());
        waiting.push(request);
    }

    /// Ends the watches on keys of the range whose value is no longer what was seen.
    pub(super) fn wake(
        &mut self,
        range: &KeyRange,
        mut read: impl FnMut(&[u8]) -> Result<Option<Vec<u8>>, StoreError>,
    ) -> Result<(), StoreError> {
        if range.is_empty() {
            return Ok(());
        }
        let inner = range.begin.clone()..range.end.clone();
        let keys: Vec<Vec<u8>> = self.by_key.range(inner).map(|(key, _)| key.clone()).collect();
        for key in keys {
            let value = read(&key)?;
            let waiting = self.by_key.remove(&key).unwrap_or_default();
            let (unchanged, changed): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|request| request.seen == value);
            for request in changed {
                // The waiting side may have gone; then nobody needs to know.
                let _ = request.changed.send(());
            }
            let unchanged: Vec<_> =
                unchanged.into_iter().filter(|request| !request.changed.is_closed()).collect();
            if !unchanged.is_empty() {
                self.by_key.insert(key, unchanged);
            }
        }
        Ok(())
    }
}
