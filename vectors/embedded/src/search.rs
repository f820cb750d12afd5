//! A search: catch up, look at the vectors, score the best exactly.

use std::pin::Pin;
use std::task::{Context, Poll};

use headwater_storage::StoreError;
use headwater_vectors::quantise::Scorer;
use headwater_vectors::{Hit, NumberFormat, SearchQuery, SinkError};

use crate::best::{Best, Found};
use crate::failure::{no_space, of_store, recreated};
use crate::index::Index;
use crate::sink::EmbeddedSink;
use crate::slab::Slab;
use crate::steps::glance;

/// How often a search may meet a space that is dropped and created meanwhile.
const TRIES: usize = 3;
/// Slots looked at before other tasks get a turn: well under a millisecond's work.
const TURN_SLOTS: usize = 1_024;
/// A search by Hamming distance finds so many times the hits wanted, and at least
/// [`RESCORED_MIN`]; the query itself then picks among them.
const RESCORED_FACTOR: usize = 4;
const RESCORED_MIN: usize = 100;

impl EmbeddedSink {
    pub(crate) async fn search_space(
        &self,
        name: &str,
        query: &SearchQuery,
    ) -> Result<Vec<Hit>, SinkError> {
        for _ in 0..TRIES {
            let Some(glance) = glance(self.retry(), name).await.map_err(of_store)? else {
                self.forget(name);
                return Err(no_space(name));
            };
            query.check(&glance.known.space)?;
            let open = self.open(&glance.known).await?;
            let fits = |bytes| self.make_room(&open, bytes);
            if let Some(index) = open.reach(self.retry(), &glance, fits).await? {
                #[cfg(feature = "usearch")]
                {
                    crate::graph::grow(&open, self.settings().exact_records_max);
                    let few = self.settings().exact_records_max;
                    return crate::graph::find(index, query, few).await;
                }
                #[cfg(not(feature = "usearch"))]
                return find(&index, query).await;
            }
        }
        Err(recreated(name))
    }
}

/// The nearest of all vectors.
pub(crate) async fn find(index: &Index, query: &SearchQuery) -> Result<Vec<Hit>, SinkError> {
    let slab = &index.slab;
    let scorer = slab.scorer(&query.vector)?;
    let found = scan(slab, 0, &scorer, query).await?;
    hits(slab, found, &scorer, query.limit)
}

/// The best of all slots from `begin` on, by the scan's own score.
pub(crate) async fn scan(
    slab: &Slab,
    begin: usize,
    scorer: &Scorer,
    query: &SearchQuery,
) -> Result<Vec<Found>, SinkError> {
    let wanted = match slab.space().format {
        NumberFormat::Binary => query.limit.saturating_mul(RESCORED_FACTOR).max(RESCORED_MIN),
        _ => query.limit,
    };
    let mut best = Best::new(wanted);
    for begin in (begin..slab.slots()).step_by(TURN_SLOTS) {
        let slots = begin..begin + TURN_SLOTS;
        slab.scan(slots, scorer, query.filter.as_ref(), &mut best)?;
        Turn::default().await;
    }
    Ok(best.into_sorted())
}

/// The best of the found ones by their exact scores.
pub(crate) fn hits(
    slab: &Slab,
    found: Vec<Found>,
    scorer: &Scorer,
    limit: usize,
) -> Result<Vec<Hit>, SinkError> {
    let exact = found.iter().map(|found| slab.found(found.slot, scorer));
    let mut exact: Vec<Found> = exact.collect::<Result<_, _>>()?;
    exact.sort_unstable();
    exact.dedup_by_key(|found| found.slot);
    exact.truncate(limit);
    let hit = |found: Found| -> Result<Option<Hit>, StoreError> {
        Ok(slab.record(found.slot)?.map(|record| Hit { record, score: found.score }))
    };
    exact.into_iter().filter_map(|found| hit(found).map_err(of_store).transpose()).collect()
}

/// Lets other tasks run once, whatever runtime there is.
#[derive(Default)]
struct Turn {
    taken: bool,
}

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.taken {
            return Poll::Ready(());
        }
        self.taken = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
