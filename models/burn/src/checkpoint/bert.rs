//! The tensors of BERT and its kin, under the names of each family.

use safetensors::tensor::SafeTensors;

use super::{HostLinear, HostNorm, HostTensor, Reader};
use crate::LoadError;
use crate::config::bert::Names;
use crate::config::{Architecture, BertConfig};

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
    /// `[max_positions, hidden]`, from the first token's position on.
    pub(crate) positions: HostTensor,
    /// `[type_vocabulary, hidden]`; no rows in DistilBERT.
    pub(crate) types: HostTensor,
    pub(crate) norm: HostNorm,
    pub(crate) layers: Vec<HostLayer>,
    pub(crate) head: HostHead,
}

/// What stands on top of the hidden states.
#[derive(Debug, Clone)]
pub(crate) enum HostHead {
    None,
    /// From the first token's state to one number, through `dense` and tanh or, in DistilBERT,
    /// the greater of it and 0.
    Score {
        dense: HostLinear,
        tanh: bool,
        output: HostLinear,
    },
    /// From every state to a logit for each word, through `dense`, GELU and `norm`.
    Words {
        dense: HostLinear,
        norm: HostNorm,
        output: HostLinear,
    },
}

/// The name of each part of a family's file.
struct Parts {
    prefix: &'static str,
    layer: &'static str,
    query: &'static str,
    key: &'static str,
    value: &'static str,
    attention_output: &'static str,
    attention_norm: &'static str,
    intermediate: &'static str,
    output: &'static str,
    output_norm: &'static str,
}

const BERT: Parts = Parts {
    prefix: "bert.",
    layer: "encoder.layer",
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    intermediate: "intermediate.dense",
    output: "output.dense",
    output_norm: "output.LayerNorm",
};

const ROBERTA: Parts = Parts { prefix: "roberta.", ..BERT };

const DISTILBERT: Parts = Parts {
    prefix: "distilbert.",
    layer: "transformer.layer",
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    attention_output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    intermediate: "ffn.lin1",
    output: "ffn.lin2",
    output_norm: "output_layer_norm",
};

impl HostWeights {
    pub(super) fn parse(
        file: &SafeTensors<'_>,
        config: &BertConfig,
        words: bool,
    ) -> Result<Self, LoadError> {
        let parts = match config.names {
            Names::Bert => BERT,
            Names::Roberta => ROBERTA,
            Names::Distilbert => DISTILBERT,
        };
        let mut reader = Reader::new(file, parts.prefix)?;
        let hidden = config.hidden_size;
        let embedded =
            reader.take("embeddings.word_embeddings.weight", &[config.vocabulary, hidden])?;
        let weights = HostWeights {
            positions: positions(&mut reader, config)?,
            types: match config.type_vocabulary {
                0 => HostTensor { shape: vec![0, hidden], values: Vec::new() },
                types => {
                    reader.take("embeddings.token_type_embeddings.weight", &[types, hidden])?
                }
            },
            norm: reader.norm("embeddings.LayerNorm", hidden)?,
            layers: (0..config.layers)
                .map(|index| layer(&mut reader, &parts, index, config))
                .collect::<Result<_, _>>()?,
            head: match config.architecture {
                Architecture::Score => score(&mut reader, config)?,
                Architecture::Words if words => logits(&mut reader, config, &embedded)?,
                Architecture::Words | Architecture::Base => HostHead::None,
            },
            words: embedded,
        };
        // The pooler and the table of positions are never used by an embedding model.
        let mut unused = vec!["pooler.", "embeddings.position_ids"];
        if config.architecture == Architecture::Words {
            unused.extend(["cls.", "lm_head.", "vocab_"]);
        }
        reader.finish("an encoder", &unused)?;
        Ok(weights)
    }
}

/// The rows that are used: RoBERTa's first ones belong to the padding.
fn positions(reader: &mut Reader<'_>, config: &BertConfig) -> Result<HostTensor, LoadError> {
    let (first, hidden) = (config.first_position, config.hidden_size);
    let shape = [first + config.max_positions, hidden];
    let mut table = reader.take("embeddings.position_embeddings.weight", &shape)?;
    table.values.drain(..first * hidden);
    table.shape[0] -= first;
    Ok(table)
}

fn layer(
    reader: &mut Reader<'_>,
    parts: &Parts,
    index: usize,
    config: &BertConfig,
) -> Result<HostLayer, LoadError> {
    let (hidden, wide) = (config.hidden_size, config.intermediate_size);
    let at = |part: &str| format!("{}.{index}.{part}", parts.layer);
    Ok(HostLayer {
        query: reader.linear(&at(parts.query), hidden, hidden)?,
        key: reader.linear(&at(parts.key), hidden, hidden)?,
        value: reader.linear(&at(parts.value), hidden, hidden)?,
        attention_output: reader.linear(&at(parts.attention_output), hidden, hidden)?,
        attention_norm: reader.norm(&at(parts.attention_norm), hidden)?,
        intermediate: reader.linear(&at(parts.intermediate), hidden, wide)?,
        output: reader.linear(&at(parts.output), wide, hidden)?,
        output_norm: reader.norm(&at(parts.output_norm), hidden)?,
    })
}

fn score(reader: &mut Reader<'_>, config: &BertConfig) -> Result<HostHead, LoadError> {
    let (dense, output) = match config.names {
        Names::Bert => ("pooler.dense", "classifier"),
        Names::Roberta => ("classifier.dense", "classifier.out_proj"),
        Names::Distilbert => ("pre_classifier", "classifier"),
    };
    Ok(HostHead::Score {
        dense: reader.linear(dense, config.hidden_size, config.hidden_size)?,
        tanh: config.names != Names::Distilbert,
        output: reader.linear(output, config.hidden_size, 1)?,
    })
}

/// The last layer is the table of words itself, unless the file holds another.
fn logits(
    reader: &mut Reader<'_>,
    config: &BertConfig,
    embedded: &HostTensor,
) -> Result<HostHead, LoadError> {
    let (hidden, vocabulary) = (config.hidden_size, config.vocabulary);
    let (dense, norm, output, bias) = match config.names {
        Names::Bert => (
            "cls.predictions.transform.dense",
            "cls.predictions.transform.LayerNorm",
            "cls.predictions.decoder.weight",
            "cls.predictions.bias",
        ),
        Names::Roberta => {
            ("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder.weight", "lm_head.bias")
        }
        Names::Distilbert => (
            "vocab_transform",
            "vocab_layer_norm",
            "vocab_projector.weight",
            "vocab_projector.bias",
        ),
    };
    let weight = match reader.tensors.contains_key(output) {
        true => reader.take(output, &[vocabulary, hidden])?,
        false => embedded.clone(),
    };
    Ok(HostHead::Words {
        dense: reader.linear(dense, hidden, hidden)?,
        norm: reader.norm(norm, hidden)?,
        output: HostLinear { weight, bias: reader.take(bias, &[vocabulary])? },
    })
}
