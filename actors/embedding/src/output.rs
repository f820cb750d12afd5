//! What a client may ask a vector to look like.

/// The number formats on offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    /// A JSON list of 32-bit floats.
    Float,
    /// The floats in little-endian order, as base64; what the OpenAI SDK asks for.
    Base64,
    /// One signed byte per dimension.
    Int8,
    /// One bit per dimension.
    Ubinary,
}

impl OutputFormat {
    pub const NAMES: [&'static str; 4] = ["float", "base64", "int8", "ubinary"];

    /// The format of this name, if it is one of [`OutputFormat::NAMES`].
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "float" => Some(OutputFormat::Float),
            "base64" => Some(OutputFormat::Base64),
            "int8" => Some(OutputFormat::Int8),
            "ubinary" => Some(OutputFormat::Ubinary),
            _ => None,
        }
    }
}

/// A vector in the format asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Quantised {
    Float(Vec<f32>),
    /// Raw bytes, to be written as base64.
    Bytes(Vec<u8>),
    Int8(Vec<i8>),
    Ubinary(Vec<u8>),
}

/// Brings one vector into the format.
///
/// `int8` scales by 127 and rounds half away from zero, clamped to ±127: right for vectors
/// of length 1, whose components lie in ±1. `ubinary` sets a bit for each component above
/// 0, the first component in the highest bit, as numpy's `packbits` does; a last byte that
/// is not full is padded with zeros.
pub fn quantise(vector: Vec<f32>, format: OutputFormat) -> Quantised {
    match format {
        OutputFormat::Float => Quantised::Float(vector),
        OutputFormat::Base64 => {
            Quantised::Bytes(vector.iter().flat_map(|value| value.to_le_bytes()).collect())
        }
        OutputFormat::Int8 => Quantised::Int8(
            vector.iter().map(|value| (value * 127.0).round().clamp(-127.0, 127.0) as i8).collect(),
        ),
        OutputFormat::Ubinary => Quantised::Ubinary(vector.chunks(8).map(pack_bits).collect()),
    }
}

fn pack_bits(components: &[f32]) -> u8 {
    components
        .iter()
        .enumerate()
        .fold(0, |byte, (place, value)| if *value > 0.0 { byte | (0x80 >> place) } else { byte })
}

/// Cuts a Matryoshka vector to its first `dimensions` components and scales what is left
/// to length 1 again when the model normalises.
pub fn shorten(vector: &mut Vec<f32>, dimensions: usize, normalise: bool) {
    if dimensions >= vector.len() {
        return;
    }
    vector.truncate(dimensions);
    if normalise {
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        if length > 0.0 {
            vector.iter_mut().for_each(|value| *value /= length);
        }
    }
}
