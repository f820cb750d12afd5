//! The tensors of a decoder in the shape of Llama.

use safetensors::tensor::SafeTensors;

use super::{HostLinear, HostTensor, Reader};
use crate::LoadError;
use crate::config::DecoderConfig;

#[derive(Debug, Clone)]
pub(crate) struct HostDecoderLayer {
    /// `[hidden]`.
    pub(crate) attention_norm: HostTensor,
    pub(crate) query: HostLinear,
    pub(crate) key: HostLinear,
    pub(crate) value: HostLinear,
    /// Scales of one head's query and key, each `[head size]`; Qwen3 alone has them.
    pub(crate) head_norms: Option<(HostTensor, HostTensor)>,
    pub(crate) attention_output: HostLinear,
    /// `[hidden]`.
    pub(crate) gate_norm: HostTensor,
    pub(crate) gate: HostLinear,
    pub(crate) up: HostLinear,
    pub(crate) down: HostLinear,
}

#[derive(Debug, Clone)]
pub(crate) struct HostDecoder {
    /// `[vocabulary, hidden]`.
    pub(crate) words: HostTensor,
    pub(crate) layers: Vec<HostDecoderLayer>,
    /// `[hidden]`.
    pub(crate) norm: HostTensor,
}

impl HostDecoder {
    pub(super) fn parse(file: &SafeTensors<'_>, config: &DecoderConfig) -> Result<Self, LoadError> {
        let mut reader = Reader::new(file, "model.")?;
        let hidden = config.hidden_size;
        let weights = HostDecoder {
            words: reader.take("embed_tokens.weight", &[config.vocabulary, hidden])?,
            layers: (0..config.layers)
                .map(|index| layer(&mut reader, index, config))
                .collect::<Result<_, _>>()?,
            norm: reader.take("norm.weight", &[hidden])?,
        };
        // The layer that names the next word, which an embedding has no use for, and the
        // wavelengths that old files carry.
        let mut unused = vec!["lm_head.weight".to_owned()];
        unused.extend(
            (0..config.layers).map(|index| format!("layers.{index}.self_attn.rotary_emb.inv_freq")),
        );
        let unused: Vec<&str> = unused.iter().map(String::as_str).collect();
        reader.finish("a decoder", &unused)?;
        Ok(weights)
    }
}

fn layer(
    reader: &mut Reader<'_>,
    index: usize,
    config: &DecoderConfig,
) -> Result<HostDecoderLayer, LoadError> {
    let (hidden, wide, heads) = (config.hidden_size, config.intermediate_size, config.heads);
    let (queries, keys) = (heads.queries * heads.size, heads.keys * heads.size);
    let at = |part: &str| format!("layers.{index}.{part}");
    let mut project = |part: &str, outputs: usize| match config.attention_bias {
        true => reader.linear(&at(part), hidden, outputs),
        false => reader.plain(&at(part), hidden, outputs),
    };
    let query = project("self_attn.q_proj", queries)?;
    let key = project("self_attn.k_proj", keys)?;
    let value = project("self_attn.v_proj", keys)?;
    let mut head_norm = |part: &str| reader.take(&at(part), &[heads.size]);
    let head_norms = match config.head_norm {
        true => {
            Some((head_norm("self_attn.q_norm.weight")?, head_norm("self_attn.k_norm.weight")?))
        }
        false => None,
    };
    Ok(HostDecoderLayer {
        attention_norm: reader.take(&at("input_layernorm.weight"), &[hidden])?,
        query,
        key,
        value,
        head_norms,
        attention_output: reader.plain(&at("self_attn.o_proj"), queries, hidden)?,
        gate_norm: reader.take(&at("post_attention_layernorm.weight"), &[hidden])?,
        gate: reader.plain(&at("mlp.gate_proj"), hidden, wide)?,
        up: reader.plain(&at("mlp.up_proj"), hidden, wide)?,
        down: reader.plain(&at("mlp.down_proj"), wide, hidden)?,
    })
}
