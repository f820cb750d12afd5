//! Brings vectors into the format that a client asked for.

use headwater_embedding::OutputFormat;
use headwater_vectors::quantise::{Calibration, to_bits, to_f16};

/// Steps between 0 and 1 of the fixed scale.
const FIXED_STEPS: f32 = 127.0;

/// The range that a code of the fixed scale lies in, for the formula of [`Calibration`]: its
/// codes -128 to 127 are the numbers -128/127 to 1.
pub fn fixed_range() -> (f32, f32) {
    (-128.0 / FIXED_STEPS, 1.0)
}

/// A vector in the format asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Quantised {
    Float(Vec<f32>),
    /// Raw bytes, to be written as base64.
    Bytes(Vec<u8>),
    Signed(Vec<i8>),
    Unsigned(Vec<u8>),
}

/// Brings one vector into the format.
///
/// `int8` takes the codes of the calibration; without one, or with one of another length, it
/// scales by 127 and rounds half away from zero, clamped to ±127: right for vectors of length 1,
/// whose components lie in ±1, but most of the codes stay unused. `ubinary` sets a bit for each
/// component above 0, the first in the highest bit; `binary` is the same less 128.
pub fn quantise(
    vector: Vec<f32>,
    format: OutputFormat,
    calibration: Option<&Calibration>,
) -> Quantised {
    let calibration =
        calibration.filter(|calibration| calibration.check_length(vector.len()).is_ok());
    let fixed = |value: &f32| (value * FIXED_STEPS).round().clamp(-FIXED_STEPS, FIXED_STEPS) as i8;
    match format {
        OutputFormat::Float => Quantised::Float(vector),
        OutputFormat::Base64 => {
            Quantised::Bytes(vector.iter().flat_map(|value| value.to_le_bytes()).collect())
        }
        OutputFormat::Float16 => {
            Quantised::Bytes(to_f16(&vector).iter().flat_map(|half| half.to_le_bytes()).collect())
        }
        OutputFormat::Int8 => Quantised::Signed(match calibration {
            Some(calibration) => calibration.encode(&vector),
            None => vector.iter().map(fixed).collect(),
        }),
        OutputFormat::Binary => {
            // Flipping the highest bit takes 128 away, in two's complement.
            let signed = |byte: u8| (byte ^ 0x80) as i8;
            Quantised::Signed(to_bits(&vector).into_iter().map(signed).collect())
        }
        OutputFormat::Ubinary => Quantised::Unsigned(to_bits(&vector)),
    }
}
