//! Searching one version of a collection, and only that one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headwater_embedding::{Policy, Role};
use headwater_storage::{RangeRead, ReadMode, StoreError, Transaction};
use headwater_vectors::{Filter, Hit, SearchQuery, SinkError, Value};

use super::background::Chore;
use super::chunks::{Label, labels};
use super::handle::{Collections, read_collection};
use super::keys::{chunk_key, member_key, source_place, sources_of};
use super::nouns::{ChunkId, Collection, CollectionError, CollectionId, Target};
use super::records::{ChunkRow, MemberRow, Place, decode};
use super::vectors::PAGE_CHUNKS;
use crate::embedding::{Pool, Purpose};
use crate::mutants::{Mutant, planted};

type Outcome<T> = Result<T, CollectionError>;

/// Most hits of one search.
const LIMIT: usize = 1_000;
/// So many more than asked for are looked up, in place of those whose chunks are gone.
const SPARE: usize = 8;
/// Most documents named with a hit.
const DOCUMENTS: usize = 16;

/// What to search for, once the query is a vector.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchFor {
    /// A vector of the target's version.
    pub vector: Vec<f32>,
    /// Most hits, 1 to 1,000.
    pub limit: usize,
    pub filter: Option<Filter>,
    /// Hits below this score are left out.
    pub min_score: Option<f32>,
    /// Whether to read the chunks' texts.
    pub texts: bool,
}

/// One chunk that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundHit {
    pub chunk: ChunkId,
    /// By the collection's metric: the higher, the nearer.
    pub score: f32,
    /// The documents that have it, at most 16; the one that its fields are of comes first.
    pub documents: Vec<String>,
    /// Its place among the chunks of the first document, and the bytes that it covers there.
    pub ordinal: u32,
    pub range: std::ops::Range<u64>,
    pub fields: BTreeMap<String, Value>,
    pub text: Option<String>,
    pub model: String,
    pub version: String,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub model: String,
    pub version: String,
    /// The nearest first.
    pub hits: Vec<FoundHit>,
}

/// What the store knows of a hit's chunk.
struct Known {
    label: Label,
    place: Place,
    range: std::ops::Range<u64>,
    documents: Vec<String>,
}

impl Collections {
    /// The version that a search is to use: the serving one, or the live one that the caller
    /// names. Vectors of the answer and of the query must both be of this version.
    ///
    /// # Errors
    /// [`CollectionError::OtherVersion`], [`CollectionError::StillBuilding`],
    /// [`CollectionError::NoCollection`] and the store's.
    pub async fn search_target(
        &self,
        tenant: &str,
        collection: &str,
        asked: Option<&str>,
    ) -> Outcome<Target> {
        let chosen = match self.get(tenant, collection).await {
            Ok(collection) => choose(&collection, asked),
            Err(error) => Err(error),
        };
        chosen.inspect_err(|error| self.metrics().refused(error))
    }

    /// Embeds a query with exactly the target's version, within the query pool.
    ///
    /// # Errors
    /// [`CollectionError::NotServed`] and [`CollectionError::Embed`].
    pub async fn embed_query(&self, target: &Target, text: &str) -> Outcome<Vec<f32>> {
        let version = match planted(Mutant::QueryOfNewModel) {
            true => {
                let collection = self.get(&target.tenant, &target.collection).await?;
                let build = collection.versions.building;
                build.map_or_else(|| target.version.clone(), |build| build.version.fingerprint)
            }
            false => target.version.clone(),
        };
        self.check_served(target)?;
        let texts = vec![text.to_owned()];
        let call = self.embedder().embed(&version, texts, Purpose::Query, Pool::Query);
        let vectors = call.await.map_err(|error| {
            let version = target.version.clone();
            self.note_refusal(CollectionError::Embed { version, error })
        })?;
        Ok(vectors.into_iter().next().unwrap_or_default())
    }

    /// Whether any node can embed for this target.
    ///
    /// # Errors
    /// [`CollectionError::NotServed`], which says what to do.
    pub fn check_served(&self, target: &Target) -> Outcome<()> {
        self.served(target).map_err(|error| self.note_refusal(error))
    }

    fn note_refusal(&self, error: CollectionError) -> CollectionError {
        self.metrics().refused(&error);
        error
    }

