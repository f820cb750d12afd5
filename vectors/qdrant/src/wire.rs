//! The shapes of Qdrant's API, and their conversion from and to the port's nouns.

use std::collections::BTreeMap;
use std::fmt::Write;

use headwater_vectors::products::dot;
use headwater_vectors::{Metric, NumberFormat, Record, RecordId, SinkError, Space, Value};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

/// The share of values that a scalar quantisation leaves out at the ends.
const QUANTILE: f64 = 0.99;

#[derive(Deserialize)]
pub(crate) struct CollectionInfo {
    config: CollectionConfig,
}

#[derive(Deserialize)]
struct CollectionConfig {
    params: CollectionParams,
    #[serde(default)]
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct CollectionParams {
    vectors: VectorParams,
}

#[derive(Deserialize)]
struct VectorParams {
    size: usize,
    distance: String,
}

#[derive(Deserialize)]
struct Metadata {
    headwater: Option<SpaceMetadata>,
}

#[derive(Deserialize)]
struct SpaceMetadata {
    model: String,
    version: String,
    format: String,
}

/// The body that creates a space's collection.
pub(crate) fn creation(space: &Space) -> Json {
    let distance = match space.metric {
        Metric::Cosine => "Cosine",
        Metric::Dot => "Dot",
    };
    let datatype = if space.format == NumberFormat::F16 { "float16" } else { "float32" };
    let (model, version, format) = (&space.model, &space.version, space.format.name());
    let mut body = json!({
        "vectors": { "size": space.dimensions, "distance": distance, "datatype": datatype },
        "metadata": { "headwater": { "model": model, "version": version, "format": format } },
    });
    match space.format {
        NumberFormat::I8 => {
            body["quantization_config"] =
                json!({ "scalar": { "type": "int8", "quantile": QUANTILE, "always_ram": true } });
        }
        NumberFormat::Binary => {
            body["quantization_config"] = json!({ "binary": { "always_ram": true } });
        }
        NumberFormat::F32 | NumberFormat::F16 => {}
    }
    body
}

impl CollectionInfo {
    /// The space that the collection was created for.
    pub(crate) fn into_space(self, name: &str) -> Result<Space, SinkError> {
        let CollectionConfig { params, metadata } = self.config;
        let metadata = metadata.and_then(|metadata| metadata.headwater).ok_or_else(|| {
            SinkError::Space(format!(
                "the collection of space '{name}' was not made by headwater, or by a Qdrant before \
                 1.16, which keeps no metadata; drop it, or choose another collection prefix"
            ))
        })?;
        let strange = |what: &str| {
            SinkError::Space(format!("the collection of space '{name}' has {what}; drop it first"))
        };
        let metric = match params.vectors.distance.as_str() {
            "Cosine" => Metric::Cosine,
            "Dot" => Metric::Dot,
            _ => return Err(strange("another distance than Cosine and Dot")),
        };
        let format = NumberFormat::named(&metadata.format);
        Ok(Space {
            name: name.to_owned(),
            model: metadata.model,
            version: metadata.version,
            dimensions: params.vectors.size,
            metric,
            format: format.ok_or_else(|| strange("an unknown number format"))?,
        })
    }
}

/// The point's id: the first 16 bytes of the record's, as a UUID.
pub(crate) fn point_id(id: &RecordId) -> String {
    let mut text = String::with_capacity(36);
    for (place, byte) in id.0[..16].iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn hex(id: &RecordId) -> String {
    id.0.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<RecordId> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut id = [0; 32];
    for (byte, pair) in id.iter_mut().zip(digits.as_chunks::<2>().0) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(RecordId(id))
}

/// A record as a point.
pub(crate) fn point(record: &Record) -> Json {
    let fields: Map<String, Json> = record
        .fields
        .iter()
        .map(|(name, value)| {
            let value = match value {
                Value::Bool(value) => json!(value),
                Value::Number(value) => json!(value),
                Value::Text(value) => json!(value),
            };
            (name.clone(), value)
        })
        .collect();
    json!({
        "id": point_id(&record.id),
        "vector": record.vector,
        "payload": {
            "chunk_sha256": hex(&record.id),
            "model": record.model,
            "version": record.version,
            "source": record.source,
            "fields": fields,
            "length": dot(&record.vector, &record.vector).sqrt(),
        },
    })
}

#[derive(Deserialize)]
pub(crate) struct Point {
    #[serde(default)]
    pub(crate) score: f32,
    payload: Payload,
    vector: Vec<f32>,
}

#[derive(Deserialize)]
struct Payload {
    chunk_sha256: String,
    model: String,
    version: String,
    source: String,
    fields: BTreeMap<String, FieldValue>,
    length: f32,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum FieldValue {
    Bool(bool),
    Number(f64),
    Text(String),
}

impl Point {
    pub(crate) fn into_record(self, metric: Metric) -> Result<Record, SinkError> {
        let Payload { chunk_sha256, model, version, source, fields, length } = self.payload;
        let id = unhex(&chunk_sha256).ok_or_else(|| {
            SinkError::Unavailable(
                "a point's chunk_sha256 is no SHA-256; write it again".to_owned(),
            )
        })?;
        let fields = fields.into_iter().map(|(name, value)| {
            let value = match value {
                FieldValue::Bool(value) => Value::Bool(value),
                FieldValue::Number(value) => Value::Number(value),
                FieldValue::Text(value) => Value::Text(value),
            };
            (name, value)
        });
        let mut vector = self.vector;
        if metric == Metric::Cosine {
            vector.iter_mut().for_each(|component| *component *= length);
        }
        Ok(Record { id, vector, model, version, source, fields: fields.collect() })
    }
}

#[derive(Deserialize)]
pub(crate) struct Points {
    pub(crate) points: Vec<Point>,
}

#[derive(Deserialize)]
pub(crate) struct Page {
    pub(crate) points: Vec<Point>,
    pub(crate) next_page_offset: Option<Json>,
}

#[derive(Deserialize)]
pub(crate) struct Count {
    pub(crate) count: u64,
}
