//! A space: the vectors of one model version in one sink.

use crate::SinkError;

/// How near two vectors are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Metric {
    /// The cosine of the angle between them, -1 to 1.
    #[default]
    Cosine,
    /// The inner product.
    Dot,
}

impl Metric {
    /// How near two vectors are, by their inner product and those of each with itself; 0 when one
    /// of them is all zeros.
    pub fn of_products(self, product: f32, left_square: f32, right_square: f32) -> f32 {
        match self {
            Metric::Dot => product,
            Metric::Cosine => {
                let lengths = left_square.sqrt() * right_square.sqrt();
                if lengths > 0.0 { product / lengths } else { 0.0 }
            }
        }
    }
}

/// How a sink keeps the components of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NumberFormat {
    /// 4 bytes a component.
    #[default]
    F32,
    /// 2 bytes.
    F16,
    /// 1 byte, scaled by the calibration of its component.
    I8,
    /// 1 bit; near by the Hamming distance.
    Binary,
}

impl NumberFormat {
    pub const ALL: [NumberFormat; 4] =
        [NumberFormat::F32, NumberFormat::F16, NumberFormat::I8, NumberFormat::Binary];

    /// The name in settings and answers.
    pub fn name(self) -> &'static str {
        match self {
            NumberFormat::F32 => "f32",
            NumberFormat::F16 => "f16",
            NumberFormat::I8 => "i8",
            NumberFormat::Binary => "binary",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        NumberFormat::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Bytes that a vector of this many components takes.
    pub fn bytes(self, dimensions: usize) -> usize {
        match self {
            NumberFormat::F32 => 4 * dimensions,
            NumberFormat::F16 => 2 * dimensions,
            NumberFormat::I8 => dimensions,
            NumberFormat::Binary => dimensions.div_ceil(8),
        }
    }
}

/// What a sink must know of a space when it is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// Unique in the sink; the caller builds it from tenant, collection and version.
    pub name: String,
    /// The model, for people and for records.
    pub model: String,
    /// The model's fingerprint. A record of another version is refused.
    pub version: String,
    pub dimensions: usize,
    pub metric: Metric,
    pub format: NumberFormat,
}

impl Space {
    /// Refuses a vector of another version or length.
    ///
    /// # Errors
    /// [`SinkError::Version`] naming both.
    pub fn admits(&self, version: &str, dimensions: usize) -> Result<(), SinkError> {
        if version != self.version {
            return Err(SinkError::Version(format!(
                "the vector is of version '{version}', the space '{}' of version '{}'; embed the \
                 text with that version",
                self.name, self.version
            )));
        }
        if dimensions != self.dimensions {
            return Err(SinkError::Version(format!(
                "the vector has {dimensions} components, the space '{}' has {}",
                self.name, self.dimensions
            )));
        }
        Ok(())
    }

    /// Refuses a vector of another version or length, and one whose components are no numbers.
    ///
    /// # Errors
    /// As [`Space::admits`]; [`SinkError::Request`] for NaN and infinity.
    pub fn admits_vector(&self, version: &str, vector: &[f32]) -> Result<(), SinkError> {
        self.admits(version, vector.len())?;
        match vector.iter().position(|component| !component.is_finite()) {
            None => Ok(()),
            Some(place) => Err(SinkError::Request(format!(
                "component {place} of the vector is {}; only finite numbers are allowed, check \
                 the model's output",
                vector[place]
            ))),
        }
    }
}