    /// Searches the target's space with a vector of its version. A search that began before a
    /// switch ends on the version it began with.
    ///
    /// # Errors
    /// [`CollectionError::NotLive`] when that version was given up meanwhile;
    /// [`CollectionError::Invalid`], the store's and the sink's.
    pub async fn search(&self, target: &Target, wanted: SearchFor) -> Outcome<Found> {
        match self.search_in(target, wanted).await {
            Ok(found) => {
                self.metrics().search("found");
                Ok(found)
            }
            Err(error) => Err(self.note_refusal(error)),
        }
    }

    async fn search_in(&self, target: &Target, wanted: SearchFor) -> Outcome<Found> {
        check_limit(wanted.limit)?;
        check_vector(target, &wanted.vector)?;
        let SearchFor { vector, limit, filter, min_score, texts } = wanted;
        let query = SearchQuery {
            vector,
            version: target.version.clone(),
            limit: limit + SPARE,
            filter: filter.clone(),
        };
        let mut hits = match self.sink().search(&target.space.name, &query).await {
            // Nobody has written into it yet, unless the version was given up.
            Err(SinkError::Space(_)) => Vec::new(),
            hits => hits?,
        };
        let found = hits.len();
        hits.retain(|hit| hit.record.version == target.version);
        (hits.len()..found).for_each(|_| self.metrics().mixed());
        let ids: Vec<ChunkId> = hits.iter().map(|hit| hit.record.id.into()).collect();
        // Also tells whether the target is still live: a space that is gone has no hits.
        let (collection, known) = self.known(target, &ids).await?;
        let mut stale: Vec<ChunkId> =
            ids.iter().filter(|chunk| !known.contains_key(chunk)).copied().collect();
        self.metrics().gone(stale.len());
        stale.extend(hits.iter().filter(|hit| mislabelled(hit, &known)).map(chunk_of));
        self.leave(Chore::Mend, target, stale);
        let passes = |hit: &Hit, known: &Known| {
            let Label { source, fields } = &known.label;
            min_score.is_none_or(|least| hit.score >= least)
                && filter.as_ref().is_none_or(|filter| filter.passes(source, fields))
        };
        let mut kept = Vec::new();
        let mut known = known;
        for hit in hits {
            let chunk = chunk_of(&hit);
            if let Some(known) = known.remove(&chunk)
                && passes(&hit, &known)
                && kept.len() < limit
            {
                kept.push(found_hit(target, &hit, known));
            }
        }
        self.embed_on_read(target, &collection, &kept);
        if texts {
            self.add_texts(target.id, &mut kept).await?;
        }
        Ok(Found { model: target.model.clone(), version: target.version.clone(), hits: kept })
    }

    /// What the store knows of the hits' chunks, and the collection as it stands.
    async fn known(
        &self,
        target: &Target,
        chunks: &[ChunkId],
    ) -> Outcome<(Collection, BTreeMap<ChunkId, Known>)> {
        let (mut all, mut collection) = (BTreeMap::new(), None);
        let mut pages = chunks.chunks(PAGE_CHUNKS);
        let mut page = pages.next().unwrap_or_default();
        loop {
            let ids: Arc<[ChunkId]> = page.into();
            let found = self.retry().read(|transaction| {
                let (target, ids) = (target.clone(), Arc::clone(&ids));
                Box::pin(async move {
                    let Target { tenant, collection, id, .. } = &target;
                    let mode = ReadMode::Snapshot;
                    let found = read_collection(transaction, tenant, collection, mode).await?;
                    Ok((found, known_of(transaction, *id, &ids).await?))
                })
            });
            let (found, known) = found.await?;
            all.extend(known);
            collection = collection.or(found);
            match pages.next() {
                Some(next) => page = next,
                None => break,
            }
        }
        let live =
            |found: &Collection| found.id == target.id && found.versions.has(target.generation);
        let given_up = || CollectionError::NotLive {
            collection: target.collection.clone(),
            version: target.version.clone(),
        };
        Ok((collection.filter(live).ok_or_else(given_up)?, all))
    }

    async fn add_texts(&self, id: CollectionId, hits: &mut [FoundHit]) -> Outcome<()> {
        let ids: Vec<ChunkId> = hits.iter().map(|hit| hit.chunk).collect();
        let mut texts = self.texts(id, &ids).await?;
        for hit in hits {
            hit.text = texts.remove(&hit.chunk);
        }
        Ok(())
    }

