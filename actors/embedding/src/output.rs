//! What a client may ask a vector to look like.

/// The number formats on offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    /// A JSON list of 32-bit floats.
    Float,
    /// The floats in little-endian order, as base64; what the OpenAI SDK asks for.
    Base64,
    /// Half-precision floats in little-endian order, as base64.
    Float16,
    /// One signed byte per dimension.
    Int8,
    /// One bit per dimension, packed into signed bytes: those of `ubinary` less 128, as
    /// sentence-transformers and Cohere have them.
    Binary,
    /// One bit per dimension, packed into bytes.
    Ubinary,
}

impl OutputFormat {
    pub const NAMES: [&'static str; 6] =
        ["float", "base64", "float16", "int8", "binary", "ubinary"];

    /// The format of this name, if it is one of [`OutputFormat::NAMES`].
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "float" => Some(OutputFormat::Float),
            "base64" => Some(OutputFormat::Base64),
            "float16" => Some(OutputFormat::Float16),
            "binary" => Some(OutputFormat::Binary),
            "int8" => Some(OutputFormat::Int8),
            "ubinary" => Some(OutputFormat::Ubinary),
            _ => None,
        }
    }
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
