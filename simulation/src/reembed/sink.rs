//! The sink as a process sees it: slow, down, and losing answers; and the checks that every
//! vector and every query is of the version that it claims.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use headwater_vectors::memory::MemorySink;
use headwater_vectors::{Hit, Record, RecordId, SearchQuery, Sink, SinkError, Space};

use super::models::tag;
use crate::world::World;

/// Longest ordinary way to the sink, in ms.
const WAY_MS: u64 = 4;
const SLOW_MS: u64 = 3_000;

/// The sink that all processes share, and what goes wrong with it; cheap to clone.
#[derive(Clone)]
pub(crate) struct SinkTroubles {
    world: World,
    memory: MemorySink,
    state: Arc<Mutex<State>>,
}

/// How often what goes wrong, in thousandths.
struct State {
    slow: u64,
    fails: u64,
    lost: u64,
    down: bool,
}

impl SinkTroubles {
    pub(crate) fn draw(world: &World, memory: &MemorySink) -> SinkTroubles {
        let share = |most| if world.percent(60) { world.between(1, most) } else { 0 };
        let state = State { slow: share(60), fails: share(80), lost: share(60), down: false };
        let (world, memory) = (world.clone(), memory.clone());
        SinkTroubles { world, memory, state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    pub(crate) fn heal(&self) {
        *self.lock() = State { slow: 0, fails: 0, lost: 0, down: false };
    }

    pub(crate) fn describe(&self) -> String {
        let State { slow, fails, lost, .. } = &*self.lock();
        format!("sink: slow {slow} ‰, fails {fails} ‰, loses answers {lost} ‰")
    }

    fn strikes(&self, share: u64) -> bool {
        share > 0 && self.world.draw() % 1000 < share
    }

    async fn pass(&self) -> Result<(), SinkError> {
        let slow = self.lock().slow;
        let most_ms = if self.strikes(slow) { SLOW_MS } else { WAY_MS };
        self.world.sleep(self.world.between(0, most_ms)).await;
        let (fails, down) = {
            let state = self.lock();
            (state.fails, state.down)
        };
        if down || self.strikes(fails) {
            self.world.count("sink down");
            return Err(SinkError::Unavailable("an injected outage".to_owned()));
        }
        Ok(())
    }

    /// The work is done; its answer may be lost on the way, or the way takes time.
    async fn answer<T: Send>(&self, outcome: Result<T, SinkError>) -> Result<T, SinkError> {
        let lost = self.lock().lost;
        if self.strikes(lost) {
            self.world.count("sink answer lost");
            return Err(SinkError::Unavailable("the answer was lost".to_owned()));
        }
        self.world.sleep(self.world.between(0, WAY_MS)).await;
        outcome
    }

    fn check(&self, what: &str, vector: &[f32], version: &str) {
        if vector.first().copied() != Some(tag(version)) {
            let seen = format!("{what} of version {version} has the vector {vector:?}");
            self.world.violated("no_result_mixes_versions", seen);
        }
    }
}

#[async_trait]
impl Sink for SinkTroubles {
    fn name(&self) -> &'static str {
        "simulated"
    }

    async fn create(&self, space: &Space) -> Result<(), SinkError> {
        self.pass().await?;
        let outcome = self.memory.create(space).await;
        self.answer(outcome).await
    }

    async fn space(&self, name: &str) -> Result<Option<Space>, SinkError> {
        self.pass().await?;
        self.memory.space(name).await
    }

    async fn drop_space(&self, name: &str) -> Result<(), SinkError> {
        self.pass().await?;
        let outcome = self.memory.drop_space(name).await;
        self.answer(outcome).await
    }

    async fn upsert(&self, space: &str, records: Vec<Record>) -> Result<(), SinkError> {
        self.pass().await?;
        for record in &records {
            self.check("a record", &record.vector, &record.version);
        }
        let outcome = self.memory.upsert(space, records).await;
        self.answer(outcome).await
    }

    async fn delete(&self, space: &str, ids: &[RecordId]) -> Result<(), SinkError> {
        self.pass().await?;
        let outcome = self.memory.delete(space, ids).await;
        self.answer(outcome).await
    }

    async fn get(&self, space: &str, ids: &[RecordId]) -> Result<Vec<Option<Record>>, SinkError> {
        self.pass().await?;
        let outcome = self.memory.get(space, ids).await;
        self.answer(outcome).await
    }

    async fn page(
        &self,
        space: &str,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<Vec<Record>, SinkError> {
        self.pass().await?;
        let outcome = self.memory.page(space, after, limit).await;
        self.answer(outcome).await
    }

    async fn count(&self, space: &str) -> Result<u64, SinkError> {
        self.pass().await?;
        self.memory.count(space).await
    }

    async fn search(&self, space: &str, query: &SearchQuery) -> Result<Vec<Hit>, SinkError> {
        self.pass().await?;
        self.check("a query", &query.vector, &query.version);
        let outcome = self.memory.search(space, query).await;
        for hit in outcome.iter().flatten() {
            self.check("a hit", &hit.record.vector, &query.version);
        }
        self.answer(outcome).await
    }
}
