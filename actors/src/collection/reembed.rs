//! The runner: looks what collections need, claims them by lease, and works: mends vectors,
//! takes builds to their switch, drops spaces that were given up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_storage::tuple::{self, Element};
use headwater_storage::{KeyRange, Pair, RangeRead, ReadMode};

use super::handle::Collections;
use super::keys::{all_doomed, all_todos, doomed_space, mends_of, record_name, todo_key};
use super::nouns::{Collection, CollectionError, CollectionId};
use super::records::decode;
use super::sweep::Stepped;
use super::vectors::PAGE_CHUNKS;
use crate::cluster::{Claim, LeaseProof, Leases};

type Outcome<T> = Result<T, CollectionError>;

/// Rows of one look.
const LOOK_ROWS: usize = 256;
/// So many failures one after the other, and another node may try.
const PATIENCE: u32 = 6;
/// Spaces that were given up are dropped again at every so many looks.
const DOOMED_LOOKS: u64 = 16;
/// How long a collection that used up the patience lets others go first, in ms.
const REST_MS: u64 = 30_000;
const FIRST_PAUSE_MS: u64 = 200;
const LONGEST_PAUSE_MS: u64 = 10_000;

/// How a node's runner works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReembedSettings {
    /// From one look for work to the next, in ms.
    pub look_ms: u64,
    /// Most collections that the node works on at once; 0 for none, so that other nodes do it.
    pub jobs: usize,
    /// Most chunks that a build embeds a second; none for as many as the ingest pool takes.
    pub chunks_per_s: Option<u32>,
    /// Chunks of one step of a build, 1 to 128.
    pub page_chunks: usize,
}

impl Default for ReembedSettings {
    fn default() -> Self {
        ReembedSettings { look_ms: 1_000, jobs: 2, chunks_per_s: None, page_chunks: PAGE_CHUNKS }
    }
}

/// A node's runner; cheap to clone.
#[derive(Clone)]
pub struct Reembedding {
    shared: Arc<Shared>,
}

struct Shared {
    collections: Collections,
    leases: Leases,
    settings: ReembedSettings,
    working: Mutex<BTreeSet<CollectionId>>,
    /// Until when a collection that cannot be worked on lets others go first, in ms.
    resting: Mutex<BTreeMap<CollectionId, u64>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<CollectionId>> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn rest(&self, id: CollectionId) {
        let until_ms = self.collections.runtime().now_ms() + REST_MS;
        self.resting.lock().unwrap_or_else(PoisonError::into_inner).insert(id, until_ms);
    }

    fn rests(&self, id: CollectionId) -> bool {
        let now_ms = self.collections.runtime().now_ms();
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.retain(|_, until_ms| *until_ms > now_ms);
        resting.contains_key(&id)
    }
}

/// Takes the collection off the list, also where the task is dropped.
struct Working(Arc<Shared>, CollectionId);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

/// The lease of the work on a collection.
fn lease_key(id: CollectionId) -> Vec<u8> {
    let id = Element::Bytes(id.0.to_be_bytes().to_vec());
    tuple::pack(&["collection".into(), id])
}

impl Reembedding {
    pub fn new(collections: Collections, leases: Leases, settings: ReembedSettings) -> Reembedding {
        let (working, resting) = (Mutex::default(), Mutex::default());
        Reembedding { shared: Arc::new(Shared { collections, leases, settings, working, resting }) }
    }

    /// Looks and works until the node ends.
    pub async fn run(self) {
        let Shared { collections, settings, .. } = &*self.shared;
        let mut looks = 0_u64;
        loop {
            // Nodes that look at the same time would claim the same.
            let spread_ms = collections.runtime().environment().draw() % (settings.look_ms / 2 + 1);
            collections.runtime().pause(settings.look_ms - spread_ms.min(settings.look_ms)).await;
            if settings.jobs == 0 {
                continue;
            }
            // What a look fails at, the next one finds again.
            let _ = self.look().await;
            if looks.is_multiple_of(DOOMED_LOOKS) {
                let _ = self.drop_doomed().await;
            }
            looks += 1;
        }
    }

