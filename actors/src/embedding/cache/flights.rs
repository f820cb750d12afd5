//! Work that is under way: who computes what, and who waits for it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use headwater_embedding::{CacheKey, Pool};
use tokio::sync::watch;

use super::{Entries, Vector};
use crate::embedding::EmbedError;

/// A wait for a vector that another request computes.
#[derive(Clone)]
pub(super) struct Flight(watch::Receiver<Option<Vector>>);

impl Flight {
    /// The vector, or none when the one who computed it failed or went away.
    pub(super) async fn landed(mut self) -> Option<Vector> {
        let landed = self.0.wait_for(Option::is_some).await.ok()?;
        landed.clone()
    }
}

/// By input, and by the pool that computes it: a query never waits for bulk work, which yields
/// to other queries meanwhile.
type Open = BTreeMap<(CacheKey, Pool), Flight>;

/// All work under way for one model version.
#[derive(Default)]
pub(super) struct Flights(Mutex<Open>);

/// What a request has to do for its inputs, each in one of the three.
pub(super) struct Claim<'a> {
    /// Compute these.
    pub(super) lead: Lead<'a>,
    /// Wait for these.
    pub(super) joined: Vec<(CacheKey, Flight)>,
    /// These have landed meanwhile.
    pub(super) found: Vec<(CacheKey, Vector)>,
}

impl Flights {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Divides inputs into those that others compute and those that the caller must.
    pub(super) fn claim(&self, keys: &[CacheKey], pool: Pool, entries: &Entries) -> Claim<'_> {
        let mut open = self.open();
        let (mut joined, mut found) = (Vec::new(), Vec::new());
        let mut lead = Lead { flights: self, pool, keys: Vec::new(), senders: Vec::new() };
        for key in keys {
            let known = [Pool::Query, pool].into_iter().find_map(|pool| open.get(&(*key, pool)));
            if let Some(flight) = known {
                joined.push((*key, flight.clone()));
            } else if entries.contains_key(key)
                && let Some(vector) = entries.get(key)
            {
                found.push((*key, vector));
            } else {
                let (sender, flight) = watch::channel(None);
                open.insert((*key, pool), Flight(flight));
                lead.keys.push(*key);
                lead.senders.push(sender);
            }
        }
        drop(open);
        Claim { lead, joined, found }
    }
}

/// The duty to compute some inputs. When it is dropped before the vectors are there, be it that
/// the work failed or that its client left, those who wait wake up and one of them takes over.
pub(super) struct Lead<'a> {
    flights: &'a Flights,
    pool: Pool,
    keys: Vec<CacheKey>,
    senders: Vec<watch::Sender<Option<Vector>>>,
}

impl Lead<'_> {
    pub(super) fn keys(&self) -> &[CacheKey] {
        &self.keys
    }

    /// Hands the vectors, in the order of the keys, to the cache and to those who wait.
    ///
    /// # Errors
    /// [`EmbedError::Unavailable`] when their number is not that of the keys.
    pub(super) fn finish(
        self,
        vectors: Vec<Vec<f32>>,
        entries: &Entries,
    ) -> Result<Vec<(CacheKey, Vector)>, EmbedError> {
        if vectors.len() != self.keys.len() {
            return Err(EmbedError::Unavailable);
        }
        let vectors = vectors.into_iter().map(Vector::from);
        let landed: Vec<(CacheKey, Vector)> = self.keys.iter().copied().zip(vectors).collect();
        // The cache first: whoever finds no flight any more finds the vector.
        for ((key, vector), sender) in landed.iter().zip(&self.senders) {
            entries.insert(*key, vector.clone());
            sender.send_replace(Some(vector.clone()));
        }
        Ok(landed)
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        // Before the senders go: whoever wakes up finds no flight of the one that failed.
        let mut open = self.flights.open();
        for key in &self.keys {
            open.remove(&(*key, self.pool));
        }
    }
}
