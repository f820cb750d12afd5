//! Reading a GGUF file: its metadata and its tensors, each look bounded by the file's end.
//!
//! The layout is that of the specification in ggml's `docs/gguf.md`, versions 2 and 3, numbers
//! little-endian.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::LoadError;

mod bytes;
mod value;

use bytes::Bytes;
pub(crate) use value::Value;

const MAGIC: &[u8] = b"GGUF";

/// Where a tensor's numbers begin must be a multiple of this, unless the file names another.
const ALIGNMENT: u64 = 32;

/// Most axes of a tensor.
const AXES: u32 = 4;

/// How the numbers of a tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    F32,
    F16,
    Q4_0,
    Q4_1,
    Q8_0,
}

impl Kind {
    fn of(code: u32) -> Option<Kind> {
        match code {
            0 => Some(Kind::F32),
            1 => Some(Kind::F16),
            2 => Some(Kind::Q4_0),
            3 => Some(Kind::Q4_1),
            8 => Some(Kind::Q8_0),
            _ => None,
        }
    }

    /// Numbers of one block, and its bytes.
    pub(crate) fn block(self) -> (usize, usize) {
        match self {
            Kind::F32 => (1, 4),
            Kind::F16 => (1, 2),
            Kind::Q4_0 => (32, 18),
            Kind::Q4_1 => (32, 20),
            Kind::Q8_0 => (32, 34),
        }
    }
}

/// The name that ggml gives to a kind this reader does not know.
fn kind_name(code: u32) -> String {
    let known = match code {
        6 => "Q5_0",
        7 => "Q5_1",
        10 => "Q2_K",
        11 => "Q3_K",
        12 => "Q4_K",
        13 => "Q5_K",
        14 => "Q6_K",
        15 => "Q8_K",
        30 => "BF16",
        _ => return format!("kind {code}"),
    };
    known.to_owned()
}

/// One tensor as the file holds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tensor<'a> {
    pub(crate) kind: Kind,
    /// Numbers of one row, and rows; a vector is one row.
    pub(crate) columns: usize,
    pub(crate) rows: usize,
    /// As many whole blocks as the shape needs.
    pub(crate) bytes: &'a [u8],
}

struct Place {
    kind: Kind,
    columns: usize,
    rows: usize,
    range: Range<usize>,
}

/// A file whose every part lies inside it.
pub(crate) struct Gguf<'a> {
    name: &'a str,
    data: &'a [u8],
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, Place>,
}

impl<'a> Gguf<'a> {
    /// `name` is the file's, for errors.
    ///
    /// # Errors
    /// [`LoadError`] naming the field that is not as it must be.
    pub(crate) fn parse(name: &'a str, data: &'a [u8]) -> Result<Self, LoadError> {
        let mut bytes = Bytes::new(name, data);
        if bytes.take("magic", MAGIC.len() as u64)? != MAGIC {
            return Err(LoadError::malformed(name, "magic", "is not GGUF; fetch the file again"));
        }
        let version = bytes.u32("version")?;
        if !(2..=3).contains(&version) {
            return Err(LoadError::unsupported(name, "version", version.to_string(), "2 or 3"));
        }
        let tensor_count = bytes.u64("tensor_count")?;
        let metadata_count = bytes.u64("metadata_kv_count")?;
        let mut metadata = BTreeMap::new();
        for _ in 0..metadata_count {
            let key = bytes.text("metadata key")?;
            let value = Value::read(&mut bytes, &key)?;
            if metadata.insert(key.clone(), value).is_some() {
                return Err(LoadError::malformed(name, &key, "stands in the file twice"));
            }
        }
        let mut gguf = Gguf { name, data, metadata, tensors: BTreeMap::new() };
        let alignment = match gguf.metadata.contains_key("general.alignment") {
            true => gguf.number("general.alignment")?,
            false => ALIGNMENT,
        };
        if !alignment.is_power_of_two() {
            let reason = format!("{alignment} is not a power of two");
            return Err(LoadError::malformed(name, "general.alignment", reason));
        }
        let mut offsets = Vec::new();
        for _ in 0..tensor_count {
            offsets.push(read_tensor(&mut bytes, name)?);
        }
        let start = (bytes.position() as u64).checked_next_multiple_of(alignment);
        for (tensor, mut place, offset) in offsets {
            place.range = start
                .and_then(|start| start.checked_add(offset))
                .and_then(|from| usize::try_from(from).ok())
                .and_then(|from| Some(from..from.checked_add(place.range.len())?))
                .filter(|range| range.end <= data.len() && offset.is_multiple_of(alignment))
                .ok_or_else(|| {
                    let reason = format!("at offset {offset} it is not inside the file");
                    LoadError::malformed(name, &tensor, reason)
                })?;
            if gguf.tensors.insert(tensor.clone(), place).is_some() {
                return Err(LoadError::malformed(name, &tensor, "stands in the file twice"));
            }
        }
        Ok(gguf)
    }

