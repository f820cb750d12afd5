//! The way into the collections: create, look up, delete, and what to write vectors into.

use std::sync::Arc;

use headwater_embedding::{ChunkSettings, NewVersion, Split, Versions};
use headwater_models::{ModelCard, Task};
use headwater_storage::retry::Retry;
use headwater_storage::{KeyRange, RangeRead, ReadMode, StoreError, Transaction};
use headwater_vectors::{Sink, Space};

use super::background::Background;
use super::keys::{data_of, doomed_key, record_key, record_name, records_of, todo_key};
use super::metrics::CollectionMetrics;
use super::nouns::{
    Chunking, Collection, CollectionError, CollectionId, CollectionSettings, Target,
};
use super::records::{collection_of_row, encode, encode_collection};
use crate::embedding::Embedder;
use crate::runtime::Runtime;

/// Longest name of a collection, in bytes.
const NAME_BYTES: usize = 128;
/// How long a dropped space is dropped again, should somebody create it who has not heard.
pub(super) const DOOMED_MS: u64 = 10 * 60 * 1000;

/// All collections of all tenants; cheap to clone.
#[derive(Clone)]
pub struct Collections {
    shared: Arc<Shared>,
}

struct Shared {
    runtime: Runtime,
    retry: Retry,
    sink: Arc<dyn Sink>,
    embedder: Arc<dyn Embedder>,
    metrics: CollectionMetrics,
    background: Background,
}

impl Collections {
    /// `retry` should end within the patience of whoever calls.
    pub fn new(
        runtime: Runtime,
        retry: Retry,
        sink: Arc<dyn Sink>,
        embedder: Arc<dyn Embedder>,
    ) -> Collections {
        Collections::observed(runtime, retry, sink, embedder, CollectionMetrics::default())
    }

    /// As [`Collections::new`], with metrics that somebody reads.
    pub fn observed(
        runtime: Runtime,
        retry: Retry,
        sink: Arc<dyn Sink>,
        embedder: Arc<dyn Embedder>,
        metrics: CollectionMetrics,
    ) -> Collections {
        let background = Background::default();
        let shared = Shared { runtime, retry, sink, embedder, metrics, background };
        Collections { shared: Arc::new(shared) }
    }

    pub fn metrics(&self) -> &CollectionMetrics {
        &self.shared.metrics
    }

    pub(super) fn background(&self) -> &Background {
        &self.shared.background
    }

    pub fn runtime(&self) -> &Runtime {
        &self.shared.runtime
    }

    pub fn retry(&self) -> &Retry {
        &self.shared.retry
    }

    pub fn sink(&self) -> &dyn Sink {
        &*self.shared.sink
    }

    pub fn embedder(&self) -> &dyn Embedder {
        &*self.shared.embedder
    }

    /// Creates a collection that serves with this model from the start.
    ///
    /// # Errors
    /// [`CollectionError::Exists`], [`CollectionError::NoModel`], [`CollectionError::Invalid`];
    /// the store's and the sink's.
    pub async fn create(
        &self,
        tenant: &str,
        name: &str,
        model: &str,
        settings: CollectionSettings,
    ) -> Result<Collection, CollectionError> {
        checked_collection(name)?;
        checked_settings(&settings)?;
        let version = self.new_version(model, settings.format.name())?;
        let collection = Collection {
            tenant: tenant.to_owned(),
            name: name.to_owned(),
            id: CollectionId(self.runtime().draw()),
            created_ms: self.runtime().wall_ms(),
            settings,
            versions: Versions::first(version),
        };
        let created = self.retry().write_idempotent(|transaction| {
            let collection = collection.clone();
            Box::pin(async move {
                let Collection { tenant, name, id, .. } = &collection;
                let mode = ReadMode::Serializable;
                match read_collection(transaction, tenant, name, mode).await? {
                    // An earlier try whose result was not known.
                    Some(known) if known.id == *id => return Ok(true),
                    Some(_) => return Ok(false),
                    None => {}
                }
                let row = encode_collection(&collection)?;
                transaction.set(&record_key(tenant, name), &row)?;
                Ok(true)
            })
        });
        if !created.await? {
            return Err(CollectionError::Exists { name: name.to_owned() });
        }
        // Should this fail, the first vector written creates it.
        let _ = self.sink().create(&collection.space(&collection.versions.serving)).await;
        Ok(collection)
    }

    /// # Errors
    /// [`CollectionError::NoCollection`] and the store's.
    pub async fn get(&self, tenant: &str, name: &str) -> Result<Collection, CollectionError> {
        let found = self.retry().read(|transaction| {
            let (tenant, name) = (tenant.to_owned(), name.to_owned());
            Box::pin(async move {
                read_collection(transaction, &tenant, &name, ReadMode::Snapshot).await
            })
        });
        found.await?.ok_or_else(|| CollectionError::NoCollection { name: name.to_owned() })
    }

    /// At most `limit` collections of a tenant by name, those behind `after` first.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(
        &self,
        tenant: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Collection>, CollectionError> {
        let mut range = records_of(tenant);
        if let Some(after) = after {
            range.begin = KeyRange::of_key(&record_key(tenant, after)).end;
        }
        self.read_records(range, limit).await
    }

