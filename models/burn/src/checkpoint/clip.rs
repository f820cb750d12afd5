//! The tensors of CLIP's two towers.

use safetensors::tensor::SafeTensors;

use super::{HostLinear, HostNorm, HostTensor, Reader};
use crate::LoadError;
use crate::config::ClipConfig;
use crate::config::clip::TowerConfig;

/// One layer, normalised before each of its halves.
#[derive(Debug, Clone)]
pub(crate) struct HostBlock {
    pub(crate) attention_norm: HostNorm,
    pub(crate) query: HostLinear,
    pub(crate) key: HostLinear,
    pub(crate) value: HostLinear,
    pub(crate) attention_output: HostLinear,
    pub(crate) wide_norm: HostNorm,
    pub(crate) intermediate: HostLinear,
    pub(crate) output: HostLinear,
}

#[derive(Debug, Clone)]
pub(crate) struct HostTower {
    pub(crate) layers: Vec<HostBlock>,
    pub(crate) last_norm: HostNorm,
    /// Into the space that both towers share.
    pub(crate) projection: HostLinear,
}

#[derive(Debug, Clone)]
pub(crate) struct HostClip {
    /// `[vocabulary, hidden]`.
    pub(crate) words: HostTensor,
    /// `[max_positions, hidden]`.
    pub(crate) positions: HostTensor,
    pub(crate) text: HostTower,
    /// From a patch, shape `[3, height, width]` row by row, to its state.
    pub(crate) patches: HostLinear,
    /// `[1 + patches, hidden]`: of the class token, its state added, and of every patch.
    pub(crate) places: HostTensor,
    pub(crate) first_norm: HostNorm,
    pub(crate) image: HostTower,
}

impl HostClip {
    pub(super) fn parse(file: &SafeTensors<'_>, config: &ClipConfig) -> Result<Self, LoadError> {
        let mut reader = Reader::new(file, "clip.")?;
        let (text, image) = (config.text.hidden_size, config.image.hidden_size);
        let weights = HostClip {
            words: reader
                .take("text_model.embeddings.token_embedding.weight", &[config.vocabulary, text])?,
            positions: reader.take(
                "text_model.embeddings.position_embedding.weight",
                &[config.max_positions, text],
            )?,
            text: HostTower {
                layers: layers(&mut reader, "text_model", &config.text)?,
                last_norm: reader.norm("text_model.final_layer_norm", text)?,
                projection: reader.plain("text_projection", text, config.dimensions)?,
            },
            patches: patches(&mut reader, config)?,
            places: places(&mut reader, config)?,
            // Spelled so by its authors.
            first_norm: reader.norm("vision_model.pre_layrnorm", image)?,
            image: HostTower {
                layers: layers(&mut reader, "vision_model", &config.image)?,
                last_norm: reader.norm("vision_model.post_layernorm", image)?,
                projection: reader.plain("visual_projection", image, config.dimensions)?,
            },
        };
        let unused = [
            "logit_scale",
            "text_model.embeddings.position_ids",
            "vision_model.embeddings.position_ids",
        ];
        reader.finish("a CLIP", &unused)?;
        Ok(weights)
    }
}

/// A convolution whose steps are as long as its window is a matrix product.
fn patches(reader: &mut Reader<'_>, config: &ClipConfig) -> Result<HostLinear, LoadError> {
    let (hidden, side) = (config.image.hidden_size, config.patch_size);
    let name = "vision_model.embeddings.patch_embedding.weight";
    let mut weight = reader.take(name, &[hidden, 3, side, side])?;
    weight.shape = vec![hidden, 3 * side * side];
    Ok(HostLinear { weight, bias: HostTensor { shape: vec![hidden], values: vec![0.0; hidden] } })
}

fn places(reader: &mut Reader<'_>, config: &ClipConfig) -> Result<HostTensor, LoadError> {
    let hidden = config.image.hidden_size;
    let class = reader.take("vision_model.embeddings.class_embedding", &[hidden])?;
    let name = "vision_model.embeddings.position_embedding.weight";
    let mut table = reader.take(name, &[config.image_tokens(), hidden])?;
    for (value, addend) in table.values.iter_mut().zip(&class.values) {
        *value += addend;
    }
    Ok(table)
}

fn layers(
    reader: &mut Reader<'_>,
    tower: &str,
    config: &TowerConfig,
) -> Result<Vec<HostBlock>, LoadError> {
    let (hidden, wide) = (config.hidden_size, config.intermediate_size);
    let mut layer = |index: usize| {
        let at = |part: &str| format!("{tower}.encoder.layers.{index}.{part}");
        Ok(HostBlock {
            attention_norm: reader.norm(&at("layer_norm1"), hidden)?,
            query: reader.linear(&at("self_attn.q_proj"), hidden, hidden)?,
            key: reader.linear(&at("self_attn.k_proj"), hidden, hidden)?,
            value: reader.linear(&at("self_attn.v_proj"), hidden, hidden)?,
            attention_output: reader.linear(&at("self_attn.out_proj"), hidden, hidden)?,
            wide_norm: reader.norm(&at("layer_norm2"), hidden)?,
            intermediate: reader.linear(&at("mlp.fc1"), hidden, wide)?,
            output: reader.linear(&at("mlp.fc2"), wide, hidden)?,
        })
    };
    (0..config.layers).map(&mut layer).collect()
}