    /// The file's name.
    pub(crate) fn name(&self) -> &'a str {
        self.name
    }

    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// # Errors
    /// When the key is missing or no whole number from 0.
    pub(crate) fn number(&self, key: &str) -> Result<u64, LoadError> {
        match self.required(key)? {
            Value::Unsigned(number) => Ok(*number),
            Value::Signed(number) if *number >= 0 => Ok(number.unsigned_abs()),
            _ => Err(LoadError::malformed(self.name, key, "must be a whole number from 0")),
        }
    }

    /// # Errors
    /// When the key is missing or no finite number.
    pub(crate) fn float(&self, key: &str) -> Result<f64, LoadError> {
        match self.required(key)? {
            Value::Float(number) if number.is_finite() => Ok(*number),
            _ => Err(LoadError::malformed(self.name, key, "must be a finite number")),
        }
    }

    /// # Errors
    /// When the key is missing or no text.
    pub(crate) fn text(&self, key: &str) -> Result<&str, LoadError> {
        match self.required(key)? {
            Value::Text(text) => Ok(text),
            _ => Err(LoadError::malformed(self.name, key, "must be a text")),
        }
    }

    /// # Errors
    /// When the key is missing or no list of texts.
    pub(crate) fn texts(&self, key: &str) -> Result<&[String], LoadError> {
        match self.required(key)? {
            Value::Texts(texts) => Ok(texts),
            _ => Err(LoadError::malformed(self.name, key, "must be a list of texts")),
        }
    }

    /// # Errors
    /// When the key is missing or no list of whole numbers.
    pub(crate) fn integers(&self, key: &str) -> Result<&[i64], LoadError> {
        match self.required(key)? {
            Value::Integers(numbers) => Ok(numbers),
            _ => Err(LoadError::malformed(self.name, key, "must be a list of whole numbers")),
        }
    }

    fn required(&self, key: &str) -> Result<&Value, LoadError> {
        self.value(key).ok_or_else(|| LoadError::malformed(self.name, key, "is missing"))
    }

    /// Names of all tensors, sorted.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<Tensor<'a>> {
        let Place { kind, columns, rows, range } = self.tensors.get(name)?;
        let bytes = self.data.get(range.clone())?;
        Some(Tensor { kind: *kind, columns: *columns, rows: *rows, bytes })
    }
}

/// A tensor's name, what is known of it (the range has its length only), and its offset.
fn read_tensor(bytes: &mut Bytes<'_>, file: &str) -> Result<(String, Place, u64), LoadError> {
    let name = bytes.text("tensor name")?;
    let axes = bytes.u32(&name)?;
    if !(1..=AXES).contains(&axes) {
        let reason = format!("has {axes} axes, 1 to {AXES} are allowed");
        return Err(LoadError::malformed(file, &name, reason));
    }
    let lengths = (0..axes).map(|_| bytes.u64(&name)).collect::<Result<Vec<u64>, _>>()?;
    let code = bytes.u32(&name)?;
    let offset = bytes.u64(&name)?;
    let Some(kind) = Kind::of(code) else {
        let allowed = "F32, F16, Q4_0, Q4_1 or Q8_0; quantise the model to one of these";
        return Err(LoadError::unsupported(file, &name, kind_name(code), allowed));
    };
    let (numbers, size) = kind.block();
    let product = |lengths: &[u64]| {
        let whole = lengths.iter().try_fold(1u64, |product, length| product.checked_mul(*length));
        whole.and_then(|whole| usize::try_from(whole).ok())
    };
    let place = product(&lengths[..1]).zip(product(&lengths[1..])).and_then(|(columns, rows)| {
        let blocks = columns.is_multiple_of(numbers).then_some(columns / numbers)?;
        let length = blocks.checked_mul(rows)?.checked_mul(size)?;
        (length > 0).then_some(Place { kind, columns, rows, range: 0..length })
    });
    let place = place.ok_or_else(|| {
        let reason = format!("the shape {lengths:?} is not one of whole blocks of {numbers}");
        LoadError::malformed(file, &name, reason)
    })?;
    Ok((name, place, offset))
}

#[cfg(test)]
pub(crate) mod tests;
