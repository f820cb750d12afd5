//! Collections, versions and documents as JSON.

use std::collections::BTreeMap;

use headwater_actors::collection::{
    ChunkPlace, Collection, DocumentInfo, Metric, Progress, Role, Value as Field, Version,
};
use serde_json::{Value, json};

fn metric(metric: Metric) -> &'static str {
    match metric {
        Metric::Cosine => "cosine",
        Metric::Dot => "dot",
    }
}

/// A field of a document.
pub(crate) fn value(field: &Field) -> Value {
    match field {
        Field::Bool(value) => json!(value),
        Field::Number(value) => json!(value),
        Field::Text(value) => json!(value),
    }
}

pub(super) fn describe(collection: &Collection) -> Value {
    let chunking = &collection.settings.chunking;
    json!({
        "object": "collection",
        "name": collection.name,
        "created": collection.created_ms / 1000,
        "model": collection.versions.serving.model,
        "model_version": collection.versions.serving.fingerprint,
        "dimensions": collection.versions.serving.dimensions,
        "format": collection.settings.format.name(),
        "metric": metric(collection.settings.metric),
        "chunking": {
            "tokens": chunking.tokens,
            "overlap_percent": chunking.overlap_percent,
            "boundary": chunking.boundary,
        },
    })
}

fn describe_version(collection: &Collection, role: Role, version: &Version, served: bool) -> Value {
    json!({
        "model_version": version.fingerprint,
        "model": version.model,
        "state": role.name(),
        "dimensions": version.dimensions,
        "format": version.format,
        // Where the sink keeps it.
        "space": collection.space(version).name,
        // Whether any node can embed for it now.
        "served": served,
    })
}

fn describe_progress(progress: &Progress) -> Value {
    json!({
        "phase": progress.phase.name(),
        "done_chunks": progress.done,
        "total_chunks": progress.total,
        "chunks_per_s": progress.chunks_per_s,
        "remaining_s": progress.remaining_s,
        "problem": progress.problem,
    })
}

/// Every live version; `served` tells whether any node serves one of this fingerprint.
pub(super) fn describe_versions(
    collection: &Collection,
    progress: Option<&Progress>,
    served: impl Fn(&str) -> bool,
) -> Value {
    let versions = &collection.versions;
    let describe = |(role, version): (Role, &Version)| {
        let mut told = describe_version(collection, role, version, served(&version.fingerprint));
        if let (Role::Building, Some(build)) = (role, &versions.building) {
            told["policy"] = json!(build.policy.name());
            told["paused"] = json!(build.paused);
            told["sweeping"] = json!(build.sweeping);
            told["progress"] = progress.map_or(Value::Null, describe_progress);
        }
        told
    };
    let data: Vec<Value> = versions.live().map(describe).collect();
    json!({"object": "list", "collection": collection.name, "data": data})
}

pub(super) fn describe_document(document: &DocumentInfo, places: &[ChunkPlace]) -> Value {
    let fields: BTreeMap<&String, Value> =
        document.fields.iter().map(|(name, field)| (name, value(field))).collect();
    json!({
        "object": "document",
        "id": document.id,
        "chunks": document.chunks,
        "complete": document.complete,
        "updated": document.updated_ms / 1000,
        "fields": fields,
        "places": places.iter().map(place).collect::<Vec<_>>(),
    })
}

fn place(place: &ChunkPlace) -> Value {
    json!({
        "ordinal": place.ordinal,
        "chunk": place.chunk.hex(),
        "start": place.range.start,
        "end": place.range.end,
    })
}
