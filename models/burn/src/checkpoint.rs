//! Strict reading of model.safetensors: every tensor is expected, present and of its shape.

use std::collections::BTreeMap;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::LoadError;
use crate::config::{BertConfig, ClipConfig, DecoderConfig, NetworkConfig};
use crate::folder::TENSORS;

mod bert;
mod clip;
mod decoder;

pub(crate) use bert::{HostHead, HostLayer, HostWeights};
pub(crate) use clip::{HostBlock, HostClip, HostTower};
pub(crate) use decoder::{HostDecoder, HostDecoderLayer};

/// A tensor on the host in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HostTensor {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

/// A dense layer as stored: `weight` of shape `[outputs, inputs]`, `bias` of `[outputs]`,
/// zeros where the file has none.
#[derive(Debug, Clone)]
pub(crate) struct HostLinear {
    pub(crate) weight: HostTensor,
    pub(crate) bias: HostTensor,
}

/// Layer normalisation: `weight` and `bias` of shape `[hidden]`.
#[derive(Debug, Clone)]
pub(crate) struct HostNorm {
    pub(crate) weight: HostTensor,
    pub(crate) bias: HostTensor,
}

/// All weights of one network, converted to f32.
#[derive(Debug, Clone)]
pub(crate) enum HostNetwork {
    Bert(BertConfig, Box<HostWeights>),
    Decoder(DecoderConfig, HostDecoder),
    Clip(ClipConfig, Box<HostClip>),
}

impl HostNetwork {
    /// `words` says that the logits of the vocabulary are wanted.
    ///
    /// # Errors
    /// [`LoadError::Malformed`] naming a missing, surplus or wrong-shaped tensor;
    /// [`LoadError::Unsupported`] for a storage format other than f32, f16 and bf16.
    pub(crate) fn parse(
        bytes: &[u8],
        config: NetworkConfig,
        words: bool,
    ) -> Result<Self, LoadError> {
        let file = SafeTensors::deserialize(bytes)
            .map_err(|error| LoadError::malformed(TENSORS, "header", error.to_string()))?;
        match config {
            NetworkConfig::Bert(config) => {
                let weights = Box::new(HostWeights::parse(&file, &config, words)?);
                Ok(HostNetwork::Bert(config, weights))
            }
            NetworkConfig::Decoder(config) => {
                let weights = HostDecoder::parse(&file, &config)?;
                Ok(HostNetwork::Decoder(config, weights))
            }
            NetworkConfig::Clip(config) => {
                let weights = Box::new(HostClip::parse(&file, &config)?);
                Ok(HostNetwork::Clip(config, weights))
            }
        }
    }
}

struct Reader<'data> {
    tensors: BTreeMap<String, TensorView<'data>>,
}

impl<'data> Reader<'data> {
    /// Names are taken without `prefix`, which some files put before them.
    fn new(file: &SafeTensors<'data>, prefix: &str) -> Result<Self, LoadError> {
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let short = name.strip_prefix(prefix).unwrap_or(name);
            if tensors.insert(short.to_owned(), view).is_some() {
                let reason = format!("stands twice, with and without {prefix:?}");
                return Err(LoadError::malformed(TENSORS, short, reason));
            }
        }
        Ok(Reader { tensors })
    }

    fn linear(&mut self, at: &str, inputs: usize, outputs: usize) -> Result<HostLinear, LoadError> {
        Ok(HostLinear {
            weight: self.take(&format!("{at}.weight"), &[outputs, inputs])?,
            bias: self.take(&format!("{at}.bias"), &[outputs])?,
        })
    }

    /// A dense layer that is stored without a bias.
    fn plain(&mut self, at: &str, inputs: usize, outputs: usize) -> Result<HostLinear, LoadError> {
        let weight = self.take(&format!("{at}.weight"), &[outputs, inputs])?;
        Ok(HostLinear {
            weight,
            bias: HostTensor { shape: vec![outputs], values: vec![0.0; outputs] },
        })
    }

    fn norm(&mut self, at: &str, size: usize) -> Result<HostNorm, LoadError> {
        Ok(HostNorm {
            weight: self.take(&format!("{at}.weight"), &[size])?,
            bias: self.take(&format!("{at}.bias"), &[size])?,
        })
    }

    fn take(&mut self, name: &str, shape: &[usize]) -> Result<HostTensor, LoadError> {
        let view = self
            .tensors
            .remove(name)
            .ok_or_else(|| LoadError::malformed(TENSORS, name, "the tensor is missing"))?;
        if view.shape() != shape {
            let reason = format!("has shape {:?}, config.json asks for {shape:?}", view.shape());
            return Err(LoadError::malformed(TENSORS, name, reason));
        }
        let values = to_f32(name, &view)?;
        Ok(HostTensor { shape: shape.to_vec(), values })
    }

    /// Lets tensors pass that are known and not used; any other is surplus.
    fn finish(self, kind: &str, unused: &[&str]) -> Result<(), LoadError> {
        let known = |name: &String| unused.iter().any(|start| name.starts_with(start));
        match self.tensors.into_keys().find(|name| !known(name)) {
            Some(name) => {
                let reason = format!(
                    "the tensor is surplus: {kind} of this config.json has none of that name"
                );
                Err(LoadError::malformed(TENSORS, &name, reason))
            }
            None => Ok(()),
        }
    }
}

fn to_f32(name: &str, view: &TensorView<'_>) -> Result<Vec<f32>, LoadError> {
    let data = view.data();
    let halves = || data.as_chunks::<2>().0.iter();
    match view.dtype() {
        Dtype::F32 => {
            Ok(data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
        }
        Dtype::F16 => Ok(halves().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect()),
        Dtype::BF16 => Ok(halves().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect()),
        other => Err(LoadError::unsupported(
            TENSORS,
            name,
            format!("stored as {other:?}"),
            "F32, F16 and BF16",
        )),
    }
}
