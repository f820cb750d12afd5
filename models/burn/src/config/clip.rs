//! CLIP: a tower for texts and a tower for images, into one space.

use super::Fields;
use crate::LoadError;

/// Sizes and constants of both towers; names follow config.json.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ClipConfig {
    pub(crate) text: TowerConfig,
    pub(crate) image: TowerConfig,
    /// Length of a vector (`projection_dim`).
    pub(crate) dimensions: usize,
    pub(crate) vocabulary: usize,
    /// Longest text in tokens.
    pub(crate) max_positions: usize,
    /// The id whose state stands for the text.
    pub(crate) end: EndMark,
    /// Height and width of an image in pixels.
    pub(crate) image_size: usize,
    /// Height and width of a patch in pixels.
    pub(crate) patch_size: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TowerConfig {
    pub(crate) hidden_size: usize,
    pub(crate) heads: usize,
    pub(crate) layers: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) layer_norm_eps: f64,
    pub(crate) activation: Activation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// `x · σ(1.702 x)`, as OpenAI's weights use.
    QuickGelu,
    Gelu,
}

/// Where the state of a text is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndMark {
    /// The first token of this id.
    Id(u32),
    /// The first token of the highest id: OpenAI's files name a wrong `eos_token_id`, 2.
    Highest,
}

/// What the first files of CLIP name, and not the id of their end mark.
const WRONG_END: u64 = 2;

impl ClipConfig {
    pub(super) fn parse(fields: &Fields) -> Result<Self, LoadError> {
        let text = fields.inner("text_config", "text_config.")?;
        let image = fields.inner("vision_config", "vision_config.")?;
        let channels = image.size_or("num_channels", Some(3))?;
        if channels != 3 {
            return Err(image.unsupported("num_channels", channels.to_string(), "3"));
        }
        let (image_size, patch_size) = (image.size("image_size")?, image.size("patch_size")?);
        if !image_size.is_multiple_of(patch_size) {
            let reason = format!("{patch_size} does not divide image_size {image_size}");
            return Err(image.malformed("patch_size", reason));
        }
        let end = match text.get("eos_token_id").and_then(serde_json::Value::as_u64) {
            None | Some(WRONG_END) => EndMark::Highest,
            Some(id) => EndMark::Id(u32::try_from(id).unwrap_or(u32::MAX)),
        };
        Ok(ClipConfig {
            dimensions: fields.size_or("projection_dim", Some(512))?,
            vocabulary: text.size_or("vocab_size", Some(49_408))?,
            max_positions: text.size_or("max_position_embeddings", Some(77))?,
            end,
            image_size,
            patch_size,
            text: TowerConfig::parse(&text, [512, 8, 12, 2048])?,
            image: TowerConfig::parse(&image, [768, 12, 12, 3072])?,
        })
    }

    /// Patches of an image and the class token.
    pub(crate) fn image_tokens(&self) -> usize {
        (self.image_size / self.patch_size).pow(2) + 1
    }
}

impl TowerConfig {
    /// `defaults` are those of transformers, for the hidden size, heads, layers and the inner
    /// size: older files leave them out.
    fn parse(fields: &Fields, defaults: [usize; 4]) -> Result<Self, LoadError> {
        let [hidden, heads, layers, inner] = defaults.map(Some);
        let activation = fields.text("hidden_act", &["quick_gelu", "gelu"])?;
        let config = TowerConfig {
            hidden_size: fields.size_or("hidden_size", hidden)?,
            heads: fields.size_or("num_attention_heads", heads)?,
            layers: fields.size_or("num_hidden_layers", layers)?,
            intermediate_size: fields.size_or("intermediate_size", inner)?,
            layer_norm_eps: match fields.get("layer_norm_eps") {
                Some(_) => fields.small("layer_norm_eps")?,
                None => 1e-5,
            },
            activation: match activation {
                "gelu" => Activation::Gelu,
                _ => Activation::QuickGelu,
            },
        };
        fields.check_heads("num_attention_heads", config.heads, config.hidden_size)?;
        Ok(config)
    }
}