    /// What a search finds in the serving version, a lazy build embeds.
    fn embed_on_read(&self, target: &Target, collection: &Collection, hits: &[FoundHit]) {
        let serves = collection.versions.serving.generation == target.generation;
        let build = collection.versions.building.as_ref().filter(|_| serves);
        if let Some(build) = build.filter(|build| build.policy == Policy::Lazy && !build.paused) {
            let building = collection.target(Role::Building, &build.version);
            self.leave(Chore::Embed, &building, hits.iter().map(|hit| hit.chunk).collect());
        }
    }
}

fn choose(collection: &Collection, asked: Option<&str>) -> Outcome<Target> {
    let versions = &collection.versions;
    let Some(asked) = asked else {
        return Ok(collection.target(Role::Serving, &versions.serving));
    };
    let (name, serving) = (collection.name.clone(), versions.serving.fingerprint.clone());
    match versions.find(asked) {
        Some((role @ (Role::Serving | Role::Previous), version)) => {
            Ok(collection.target(role, version))
        }
        Some((Role::Building, _)) => Err(CollectionError::StillBuilding {
            collection: name,
            asked: asked.to_owned(),
            serving,
        }),
        None => Err(CollectionError::OtherVersion {
            collection: name,
            asked: asked.to_owned(),
            serving,
        }),
    }
}

/// Whether a search may ask for so many hits.
///
/// # Errors
/// [`CollectionError::Invalid`].
pub fn check_limit(limit: usize) -> Outcome<()> {
    if (1..=LIMIT).contains(&limit) {
        return Ok(());
    }
    let problem = format!("it is {limit}; 1 to {LIMIT} are allowed");
    Err(CollectionError::Invalid { field: "limit", problem })
}

/// Whether a vector may be searched for in the target.
///
/// # Errors
/// [`CollectionError::Invalid`].
pub fn check_vector(target: &Target, vector: &[f32]) -> Outcome<()> {
    let invalid = |field, problem| Err(CollectionError::Invalid { field, problem });
    let (given, expected) = (vector.len(), target.space.dimensions);
    if given != expected {
        let problem =
            format!("it has {given} components; version '{}' has {expected}", target.version);
        return invalid("vector", problem);
    }
    if !vector.iter().all(|component| component.is_finite()) {
        return invalid("vector", "all components must be finite numbers".to_owned());
    }
    Ok(())
}

fn chunk_of(hit: &Hit) -> ChunkId {
    hit.record.id.into()
}

/// Whether a hit's record says another document or other fields than the store.
fn mislabelled(hit: &Hit, known: &BTreeMap<ChunkId, Known>) -> bool {
    known.get(&chunk_of(hit)).is_some_and(|known| {
        known.label.source != hit.record.source || known.label.fields != hit.record.fields
    })
}

fn found_hit(target: &Target, hit: &Hit, known: Known) -> FoundHit {
    FoundHit {
        chunk: chunk_of(hit),
        score: hit.score,
        documents: known.documents,
        ordinal: known.place.ordinal,
        range: known.range,
        fields: known.label.fields,
        text: None,
        model: target.model.clone(),
        version: hit.record.version.clone(),
    }
}

async fn known_of(
    transaction: &mut dyn Transaction,
    id: CollectionId,
    chunks: &[ChunkId],
) -> Result<BTreeMap<ChunkId, Known>, StoreError> {
    let mut all = BTreeMap::new();
    for (chunk, label) in labels(transaction, id, chunks).await? {
        let row = transaction.get(&chunk_key(id, chunk), ReadMode::Snapshot).await?;
        let Some(row) = row else { continue };
        let ChunkRow { document, ordinal, .. } = decode(&row)?;
        let member = member_key(id, &document, ordinal);
        let member = transaction.get(&member, ReadMode::Snapshot).await?;
        let member: Option<MemberRow> = member.as_deref().map(decode).transpose()?;
        let range = member.map_or(0..0, |member| member.start..member.end);
        let sources = RangeRead::all(sources_of(id, chunk)).limit(DOCUMENTS).snapshot();
        let sources = transaction.range(sources).await?;
        let mut documents = vec![document.clone()];
        let mut named = BTreeSet::from([document.clone()]);
        for (key, _) in sources {
            let source = source_place(&key)?.document;
            if named.insert(source.clone()) {
                documents.push(source);
            }
        }
        documents.truncate(DOCUMENTS);
        let place = Place { document, ordinal };
        all.insert(chunk, Known { label, place, range, documents });
    }
    Ok(all)
}
