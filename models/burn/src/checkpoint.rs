//! Strict reading of model.safetensors: every tensor is expected, present and of its shape.

use std::collections::BTreeMap;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::LoadError;
use crate::config::BertConfig;
use crate::folder::TENSORS;

const PREFIX: &str = "bert.";

/// A tensor on the host in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HostTensor {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

/// A dense layer as stored: `weight` of shape `[outputs, inputs]`, `bias` of `[outputs]`.
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

#[derive(Debug, Clone)]
pub(crate) struct HostLayer {
    pub(crate) query: HostLinear,
    pub(crate) key: HostLinear,
    pub(crate) value: HostLinear,
    pub(crate) attention_output: HostLinear,
    pub(crate) attention_norm: HostNorm,
    pub(crate) intermediate: HostLinear,
    pub(crate) output: HostLinear,
    pub(crate) output_norm: HostNorm,
}

/// All weights of one encoder, converted to f32.
#[derive(Debug, Clone)]
pub(crate) struct HostWeights {
    /// `[vocabulary, hidden]`.
    pub(crate) words: HostTensor,
    /// `[max_positions, hidden]`.
    pub(crate) positions: HostTensor,
    /// `[type_vocabulary, hidden]`.
    pub(crate) types: HostTensor,
    pub(crate) norm: HostNorm,
    pub(crate) layers: Vec<HostLayer>,
}

impl HostWeights {
    /// # Errors
    /// [`LoadError::Malformed`] naming a missing, surplus or wrong-shaped tensor;
    /// [`LoadError::Unsupported`] for a storage format other than f32, f16 and bf16.
    pub(crate) fn parse(bytes: &[u8], config: &BertConfig) -> Result<Self, LoadError> {
        let file = SafeTensors::deserialize(bytes)
            .map_err(|error| LoadError::malformed(TENSORS, "header", error.to_string()))?;
        let mut reader = Reader { tensors: BTreeMap::new() };
        for (name, view) in file.iter() {
            let short = name.strip_prefix(PREFIX).unwrap_or(name);
            if reader.tensors.insert(short.to_owned(), view).is_some() {
                let reason = format!("stands twice, with and without {PREFIX:?}");
                return Err(LoadError::malformed(TENSORS, short, reason));
            }
        }
        let hidden = config.hidden_size;
        let weights = HostWeights {
            words: reader
                .take("embeddings.word_embeddings.weight", &[config.vocabulary, hidden])?,
            positions: reader
                .take("embeddings.position_embeddings.weight", &[config.max_positions, hidden])?,
            types: reader.take(
                "embeddings.token_type_embeddings.weight",
                &[config.type_vocabulary, hidden],
            )?,
            norm: reader.norm("embeddings.LayerNorm", hidden)?,
            layers: (0..config.layers)
                .map(|index| reader.layer(&format!("encoder.layer.{index}"), config))
                .collect::<Result<_, _>>()?,
        };
        reader.finish()?;
        Ok(weights)
    }
}

struct Reader<'data> {
    tensors: BTreeMap<String, TensorView<'data>>,
}

impl Reader<'_> {
    fn layer(&mut self, at: &str, config: &BertConfig) -> Result<HostLayer, LoadError> {
        let (hidden, wide) = (config.hidden_size, config.intermediate_size);
        let attention = format!("{at}.attention");
        Ok(HostLayer {
            query: self.linear(&format!("{attention}.self.query"), hidden, hidden)?,
            key: self.linear(&format!("{attention}.self.key"), hidden, hidden)?,
            value: self.linear(&format!("{attention}.self.value"), hidden, hidden)?,
            attention_output: self.linear(&format!("{attention}.output.dense"), hidden, hidden)?,
            attention_norm: self.norm(&format!("{attention}.output.LayerNorm"), hidden)?,
            intermediate: self.linear(&format!("{at}.intermediate.dense"), hidden, wide)?,
            output: self.linear(&format!("{at}.output.dense"), wide, hidden)?,
            output_norm: self.norm(&format!("{at}.output.LayerNorm"), hidden)?,
        })
    }

    fn linear(&mut self, at: &str, inputs: usize, outputs: usize) -> Result<HostLinear, LoadError> {
        Ok(HostLinear {
            weight: self.take(&format!("{at}.weight"), &[outputs, inputs])?,
            bias: self.take(&format!("{at}.bias"), &[outputs])?,
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

    /// The pooler and the table of positions are never used by an embedding model.
    fn finish(self) -> Result<(), LoadError> {
        let surplus = self
            .tensors
            .into_keys()
            .find(|name| !name.starts_with("pooler.") && name != "embeddings.position_ids");
        match surplus {
            Some(name) => Err(LoadError::malformed(
                TENSORS,
                &name,
                "the tensor is surplus: a BERT encoder of this config.json has none of that name",
            )),
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
