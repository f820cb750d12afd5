//! The rows of a space, and their conversion from and to the port's nouns.

use std::collections::BTreeMap;

use half::f16;
use headwater_storage::{StoreError, codec};
use headwater_vectors::quantise::{Calibration, Stored};
use headwater_vectors::{Metric, NumberFormat, Record, RecordId, Space, Value};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const SPACE_ROW: u8 = 1;
const RECORD_ROW: u8 = 1;
const LOG_ROW: u8 = 1;
const ENDS_ROW: u8 = 1;

/// Bytes in one piece, which serde would else write one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(BytesVisitor)
    }
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes(bytes.to_vec()))
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(Bytes(bytes))
    }
}

/// What the store knows of a space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) space: Space,
    /// Drawn at its creation, so that a space dropped and created again is told from the old one.
    pub(crate) incarnation: u64,
    /// Whether its calibration is there; only ever of an i8 space.
    pub(crate) is_calibrated: bool,
}

#[derive(Serialize, Deserialize)]
struct SpaceRow {
    incarnation: u64,
    model: String,
    version: String,
    dimensions: u32,
    is_dot: bool,
    format: String,
    is_calibrated: bool,
}

impl Known {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, StoreError> {
        let Known { space, incarnation, is_calibrated } = self;
        let row = SpaceRow {
            incarnation: *incarnation,
            model: space.model.clone(),
            version: space.version.clone(),
            dimensions: u32::try_from(space.dimensions).unwrap_or(u32::MAX),
            is_dot: space.metric == Metric::Dot,
            format: space.format.name().to_owned(),
            is_calibrated: *is_calibrated,
        };
        codec::encode(SPACE_ROW, &row)
    }

    pub(crate) fn decode(name: &str, bytes: &[u8]) -> Result<Self, StoreError> {
        let row: SpaceRow = codec::decode(SPACE_ROW, bytes)?;
        let format = NumberFormat::named(&row.format).ok_or_else(|| {
            StoreError::Corrupt(format!("space '{name}' has the unknown format '{}'", row.format))
        })?;
        let space = Space {
            name: name.to_owned(),
            model: row.model,
            version: row.version,
            dimensions: row.dimensions as usize,
            metric: if row.is_dot { Metric::Dot } else { Metric::Cosine },
            format,
        };
        Ok(Known { space, incarnation: row.incarnation, is_calibrated: row.is_calibrated })
    }
}

/// A record without its id, the vector as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept {
    /// `None` when it is the space's, as it nearly always is.
    pub(crate) model: Option<Box<str>>,
    pub(crate) source: Box<str>,
    pub(crate) fields: BTreeMap<String, Value>,
    pub(crate) vector: Stored,
}

#[derive(Serialize, Deserialize)]
struct RecordRow {
    model: Option<String>,
    source: String,
    fields: Vec<(String, ValueRow)>,
    vector: VectorRow,
}

#[derive(Serialize, Deserialize)]
enum ValueRow {
    Bool(bool),
    Number(f64),
    Text(String),
}

/// Numbers are little-endian.
#[derive(Serialize, Deserialize)]
enum VectorRow {
    F32(Bytes),
    F16(Bytes),
    I8(Bytes),
    Binary(Bytes),
}

impl Kept {
    pub(crate) fn of(record: Record, space: &Space, vector: Stored) -> Self {
        let model = (record.model != space.model).then(|| record.model.into_boxed_str());
        Kept { model, source: record.source.into_boxed_str(), fields: record.fields, vector }
    }

    /// The record as the port tells it.
    pub(crate) fn into_record(
        self,
        id: RecordId,
        space: &Space,
        calibration: Option<&Calibration>,
    ) -> Result<Record, StoreError> {
        let vector = self.vector.components(space.dimensions, calibration).map_err(damaged)?;
        let model = self.model.map_or_else(|| space.model.clone(), String::from);
        let (source, fields) = (self.source.into(), self.fields);
        Ok(Record { id, vector, model, version: space.version.clone(), source, fields })
    }

