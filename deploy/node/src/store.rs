//! Opens the configured engine, and keeps what the node notes in it.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use headwater_actors::caller::{CallError, Caller, Service};
use headwater_actors::cluster::NodeId;
use headwater_actors::embedding::{ModelCard, ServedBefore, record_served_model};
use headwater_storage::memory::MemoryStore;
use headwater_storage::remote::{Exchange, ExchangeError, RemoteStore, ServerLimits, StoreServer};
use headwater_storage::retry::{OperationId, Retry, RetryPolicy};
use headwater_storage::{Environment, Store};
use headwater_storage_embedded::{EmbeddedSettings, EmbeddedStore, Fsync};
use headwater_storage_fdb::FdbSettings;
use tokio::time::Instant;

use crate::config::{Engine, Settings, data_dir};
use crate::failure::Failure;

/// Memory for the embedded engine's pages, in bytes.
const CACHE_BYTES: usize = 32 << 20;
const HOUR_S: u64 = 60 * 60;

/// This process's clock, timers and chance.
pub(crate) fn environment() -> Environment {
    let origin = Instant::now();
    Environment::new(
        move || origin.elapsed().as_millis() as u64,
        |ms| Box::pin(tokio::time::sleep(Duration::from_millis(ms))),
        // The system's source does not fail once it has started; were it to, the address of
        // a fresh clock reading still differs from call to call.
        || getrandom::u64().unwrap_or_else(|_| since_1970().as_nanos() as u64),
    )
}

pub(crate) fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Opens the store that the settings name. `caller` reaches the other nodes.
///
/// # Errors
/// Kind `Unavailable`, with what to do about it.
pub(crate) async fn open(settings: &Settings, caller: &Caller) -> Result<Retry, Failure> {
    let environment = caller.runtime().environment().clone();
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
        Engine::Cluster => {
            let node = storage.node.clone().unwrap_or_default();
            let to = NodeId::new(node)
                .map_err(|problem| Failure::settings(format!("storage.node: {problem}")))?;
            tracing::warn!(node = %to, "the store is another node's: one point of failure");
            let exchange = Arc::new(StoreExchange { caller: caller.clone(), to });
            Arc::new(RemoteStore::new(exchange, environment.clone()))
        }
        Engine::Fdb => {
            let directory = vec!["headwater".to_owned(), storage.cluster_name.clone()];
            let fdb = FdbSettings { cluster_file: storage.cluster_file.clone(), directory };
            let opened = headwater_storage_fdb::open(&fdb).await;
            opened.map_err(|error| Failure::unavailable(format!("storage: {error}")))?
        }
    };
    tracing::info!(engine = store.engine(), "store open");
    if storage.serve {
        tracing::warn!("offering this node's store to the cluster: one point of failure");
        serve(caller, &store, &environment);
    }
    let retry = Retry::new(store, environment, RetryPolicy::default());
    caller.runtime().spawn(forget_operations(retry.clone()));
    Ok(retry)
}

/// Operations of this many hours ago are tried by nobody any more.
const OPERATION_HOURS: u64 = 24;

/// Drops the rows of old operations, once an hour.
async fn forget_operations(retry: Retry) {
    loop {
        tokio::time::sleep(Duration::from_secs(HOUR_S)).await;
        let hours = (since_1970().as_secs() / HOUR_S).saturating_sub(OPERATION_HOURS);
        if let Err(error) = retry.forget_before(u32::try_from(hours).unwrap_or(u32::MAX)).await {
            tracing::debug!(%error, "rows of old operations stay for another hour");
        }
    }
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

/// Longest wait for an answer of the node that has the store, in ms.
const EXCHANGE_MS: u64 = 5_000;
/// How often the server looks for transactions that were left open, in ms.
const SWEEP_MS: u64 = 1_000;

/// The way to the node that has the store.
struct StoreExchange {
    caller: Caller,
    to: NodeId,
}

#[async_trait]
impl Exchange for StoreExchange {
    async fn exchange(&self, request: Vec<u8>) -> Result<Vec<u8>, ExchangeError> {
        let answer = self.caller.call(&self.to, Service::Storage, request, EXCHANGE_MS).await;
        answer.map_err(|error| match error {
            CallError::NotSent { .. } | CallError::Overloaded { .. } => {
                ExchangeError::NotSent(error.to_string())
            }
            CallError::Unanswered { .. } => ExchangeError::Unknown(error.to_string()),
        })
    }
}

fn serve(caller: &Caller, store: &Arc<dyn Store>, environment: &Environment) {
    let server = StoreServer::new(Arc::clone(store), environment.clone(), ServerLimits::default());
    let answering = server.clone();
    caller.serve(Service::Storage, move |from, request| {
        let server = answering.clone();
        async move { server.answer(from.as_str(), &request).await }
    });
    let runtime = caller.runtime().clone();
    caller.runtime().spawn(async move {
        loop {
            runtime.pause(SWEEP_MS).await;
            server.sweep();
        }
    });
}
