//! The double passes the suite, and sinks with planted faults do not.

use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;

use super::run;
use crate::memory::MemorySink;
use crate::{Filter, Hit, Record, RecordId, SearchQuery, Sink, SinkError, Space};

const SEED: u64 = 20_261_124;

/// Runs a future that never waits for anything, as those of the double.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the double never waits"),
    }
}

#[test]
fn the_double_passes() {
    let count = block_on(run(&MemorySink::default(), SEED));
    assert_eq!(count.unwrap_or_else(|violation| panic!("{violation}")), 19);
}

/// A way to break a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Break {
    VersionsAreIgnored,
    KindsAreIgnored,
    TheFirstOfTwoCounts,
    OldRecordsStay,
    DeletesAreLost,
    DroppedRecordsStay,
    PagesIncludeTheirStart,
    FiltersAreIgnored,
    NotIsIgnored,
    TheFarthestComeFirst,
    LimitsAreOnePast,
    SearchesAreOneCallLate,
    FieldsAreLost,
    MissingSpacesAreEmpty,
}

struct BrokenSink {
    inner: MemorySink,
    broken: Break,
    late: Mutex<Option<Vec<Hit>>>,
}

impl BrokenSink {
    fn is(&self, broken: Break) -> bool {
        self.broken == broken
    }
}

fn without_not(filter: Filter) -> Filter {
    match filter {
        Filter::Not(part) => *part,
        other => other,
    }
}

#[async_trait]
impl Sink for BrokenSink {
    fn name(&self) -> &'static str {
        "broken"
    }

    async fn create(&self, space: &Space) -> Result<(), SinkError> {
        match self.inner.create(space).await {
            Err(SinkError::Space(_)) if self.is(Break::KindsAreIgnored) => Ok(()),
            answer => answer,
        }
    }

    async fn space(&self, name: &str) -> Result<Option<Space>, SinkError> {
        self.inner.space(name).await
    }

    async fn drop_space(&self, name: &str) -> Result<(), SinkError> {
        let is_kept = self.is(Break::DroppedRecordsStay);
        if is_kept { Ok(()) } else { self.inner.drop_space(name).await }
    }

    async fn upsert(&self, space: &str, mut records: Vec<Record>) -> Result<(), SinkError> {
        if self.is(Break::VersionsAreIgnored)
            && let Some(space) = self.inner.space(space).await?
        {
            records.iter_mut().for_each(|record| record.version.clone_from(&space.version));
        }
        if self.is(Break::FieldsAreLost) {
            records.iter_mut().for_each(|record| drop(record.fields.remove("even")));
        }
        if self.is(Break::TheFirstOfTwoCounts) {
            records.reverse();
        }
        if self.is(Break::OldRecordsStay) {
            let ids: Vec<RecordId> = records.iter().map(|record| record.id).collect();
            let there = self.inner.get(space, &ids).await?;
            let mut there = there.iter();
            records.retain(|_| there.next().is_some_and(Option::is_none));
        }
        self.inner.upsert(space, records).await
    }

    async fn delete(&self, space: &str, ids: &[RecordId]) -> Result<(), SinkError> {
        let ids = if self.is(Break::DeletesAreLost) { &[] } else { ids };
        self.inner.delete(space, ids).await
    }

    async fn get(&self, space: &str, ids: &[RecordId]) -> Result<Vec<Option<Record>>, SinkError> {
        match self.inner.get(space, ids).await {
            Err(SinkError::Space(_)) if self.is(Break::MissingSpacesAreEmpty) => {
                Ok(vec![None; ids.len()])
            }
            answer => answer,
        }
    }

    async fn page(
        &self,
        space: &str,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<Vec<Record>, SinkError> {
        let mut after = after;
        if self.is(Break::PagesIncludeTheirStart)
            && let Some(RecordId(bytes)) = &mut after
        {
            bytes[31] = bytes[31].saturating_sub(1);
        }
        self.inner.page(space, after, limit).await
    }

    async fn count(&self, space: &str) -> Result<u64, SinkError> {
        self.inner.count(space).await
    }

    async fn search(&self, space: &str, query: &SearchQuery) -> Result<Vec<Hit>, SinkError> {
        let mut query = query.clone();
        match self.broken {
            Break::VersionsAreIgnored => {
                if let Some(space) = self.inner.space(space).await? {
                    query.version = space.version;
                }
            }
            Break::FiltersAreIgnored => query.filter = None,
            Break::NotIsIgnored => query.filter = query.filter.map(without_not),
            Break::LimitsAreOnePast => query.limit += 1,
            _ => {}
        }
        let mut hits = self.inner.search(space, &query).await?;
        if self.is(Break::TheFarthestComeFirst) {
            hits.reverse();
        }
        if self.is(Break::SearchesAreOneCallLate) {
            let late = self.late.lock().expect("no panic").replace(hits.clone());
            return Ok(late.unwrap_or(hits));
        }
        Ok(hits)
    }
}

#[test]
fn broken_sinks_are_found_out() {
    for broken in [
        Break::VersionsAreIgnored,
        Break::KindsAreIgnored,
        Break::TheFirstOfTwoCounts,
        Break::OldRecordsStay,
        Break::DeletesAreLost,
        Break::DroppedRecordsStay,
        Break::PagesIncludeTheirStart,
        Break::FiltersAreIgnored,
        Break::NotIsIgnored,
        Break::TheFarthestComeFirst,
        Break::LimitsAreOnePast,
        Break::SearchesAreOneCallLate,
        Break::FieldsAreLost,
        Break::MissingSpacesAreEmpty,
    ] {
        let sink = BrokenSink { inner: MemorySink::default(), broken, late: Mutex::default() };
        let outcome = block_on(run(&sink, SEED));
        assert!(outcome.is_err(), "the cases did not notice {broken:?}");
    }
}