    /// The vector in the space's own format, once there is a calibration for an i8 one.
    pub(crate) fn calibrate(&mut self, calibration: &Calibration) {
        if let Stored::F32(components) = &self.vector {
            self.vector = Stored::I8(calibration.encode(components));
        }
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, StoreError> {
        let fields = self.fields.iter().map(|(name, value)| {
            let value = match value {
                Value::Bool(value) => ValueRow::Bool(*value),
                Value::Number(value) => ValueRow::Number(*value),
                Value::Text(value) => ValueRow::Text(value.clone()),
            };
            (name.clone(), value)
        });
        let row = RecordRow {
            model: self.model.as_deref().map(str::to_owned),
            source: self.source.to_string(),
            fields: fields.collect(),
            vector: vector_row(&self.vector),
        };
        codec::encode(RECORD_ROW, &row)
    }

    pub(crate) fn decode(space: &Space, bytes: &[u8]) -> Result<Self, StoreError> {
        let row: RecordRow = codec::decode(RECORD_ROW, bytes)?;
        let fields = row.fields.into_iter().map(|(name, value)| {
            let value = match value {
                ValueRow::Bool(value) => Value::Bool(value),
                ValueRow::Number(value) => Value::Number(value),
                ValueRow::Text(value) => Value::Text(value),
            };
            (name, value)
        });
        Ok(Kept {
            model: row.model.map(String::into_boxed_str),
            source: row.source.into_boxed_str(),
            fields: fields.collect(),
            vector: stored(row.vector, space)?,
        })
    }
}

fn vector_row(vector: &Stored) -> VectorRow {
    match vector {
        Stored::F32(numbers) => VectorRow::F32(floats(numbers)),
        Stored::F16(numbers) => {
            VectorRow::F16(Bytes(numbers.iter().flat_map(|number| number.to_le_bytes()).collect()))
        }
        Stored::I8(codes) => {
            VectorRow::I8(Bytes(codes.iter().map(|code| code.cast_unsigned()).collect()))
        }
        Stored::Binary(bits) => VectorRow::Binary(Bytes(bits.clone())),
    }
}

fn stored(row: VectorRow, space: &Space) -> Result<Stored, StoreError> {
    let (format, Bytes(bytes)) = match &row {
        VectorRow::F32(bytes) => (NumberFormat::F32, bytes),
        VectorRow::F16(bytes) => (NumberFormat::F16, bytes),
        VectorRow::I8(bytes) => (NumberFormat::I8, bytes),
        VectorRow::Binary(bytes) => (NumberFormat::Binary, bytes),
    };
    // A vector kept before the calibration is an f32 one.
    let is_early = format == NumberFormat::F32 && space.format == NumberFormat::I8;
    if (format != space.format && !is_early) || bytes.len() != format.bytes(space.dimensions) {
        return Err(damaged(format!(
            "a vector of {} bytes in {} cannot stand in space '{}'",
            bytes.len(),
            format.name(),
            space.name
        )));
    }
    Ok(match format {
        NumberFormat::F32 => Stored::F32(numbers(bytes)),
        NumberFormat::F16 => {
            let pairs = bytes.as_chunks::<2>().0.iter();
            Stored::F16(pairs.map(|pair| f16::from_le_bytes(*pair)).collect())
        }
        NumberFormat::I8 => Stored::I8(bytes.iter().map(|byte| byte.cast_signed()).collect()),
        NumberFormat::Binary => Stored::Binary(bytes.clone()),
    })
}

fn floats(numbers: &[f32]) -> Bytes {
    Bytes(numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
}

fn numbers(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn damaged(what: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(what.to_string())
}

/// One side of a calibration.
pub(crate) fn encode_ends(ends: &[f32]) -> Result<Vec<u8>, StoreError> {
    codec::encode(ENDS_ROW, &floats(ends))
}

pub(crate) fn decode_ends(bytes: &[u8]) -> Result<Vec<f32>, StoreError> {
    let Bytes(bytes) = codec::decode(ENDS_ROW, bytes)?;
    Ok(numbers(&bytes))
}

/// What a commit changed, by id: written or removed.
pub(crate) fn encode_log(ids: &[RecordId]) -> Result<Vec<u8>, StoreError> {
    codec::encode(LOG_ROW, &Bytes(ids.iter().flat_map(|id| id.0).collect()))
}

pub(crate) fn decode_log(bytes: &[u8]) -> Result<Vec<RecordId>, StoreError> {
    let Bytes(bytes) = codec::decode(LOG_ROW, bytes)?;
    let (ids, rest) = bytes.as_chunks::<32>();
    if rest.is_empty() {
        return Ok(ids.iter().map(|id| RecordId(*id)).collect());
    }
    Err(damaged(format!("a row of the vectors' log ends in {} odd bytes", rest.len())))
}
