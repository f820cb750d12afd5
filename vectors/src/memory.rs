//! A sink in memory: exact search, and outages ordered in advance. For tests and simulation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::{Hit, Record, RecordId, SearchQuery, Sink, SinkError, Space, similarity};

#[derive(Default)]
struct State {
    spaces: BTreeMap<String, (Space, BTreeMap<RecordId, Record>)>,
    /// Calls that fail before they do anything.
    failures: usize,
    /// Upserts that do their work and then fail.
    lost_answers: usize,
    upserts: u64,
}

/// The sink; clones share its spaces.
#[derive(Clone, Default)]
pub struct MemorySink {
    state: Arc<Mutex<State>>,
}

impl MemorySink {
    /// The next calls fail and do nothing.
    pub fn fail(&self, calls: usize) {
        self.lock().failures = calls;
    }

    /// The next upserts happen, but their callers are told that the sink is not available.
    pub fn lose_answers(&self, upserts: usize) {
        self.lock().lost_answers = upserts;
    }

    /// How many records were written so far, repetitions counted.
    pub fn upserted(&self) -> u64 {
        self.lock().upserts
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self) -> Result<MutexGuard<'_, State>, SinkError> {
        let mut state = self.lock();
        if state.failures > 0 {
            state.failures -= 1;
            return Err(SinkError::Unavailable("the double was told to fail".to_owned()));
        }
        Ok(state)
    }
}

type Kept = (Space, BTreeMap<RecordId, Record>);

fn find<'a>(state: &'a mut State, name: &str) -> Result<&'a mut Kept, SinkError> {
    let missing = || SinkError::Space(format!("there is no space '{name}'; create it first"));
    state.spaces.get_mut(name).ok_or_else(missing)
}

#[async_trait]
impl Sink for MemorySink {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn create(&self, space: &Space) -> Result<(), SinkError> {
        let mut state = self.enter()?;
        match state.spaces.get(&space.name) {
            Some((known, _)) if known == space => Ok(()),
            Some(_) => Err(SinkError::Space(format!(
                "the space '{}' is there with another version, length, metric or format; drop it \
                 first",
                space.name
            ))),
            None => {
                state.spaces.insert(space.name.clone(), (space.clone(), BTreeMap::new()));
                Ok(())
            }
        }
    }

    async fn space(&self, name: &str) -> Result<Option<Space>, SinkError> {
        Ok(self.enter()?.spaces.get(name).map(|(space, _)| space.clone()))
    }

    async fn drop_space(&self, name: &str) -> Result<(), SinkError> {
        self.enter()?.spaces.remove(name);
        Ok(())
    }

    async fn upsert(&self, space: &str, records: Vec<Record>) -> Result<(), SinkError> {
        let mut state = self.enter()?;
        let (known, kept) = find(&mut state, space)?;
        for record in &records {
            known.admits_vector(&record.version, &record.vector)?;
        }
        let written = records.len() as u64;
        kept.extend(records.into_iter().map(|record| (record.id, record)));
        state.upserts += written;
        if state.lost_answers > 0 {
            state.lost_answers -= 1;
            return Err(SinkError::Unavailable("the double lost the answer".to_owned()));
        }
        Ok(())
    }

    async fn delete(&self, space: &str, ids: &[RecordId]) -> Result<(), SinkError> {
        let mut state = self.enter()?;
        let (_, kept) = find(&mut state, space)?;
        for id in ids {
            kept.remove(id);
        }
        Ok(())
    }

    async fn get(&self, space: &str, ids: &[RecordId]) -> Result<Vec<Option<Record>>, SinkError> {
        let mut state = self.enter()?;
        let (_, kept) = find(&mut state, space)?;
        Ok(ids.iter().map(|id| kept.get(id).cloned()).collect())
    }

    async fn page(
        &self,
        space: &str,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<Vec<Record>, SinkError> {
        let mut state = self.enter()?;
        let (_, kept) = find(&mut state, space)?;
        let behind = kept.iter().filter(|(id, _)| after.is_none_or(|after| **id > after));
        Ok(behind.take(limit).map(|(_, record)| record.clone()).collect())
    }

    async fn count(&self, space: &str) -> Result<u64, SinkError> {
        Ok(find(&mut *self.enter()?, space)?.1.len() as u64)
    }

    async fn search(&self, space: &str, query: &SearchQuery) -> Result<Vec<Hit>, SinkError> {
        let mut state = self.enter()?;
        let (known, kept) = find(&mut state, space)?;
        query.check(known)?;
        let passing = kept.values().filter(|record| {
            query.filter.as_ref().is_none_or(|filter| filter.passes(&record.source, &record.fields))
        });
        let mut hits: Vec<Hit> = passing
            .map(|record| Hit {
                score: similarity(known.metric, &query.vector, &record.vector),
                record: record.clone(),
            })
            .collect();
        hits.sort_by(|left, right| {
            right.score.total_cmp(&left.score).then(left.record.id.cmp(&right.record.id))
        });
        hits.truncate(query.limit);
        Ok(hits)
    }
}
