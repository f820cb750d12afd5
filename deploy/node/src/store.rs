//! Opens the configured engine, and keeps what the node notes in it.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headwater_actors::embedding::{ModelCard, ServedBefore, record_served_model};
use headwater_storage::memory::MemoryStore;
use headwater_storage::retry::{OperationId, Retry, RetryPolicy};
use headwater_storage::{Environment, Store};
use headwater_storage_embedded::{EmbeddedSettings, EmbeddedStore, Fsync};
use headwater_storage_fdb::FdbSettings;
use tokio::time::Instant;

use crate::config::{Engine, Settings, data_dir};
use crate::failure::Failure;

/// Memory for the embedded engine's pages, in bytes.
const CACHE_BYTES: usize = 64 << 20;
const HOUR_S: u64 = 60 * 60;

/// This process's clock, timers and chance.
fn environment() -> Environment {
    let origin = Instant::now();
    Environment::new(
        move || origin.elapsed().as_millis() as u64,
        |ms| Box::pin(tokio::time::sleep(Duration::from_millis(ms))),
        // The system's source does not fail once it has started; were it to, the address of
        // a fresh clock reading still differs from call to call.
        || getrandom::u64().unwrap_or_else(|_| since_1970().as_nanos() as u64),
    )
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Opens the store that the settings name.
///
/// # Errors
/// Kind `Unavailable`, with what to do about it.
pub(crate) async fn open(settings: &Settings) -> Result<Retry, Failure> {
    let environment = environment();
    let storage = &settings.storage;
    let store: Arc<dyn Store> = match storage.engine {
        Engine::Memory => {
            tracing::warn!("storage.engine is memory: nothing outlives this process");
            Arc::new(MemoryStore::new(environment.clone()))
        }
        Engine::Embedded => {
            let path = match &storage.path {
                Some(path) => path.clone(),
                None => data_dir(settings)?.join("store.redb"),
            };
            let fsync = if storage.fsync { Fsync::Always } else { Fsync::Delayed };
            let embedded = EmbeddedSettings { path, fsync, cache_bytes: CACHE_BYTES };
            let opening = environment.clone();
            let opened =
                tokio::task::spawn_blocking(move || EmbeddedStore::open(&embedded, opening));
            let opened = opened.await.map_err(Failure::broken)?;
            Arc::new(opened.map_err(|error| Failure::unavailable(format!("storage: {error}")))?)
        }
        Engine::Fdb => {
            let directory = vec!["headwater".to_owned(), storage.cluster_name.clone()];
            let fdb = FdbSettings { cluster_file: storage.cluster_file.clone(), directory };
            let opened = headwater_storage_fdb::open(&fdb).await;
            opened.map_err(|error| Failure::unavailable(format!("storage: {error}")))?
        }
    };
    tracing::info!(engine = store.engine(), "store open");
    Ok(Retry::new(store, environment, RetryPolicy::default()))
}

/// Notes that a model is served, and warns when its name stood for other vectors before.
///
/// # Errors
/// Kind `Unavailable` when the store does not take the note.
pub(crate) async fn record_model(retry: &Retry, card: &ModelCard) -> Result<(), Failure> {
    let hour = u32::try_from(since_1970().as_secs() / HOUR_S).unwrap_or(u32::MAX);
    let id = OperationId::draw(hour, retry.environment());
    let before = record_served_model(retry, id, card).await;
    let before = before.map_err(|error| Failure::unavailable(format!("storage: {error}")))?;
    if let ServedBefore::Changed { fingerprint } = before {
        tracing::warn!(
            model = card.name,
            before = fingerprint,
            now = card.fingerprint,
            "this model's fingerprint changed: vectors stored before cannot be compared with \
             new ones; embed them again or serve the new weights under another name"
        );
    }
    Ok(())
}
