//! Vectors in fewer bytes, and scoring a query against them as they are kept.
//!
//! | format | kept as | error of a component |
//! | --- | --- | --- |
//! | `f32` | itself | none |
//! | `f16` | the nearest half-precision number, clamped to ±65504 | 2⁻¹¹ of its magnitude, or 2⁻²⁵ |
//! | `i8` | one of 256 steps between the ends of its [`Calibration`] | half a step; beyond an end, the distance to it besides |
//! | `binary` | one bit, set above 0 | all but the sign |
//!
//! A query stays in f32: a score is the similarity of the query itself and the vector as it is
//! kept, so only one side of it is rounded.

mod calibration;
mod scorer;

#[cfg(test)]
mod tests;

use half::f16;

use crate::{NumberFormat, SinkError};

pub use calibration::{CUT_MAX, Calibration};
pub use scorer::Scorer;

/// What stands in the way of quantising; the text says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct QuantiseError(pub String);

impl From<QuantiseError> for SinkError {
    fn from(error: QuantiseError) -> Self {
        SinkError::Request(error.0)
    }
}

/// Each component as the nearest half-precision number; what is larger than the largest of them
/// becomes that.
pub fn to_f16(vector: &[f32]) -> Vec<f16> {
    let (low, high) = (f16::MIN.to_f32(), f16::MAX.to_f32());
    vector.iter().map(|component| f16::from_f32(component.clamp(low, high))).collect()
}

/// A bit for each component, set when it is above 0; the first component in the highest bit of
/// the first byte, as numpy's `packbits` does. A last byte that is not full ends in zeros.
pub fn to_bits(vector: &[f32]) -> Vec<u8> {
    let pack = |components: &[f32]| {
        components.iter().enumerate().fold(0_u8, |byte, (place, component)| {
            if *component > 0.0 { byte | 0x80 >> place } else { byte }
        })
    };
    vector.chunks(8).map(pack).collect()
}

/// The first `dimensions` bits as 1 and -1.
pub fn signs(bits: &[u8], dimensions: usize) -> Vec<f32> {
    let places = bits.iter().flat_map(|byte| (0..8).map(move |place| byte & 0x80 >> place != 0));
    places.take(dimensions).map(|is_set| if is_set { 1.0 } else { -1.0 }).collect()
}

/// A vector as a format keeps it.
#[derive(Debug, Clone, PartialEq)]
pub enum Stored {
    F32(Vec<f32>),
    F16(Vec<f16>),
    /// Codes of a [`Calibration`], which the keeper holds.
    I8(Vec<i8>),
    /// Packed by [`to_bits`].
    Binary(Vec<u8>),
}

impl Stored {
    /// The vector in this format.
    ///
    /// # Errors
    /// When the format is [`NumberFormat::I8`] and there is no calibration, or one of another
    /// length.
    pub fn keep(
        vector: &[f32],
        format: NumberFormat,
        calibration: Option<&Calibration>,
    ) -> Result<Stored, QuantiseError> {
        Ok(match format {
            NumberFormat::F32 => Stored::F32(vector.to_vec()),
            NumberFormat::F16 => Stored::F16(to_f16(vector)),
            NumberFormat::I8 => {
                let calibration = calibration.ok_or_else(no_calibration)?;
                calibration.check_length(vector.len())?;
                Stored::I8(calibration.encode(vector))
            }
            NumberFormat::Binary => Stored::Binary(to_bits(vector)),
        })
    }

    pub fn format(&self) -> NumberFormat {
        match self {
            Stored::F32(_) => NumberFormat::F32,
            Stored::F16(_) => NumberFormat::F16,
            Stored::I8(_) => NumberFormat::I8,
            Stored::Binary(_) => NumberFormat::Binary,
        }
    }

    /// The vector's components as far as they were kept; the signs of a binary one.
    ///
    /// # Errors
    /// As [`Stored::keep`].
    pub fn components(
        &self,
        dimensions: usize,
        calibration: Option<&Calibration>,
    ) -> Result<Vec<f32>, QuantiseError> {
        Ok(match self {
            Stored::F32(components) => components.clone(),
            Stored::F16(components) => components.iter().map(|half| half.to_f32()).collect(),
            Stored::I8(codes) => {
                let calibration = calibration.ok_or_else(no_calibration)?;
                calibration.check_length(codes.len())?;
                calibration.decode(codes)
            }
            Stored::Binary(bits) => signs(bits, dimensions),
        })
    }
}

fn no_calibration() -> QuantiseError {
    QuantiseError("i8 needs a calibration; fit one to a sample of the vectors first".to_owned())
}
