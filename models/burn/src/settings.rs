//! What the operator chooses about one model.

use std::path::PathBuf;
use std::str::FromStr;

use headwater_models::Pooling;

use crate::LoadError;

/// One model, its weights and the choices that override the folder's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BurnSettings {
    /// The name that clients send in `model`.
    pub name: String,
    /// Folder with config.json, tokenizer.json and model.safetensors.
    pub folder: PathBuf,
    pub device: DeviceChoice,
    /// Number format of the dense layers; on CPU f32, bf16 where the chip multiplies it, or
    /// auto. Sums, softmax and normalisation are f32 in any case.
    pub dtype: NumberFormat,
    /// Overrides the folder's pooling; must be given when the folder says nothing.
    pub pooling: Option<Pooling>,
    /// Overrides whether vectors are scaled to length 1.
    pub normalise: Option<bool>,
    /// Overrides the longest input in tokens, special tokens counted; at most the number
    /// of positions that the model was trained for.
    pub max_tokens: Option<usize>,
    /// Text put before every query; empty for models trained without one.
    pub query_prefix: String,
    /// Text put before every passage; empty for models trained without one.
    pub passage_prefix: String,
    /// Shorter lengths that the model was trained for; each below its full length.
    pub matryoshka_dimensions: Vec<usize>,
}

impl BurnSettings {
    /// A model on the CPU in f32, used as its folder says and without prefixes.
    pub fn new(name: &str, folder: PathBuf) -> Self {
        BurnSettings {
            name: name.to_owned(),
            folder,
            device: DeviceChoice::Cpu,
            dtype: NumberFormat::F32,
            pooling: None,
            normalise: None,
            max_tokens: None,
            query_prefix: String::new(),
            passage_prefix: String::new(),
            matryoshka_dimensions: Vec::new(),
        }
    }

    /// These settings with a number format that the device computes in.
    ///
    /// # Errors
    /// [`LoadError::Unsupported`] naming what is allowed on the device.
    pub(crate) fn settled(&self) -> Result<Self, LoadError> {
        let (possible, pays) = bf16_on_cpu();
        let dtype = match (self.device, self.dtype) {
            (DeviceChoice::Cpu, NumberFormat::F32) => Ok(NumberFormat::F32),
            (DeviceChoice::Cpu, NumberFormat::Bf16) if possible => Ok(NumberFormat::Bf16),
            (DeviceChoice::Cpu, NumberFormat::Auto) if pays => Ok(NumberFormat::Bf16),
            (DeviceChoice::Cpu, NumberFormat::Auto) => Ok(NumberFormat::F32),
            (DeviceChoice::Cpu, NumberFormat::Bf16) => Err(
                "f32 or auto on this cpu, which lacks the instructions AMX-BF16 and AVX512-BF16",
            ),
            (DeviceChoice::Cpu, NumberFormat::F16) => Err("f32, bf16 or auto on cpu"),
            (DeviceChoice::Cuda(_), NumberFormat::Auto) => Err("f32, f16 or bf16 on cuda"),
            (DeviceChoice::Cuda(_), format) => Ok(format),
        };
        let dtype = dtype.map_err(|allowed| {
            LoadError::unsupported("settings", "dtype", self.dtype.name(), allowed)
        })?;
        Ok(BurnSettings { dtype, ..self.clone() })
    }
}

/// Whether products of bf16 are possible on this machine, and whether they are faster than
/// those of f32.
fn bf16_on_cpu() -> (bool, bool) {
    #[cfg(feature = "cpu")]
    return crate::Instructions::best()
        .map_or((false, false), |instructions| (true, instructions.pays()));
    #[cfg(not(feature = "cpu"))]
    (false, false)
}

/// Where an encoder computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    Cpu,
    /// A CUDA device by its ordinal.
    Cuda(usize),
}

/// The format of weights and activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberFormat {
    F32,
    F16,
    Bf16,
    /// On CPU, bf16 where that is faster and f32 elsewhere. Vectors of the two have
    /// different fingerprints.
    Auto,
}

/// A word that names no device or number format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {found:?}; write {allowed}")]
pub struct UnknownChoice {
    what: &'static str,
    found: String,
    allowed: &'static str,
}

impl FromStr for DeviceChoice {
    type Err = UnknownChoice;

    fn from_str(text: &str) -> Result<Self, UnknownChoice> {
        let ordinal = text.strip_prefix("cuda:").map(str::parse::<usize>);
        match (text, ordinal) {
            ("cpu", _) => Ok(DeviceChoice::Cpu),
            (_, Some(Ok(ordinal))) => Ok(DeviceChoice::Cuda(ordinal)),
            _ => Err(UnknownChoice {
                what: "device",
                found: text.to_owned(),
                allowed: "\"cpu\", or \"cuda:0\" with the number of the device",
            }),
        }
    }
}

impl NumberFormat {
    /// The name used in settings and fingerprints.
    pub fn name(self) -> &'static str {
        match self {
            NumberFormat::F32 => "f32",
            NumberFormat::F16 => "f16",
            NumberFormat::Bf16 => "bf16",
            NumberFormat::Auto => "auto",
        }
    }
}

impl FromStr for NumberFormat {
    type Err = UnknownChoice;

    fn from_str(text: &str) -> Result<Self, UnknownChoice> {
        [NumberFormat::F32, NumberFormat::F16, NumberFormat::Bf16, NumberFormat::Auto]
            .into_iter()
            .find(|format| format.name() == text)
            .ok_or_else(|| UnknownChoice {
                what: "number format",
                found: text.to_owned(),
                allowed: "\"f32\", \"f16\", \"bf16\" or \"auto\"",
            })
    }
}

#[cfg(test)]
mod tests;
