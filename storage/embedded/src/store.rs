//! Opening the file, and the store that hands out transactions.

use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use async_trait::async_trait;
use headwater_storage::optimistic::{Backend, Proposal, Sequencer, Snapshot, begin};
use headwater_storage::{Committed, Environment, Store, StoreError, Transaction};
use redb::{Database, ReadableDatabase};
use tokio::sync::{Semaphore, oneshot};

use crate::committer::{Committer, Request};
use crate::failure::{of_commit, of_open, of_storage, of_table, of_transaction};
use crate::snapshot::{EmbeddedSnapshot, NUMBERS, PAIRS, VERSION};

/// Versions jump by this at every start, so that a crash that lost delayed commits never
/// gives two commits one version.
const VERSION_JUMP: u64 = 1_000_000;
/// Most commits that wait for the committer; further ones wait outside.
const WAITING_COMMITS: usize = 1_024;

/// When a commit is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// Before it is answered.
    Always,
    /// Within [`crate::DELAYED_FSYNC_MS`] of its answer.
    Delayed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedSettings {
    /// The store's file; made when it does not exist, its folder too.
    pub path: PathBuf,
    pub fsync: Fsync,
    /// Memory for pages of the file, in bytes.
    pub cache_bytes: usize,
}

/// An open store; cheap to clone. The file is closed with the last clone, its last
/// transaction included.
#[derive(Clone)]
pub struct EmbeddedStore {
    shared: Arc<Shared>,
}

struct Shared {
    database: Arc<Database>,
    environment: Environment,
    permits: Arc<Semaphore>,
    /// `None` once the store closes.
    requests: Option<Sender<Request>>,
    committer: Mutex<Option<JoinHandle<()>>>,
}

impl EmbeddedStore {
    /// Opens the file and starts its committer. Blocks on the disk.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the file cannot be opened or another process has
    /// it; [`StoreError::Corrupt`] when it is damaged or no store.
    pub fn open(
        settings: &EmbeddedSettings,
        environment: Environment,
    ) -> Result<EmbeddedStore, StoreError> {
        let path = &settings.path;
        let said =
            |error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", path.display()));
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(said)?;
        }
        let mut builder = Database::builder();
        builder.set_cache_size(settings.cache_bytes);
        let database = builder.create(path).map_err(|error| of_open(path, error))?;
        let version = start_version(&database)?;
        let database = Arc::new(database);
        let (requests, waiting) = channel();
        let committer = Committer {
            database: Arc::clone(&database),
            sequencer: Sequencer::new(version),
            environment: environment.clone(),
            fsync: settings.fsync,
        };
        let committer = std::thread::Builder::new()
            .name("store-committer".to_owned())
            .spawn(move || committer.run(&waiting))
            .map_err(said)?;
        let shared = Shared {
            database,
            environment,
            permits: Arc::new(Semaphore::new(WAITING_COMMITS)),
            requests: Some(requests),
            committer: Mutex::new(Some(committer)),
        };
        Ok(EmbeddedStore { shared: Arc::new(shared) })
    }
}

/// Makes the tables when they are missing and takes this start's first version.
fn start_version(database: &Database) -> Result<u64, StoreError> {
    let transaction = database.begin_write().map_err(of_transaction)?;
    let version = {
        transaction.open_table(PAIRS).map_err(of_table)?;
        let mut numbers = transaction.open_table(NUMBERS).map_err(of_table)?;
        let last = redb::ReadableTable::get(&numbers, VERSION).map_err(of_storage)?;
        let version = last.map_or(0, |last| last.value()) + VERSION_JUMP;
        numbers.insert(VERSION, version).map_err(of_storage)?;
        version
    };
    transaction.commit().map_err(of_commit)?;
    Ok(version)
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.requests = None;
        let committer = self.committer.get_mut().unwrap_or_else(|held| held.into_inner()).take();
        if let Some(committer) = committer {
            // It has answered everyone by then; a panic in it was told to them as an outage.
            let _ = committer.join();
        }
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    fn engine(&self) -> &'static str {
        "embedded"
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        begin(Arc::clone(&self.shared) as Arc<dyn Backend>).await
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store's committer has stopped; restart the node".to_owned())
}

#[async_trait]
impl Backend for Shared {
    fn now_ms(&self) -> u64 {
        self.environment.now_ms()
    }

    async fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        let transaction = self.database.begin_read().map_err(of_transaction)?;
        Ok(Box::new(EmbeddedSnapshot::new(&transaction)?))
    }

    async fn commit(&self, proposal: Proposal) -> Result<Committed, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| closed())?;
        let (answer, outcome) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or_else(closed)?;
        requests.send(Request { proposal, answer, _permit: permit }).map_err(|_| closed())?;
        // A committer that ends without an answer may have written.
        outcome.await.unwrap_or(Err(StoreError::CommitUnknown))
    }
}