    pub(super) async fn read_records(
        &self,
        range: KeyRange,
        limit: usize,
    ) -> Result<Vec<Collection>, CollectionError> {
        let read = RangeRead::all(range).limit(limit).snapshot();
        let pairs = self.retry().read(|transaction| {
            let read = read.clone();
            Box::pin(async move { transaction.range(read).await })
        });
        let mut collections = Vec::new();
        for (key, value) in pairs.await? {
            let (tenant, name) = record_name(&key)?;
            collections.push(collection_of_row(&tenant, &name, &value)?);
        }
        Ok(collections)
    }

    /// Deletes a collection with everything in it.
    ///
    /// # Errors
    /// [`CollectionError::NoCollection`] and the store's.
    pub async fn delete(&self, tenant: &str, name: &str) -> Result<(), CollectionError> {
        let id = self.get(tenant, name).await?.id;
        let until_ms = self.runtime().wall_ms() + DOOMED_MS;
        let spaces = self.retry().write_idempotent(|transaction| {
            let (tenant, name) = (tenant.to_owned(), name.to_owned());
            Box::pin(async move {
                let mode = ReadMode::Serializable;
                let collection = read_collection(transaction, &tenant, &name, mode).await?;
                let Some(collection) = collection.filter(|collection| collection.id == id) else {
                    return Ok(Vec::new());
                };
                let spaces: Vec<Space> =
                    collection.targets().into_iter().map(|target| target.space).collect();
                for space in &spaces {
                    doom(transaction, space, until_ms)?;
                }
                transaction.clear(&record_key(&tenant, &name))?;
                transaction.clear(&todo_key(&tenant, &name))?;
                transaction.clear_range(&data_of(id))?;
                Ok(spaces)
            })
        });
        for space in spaces.await? {
            // Its row stays, so a later look drops it again.
            let _ = self.sink().drop_space(&space.name).await;
        }
        Ok(())
    }

    /// The live versions to write, building first, then serving, then previous.
    ///
    /// # Errors
    /// [`CollectionError::NoCollection`] and the store's.
    pub async fn targets(
        &self,
        tenant: &str,
        collection: &str,
    ) -> Result<Vec<Target>, CollectionError> {
        Ok(self.get(tenant, collection).await?.targets())
    }

    /// The version that this model makes now.
    pub(super) fn new_version(
        &self,
        model: &str,
        format: &str,
    ) -> Result<NewVersion, CollectionError> {
        let card = self.embedder().card(model);
        let card = card.ok_or_else(|| CollectionError::NoModel { model: model.to_owned() })?;
        if card.task != Task::Embed {
            let problem = format!(
                "'{model}' is a model for {}; a collection needs one that embeds",
                card.task.name()
            );
            return Err(CollectionError::Invalid { field: "model", problem });
        }
        let ModelCard { fingerprint, name, dimensions, .. } = card;
        Ok(NewVersion { fingerprint, model: name, dimensions, format: format.to_owned() })
    }
}

/// Notes that a space is to be dropped.
pub(super) fn doom(
    transaction: &mut dyn Transaction,
    space: &Space,
    until_ms: u64,
) -> Result<(), StoreError> {
    transaction.set(&doomed_key(&space.name), &encode(&until_ms)?)
}

/// The collection as a transaction sees it.
pub(super) async fn read_collection(
    transaction: &mut dyn Transaction,
    tenant: &str,
    name: &str,
    mode: ReadMode,
) -> Result<Option<Collection>, StoreError> {
    let row = transaction.get(&record_key(tenant, name), mode).await?;
    row.map(|row| collection_of_row(tenant, name, &row)).transpose()
}

/// Refuses a name that is empty, too long or has control characters.
pub(super) fn checked_name(
    field: &'static str,
    name: &str,
    bytes: usize,
) -> Result<(), CollectionError> {
    if name.is_empty() || name.len() > bytes || name.chars().any(char::is_control) {
        let problem = format!("1 to {bytes} bytes without control characters are allowed");
        return Err(CollectionError::Invalid { field, problem });
    }
    Ok(())
}

/// A collection's name is part of addresses.
fn checked_collection(name: &str) -> Result<(), CollectionError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES || !name.bytes().all(allowed) {
        let problem = format!("1 to {NAME_BYTES} letters, digits, '-', '_' and '.' are allowed");
        return Err(CollectionError::Invalid { field: "name", problem });
    }
    Ok(())
}

fn checked_settings(settings: &CollectionSettings) -> Result<(), CollectionError> {
    let invalid = |problem: &str| {
        Err(CollectionError::Invalid { field: "chunking", problem: problem.to_owned() })
    };
    let overlap = |chunking: &Chunking| chunking.overlap_percent as usize;
    match &settings.chunking {
        chunking if chunking.tokens == 0 || chunking.tokens > 1 << 20 => {
            invalid("tokens must be 1 to 1048576")
        }
        chunking if overlap(chunking) > ChunkSettings::OVERLAP_PERCENT_MAX => {
            let most = ChunkSettings::OVERLAP_PERCENT_MAX;
            invalid(&format!("overlap_percent must be 0 to {most}"))
        }
        chunking if Split::named(&chunking.boundary).is_none() => {
            let names: Vec<&str> = Split::ALL.into_iter().map(Split::name).collect();
            invalid(&format!("boundary must be one of {}", names.join(", ")))
        }
        _ => Ok(()),
    }
}