    async fn look(&self) -> Outcome<()> {
        let collections = &self.shared.collections;
        let mut range = all_todos();
        loop {
            let page = self.rows(range.clone()).await?;
            for (key, _) in &page {
                if self.shared.lock().len() >= self.shared.settings.jobs {
                    return Ok(());
                }
                let (tenant, name) = record_name(key)?;
                match collections.get(&tenant, &name).await {
                    Ok(collection) if self.shared.rests(collection.id) => {}
                    Ok(collection) => self.claim(collection).await,
                    // It is deleted, or about to be.
                    Err(CollectionError::NoCollection { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            match page.last() {
                Some((key, _)) if page.len() == LOOK_ROWS => {
                    range.begin = KeyRange::of_key(key).end;
                }
                _ => return Ok(()),
            }
        }
    }

    async fn rows(&self, range: KeyRange) -> Outcome<Vec<Pair>> {
        let read = RangeRead::all(range).limit(LOOK_ROWS).snapshot();
        let rows = self.shared.collections.retry().read(|transaction| {
            let read = read.clone();
            Box::pin(async move { transaction.range(read).await })
        });
        Ok(rows.await?)
    }

    async fn claim(&self, collection: Collection) {
        let id = collection.id;
        if !self.shared.lock().insert(id) {
            return;
        }
        let working = Working(Arc::clone(&self.shared), id);
        let Claim::Mine { .. } = self.shared.leases.claim(&lease_key(id)).await else { return };
        let this = self.clone();
        self.shared.collections.runtime().spawn(async move {
            this.work(collection).await;
            drop(working);
        });
    }

    /// Works on one collection while the lease is this node's and something is left.
    async fn work(&self, collection: Collection) {
        let Shared { collections, leases, .. } = &*self.shared;
        let key = lease_key(collection.id);
        let mut failures = 0;
        while let Some(epoch) = leases.epoch(&key) {
            let proof = leases.proof(&key, epoch);
            match self.work_step(&collection, &proof).await {
                Ok(true) => failures = 0,
                Ok(false) => break,
                Err(problem) => {
                    failures += 1;
                    collections.metrics().failed();
                    // A lease is not held while a quota is waited for.
                    let waits = problem.is_over_quota();
                    if failures > PATIENCE || waits || !problem.is_retryable() {
                        self.shared.rest(collection.id);
                        break;
                    }
                    let pause_ms = FIRST_PAUSE_MS << failures.min(6);
                    collections.runtime().pause(pause_ms.min(LONGEST_PAUSE_MS)).await;
                }
            }
        }
        if let Some(build) = &collection.versions.building {
            collections.metrics().forget(&collection, &build.version.fingerprint);
        }
        leases.release(&key);
    }

    /// One step; whether there may be more.
    async fn work_step(&self, begun: &Collection, proof: &LeaseProof) -> Outcome<bool> {
        let collections = &self.shared.collections;
        let collection = match collections.get(&begun.tenant, &begun.name).await {
            Ok(collection) if collection.id == begun.id => collection,
            Ok(_) | Err(CollectionError::NoCollection { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let page = self.shared.settings.page_chunks.clamp(1, PAGE_CHUNKS);
        // A version that is not served must not hold up another one's build, so its mends wait.
        let mended = collections.mend(&collection).await;
        match collections.sweep_step(&collection, proof, page).await {
            Ok(Stepped::On { embedded }) => {
                self.keep_pace(embedded).await;
                Ok(true)
            }
            Ok(Stepped::Switched) => Ok(true),
            Ok(Stepped::Stopped) => {
                mended?;
                // Chunks that others have claimed wait for the next look.
                self.nothing_left(&collection).await?;
                Ok(false)
            }
            Err(problem) => {
                // For people only: the step itself is tried again.
                let _ = collections.note_problem(&collection, proof, &problem).await;
                Err(problem)
            }
        }
    }

    async fn keep_pace(&self, embedded: usize) {
        let Some(most) = self.shared.settings.chunks_per_s else { return };
        let pause_ms = embedded as u64 * 1000 / u64::from(most.max(1));
        if pause_ms > 0 {
            self.shared.collections.runtime().pause(pause_ms).await;
        }
    }

    /// Clears the collection's mark, in a transaction that sees that there is nothing to do.
    async fn nothing_left(&self, collection: &Collection) -> Outcome<()> {
        let retry = self.shared.collections.retry();
        let cleared = retry.write_idempotent(|transaction| {
            let Collection { tenant, name, id, .. } = collection.clone();
            Box::pin(async move {
                let mode = ReadMode::Serializable;
                let found =
                    super::handle::read_collection(transaction, &tenant, &name, mode).await?;
                let building = found.and_then(|found| found.versions.building);
                let mends = transaction.range(RangeRead::all(mends_of(id)).limit(1)).await?;
                if !mends.is_empty() || building.is_some_and(|build| build.may_sweep()) {
                    return Ok(());
                }
                transaction.clear(&todo_key(&tenant, &name))
            })
        });
        Ok(cleared.await?)
    }

    /// Drops the spaces that were given up, again and again for a while: somebody who had not
    /// heard may have created one anew.
    async fn drop_doomed(&self) -> Outcome<()> {
        let collections = &self.shared.collections;
        let now_ms = collections.runtime().wall_ms();
        for (key, value) in self.rows(all_doomed()).await? {
            collections.sink().drop_space(&doomed_space(&key)?).await?;
            let until_ms: u64 = decode(&value)?;
            if until_ms > now_ms {
                continue;
            }
            let cleared = collections.retry().write_idempotent(|transaction| {
                let key = key.clone();
                Box::pin(async move { transaction.clear(&key) })
            });
            cleared.await?;
        }
        Ok(())
    }
}
