//! Who waits for which key to change.

use std::collections::BTreeMap;
use std::fmt;

use tokio::sync::oneshot;

use crate::{KeyRange, StoreError, Watch};

/// A watch on its way from a transaction to the place where commits are put in order.
#[derive(Debug)]
pub struct WatchRequest {
    key: Vec<u8>,
    seen: Option<Vec<u8>>,
    /// How many mutations the transaction had asked for before it.
    place: usize,
    changed: oneshot::Sender<News>,
}

/// What a watch learns.
enum News {
    Changed,
    /// Another watch ends in its stead.
    HandedOn(Watch),
}

impl fmt::Debug for News {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            News::Changed => "Changed",
            News::HandedOn(_) => "HandedOn",
        })
    }
}

impl WatchRequest {
    /// The request, and what its maker waits on. A dropped request resolves to an error.
    pub(super) fn new(key: &[u8], seen: Option<Vec<u8>>, place: usize) -> (Self, Watch) {
        let (changed, waiting) = oneshot::channel();
        let request = WatchRequest { key: key.to_vec(), seen, place, changed };
        let lost = "the watch is lost, its transaction did not commit or the store closed";
        let watch = async move {
            match waiting.await.map_err(|_| StoreError::Unavailable(lost.to_owned()))? {
                News::Changed => Ok(()),
                News::HandedOn(watch) => watch.await,
            }
        };
        (request, Box::pin(watch))
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// How many of the proposal's mutations the transaction had asked for before this: they
    /// are in what it saw.
    pub(crate) fn place(&self) -> usize {
        self.place
    }

    /// Lets another engine's watch end this one.
    pub(crate) fn hand_on(self, watch: Watch) {
        // The waiting side may have gone; then nobody needs to know.
        let _ = self.changed.send(News::HandedOn(watch));
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
                let _ = request.changed.send(News::Changed);
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
