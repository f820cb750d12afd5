//! A sink behind a network: requests fail, come late, or happen although their sender was told
//! that they did not. A request that was sent arrives even if its sender dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use headwater_vectors::memory::MemorySink;
use headwater_vectors::{Hit, Record, RecordId, SearchQuery, Sink, SinkError, Space};
use tokio::sync::oneshot;

use super::options::LATE_MS;
use crate::world::World;

/// Longest ordinary way, in ms.
const WAY_MS: u64 = 3;

/// See the module; cheap to clone.
#[derive(Clone)]
pub(super) struct FarSink {
    world: World,
    memory: MemorySink,
    /// Thousandths of the calls that fail, that are late, and whose answer is lost.
    shares: (u64, u64, u64),
    healed: Arc<AtomicBool>,
}

impl FarSink {
    pub(super) fn new(world: &World, memory: &MemorySink, shares: (u64, u64, u64)) -> FarSink {
        FarSink { world: world.clone(), memory: memory.clone(), shares, healed: Arc::default() }
    }

    pub(super) fn heal(&self) {
        self.healed.store(true, Ordering::Relaxed);
    }

    fn strikes(&self, share: u64, what: &'static str) -> bool {
        let strikes =
            share > 0 && self.world.draw() % 1000 < share && !self.healed.load(Ordering::Relaxed);
        if strikes {
            self.world.count(what);
        }
        strikes
    }

    async fn call<T, F>(
        &self,
        act: impl FnOnce(MemorySink) -> F + Send + 'static,
    ) -> Result<T, SinkError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, SinkError>> + Send + 'static,
    {
        let (failing, late, lost) = self.shares;
        if self.strikes(failing, "sink failed") {
            self.world.sleep(self.world.between(0, WAY_MS)).await;
            return Err(unavailable());
        }
        let is_late = self.strikes(late, "sink request late");
        let is_lost = self.strikes(lost, "sink answer lost");
        let longest_ms = if is_late || is_lost { LATE_MS } else { WAY_MS };
        let sleep = self.world.sleep(self.world.between(0, longest_ms));
        let (reply, answer) = oneshot::channel();
        let memory = self.memory.clone();
        self.world.spawn(async move {
            sleep.await;
            let _ = reply.send(act(memory).await);
        });
        if is_lost {
            self.world.sleep(self.world.between(0, WAY_MS)).await;
            return Err(unavailable());
        }
        answer.await.unwrap_or_else(|_| Err(unavailable()))
    }
}

fn unavailable() -> SinkError {
    SinkError::Unavailable("nothing answers".to_owned())
}

/// The beginnings of ids, for the trace.
pub(super) fn names(ids: &[RecordId]) -> String {
    let name = |id: &RecordId| format!("{:02x}{:02x}{:02x}", id.0[0], id.0[1], id.0[2]);
    ids.iter().map(name).collect::<Vec<_>>().join(" ")
}

#[async_trait]
impl Sink for FarSink {
    fn name(&self) -> &'static str {
        "far"
    }

    async fn create(&self, space: &Space) -> Result<(), SinkError> {
        let space = space.clone();
        self.call(|sink| async move { sink.create(&space).await }).await
    }

    async fn space(&self, name: &str) -> Result<Option<Space>, SinkError> {
        let name = name.to_owned();
        self.call(|sink| async move { sink.space(&name).await }).await
    }

    async fn drop_space(&self, name: &str) -> Result<(), SinkError> {
        let name = name.to_owned();
        self.call(|sink| async move { sink.drop_space(&name).await }).await
    }

    async fn upsert(&self, space: &str, records: Vec<Record>) -> Result<(), SinkError> {
        let (space, world) = (space.to_owned(), self.world.clone());
        self.call(|sink| async move {
            let ids: Vec<RecordId> = records.iter().map(|record| record.id).collect();
            world.note(format_args!("the sink takes {}", names(&ids)));
            sink.upsert(&space, records).await
        })
        .await
    }

    async fn delete(&self, space: &str, ids: &[RecordId]) -> Result<(), SinkError> {
        let (space, ids, world) = (space.to_owned(), ids.to_vec(), self.world.clone());
        self.call(|sink| async move {
            world.note(format_args!("the sink deletes {}", names(&ids)));
            sink.delete(&space, &ids).await
        })
        .await
    }

    async fn get(&self, space: &str, ids: &[RecordId]) -> Result<Vec<Option<Record>>, SinkError> {
        let (space, ids) = (space.to_owned(), ids.to_vec());
        self.call(|sink| async move { sink.get(&space, &ids).await }).await
    }

    async fn page(
        &self,
        space: &str,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<Vec<Record>, SinkError> {
        let space = space.to_owned();
        self.call(move |sink| async move { sink.page(&space, after, limit).await }).await
    }

    async fn count(&self, space: &str) -> Result<u64, SinkError> {
        let space = space.to_owned();
        self.call(|sink| async move { sink.count(&space).await }).await
    }

    async fn search(&self, space: &str, query: &SearchQuery) -> Result<Vec<Hit>, SinkError> {
        let (space, query) = (space.to_owned(), query.clone());
        self.call(|sink| async move { sink.search(&space, &query).await }).await
    }
}
