//! The shape of a BERT encoder, from its config.json.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::LoadError;
use crate::folder::{CONFIG, parse};

/// Sizes and constants of one BERT encoder; names follow config.json.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BertConfig {
    pub(crate) hidden_size: usize,
    pub(crate) heads: usize,
    pub(crate) layers: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) layer_norm_eps: f64,
    pub(crate) max_positions: usize,
    pub(crate) type_vocabulary: usize,
    pub(crate) vocabulary: usize,
}

#[derive(Deserialize)]
struct Raw {
    model_type: Option<String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl BertConfig {
    /// # Errors
    /// [`LoadError::Unsupported`] for another family or variant of model,
    /// [`LoadError::Malformed`] for an absent or impossible size.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, LoadError> {
        let raw: Raw = parse(CONFIG, bytes)?;
        let model_type = raw.model_type.ok_or_else(|| {
            LoadError::malformed(CONFIG, "model_type", "is absent; allowed: bert")
        })?;
        if model_type != "bert" {
            return Err(LoadError::unsupported(CONFIG, "model_type", model_type, "bert"));
        }
        expect_text(&raw.rest, "hidden_act", "gelu")?;
        expect_text(&raw.rest, "position_embedding_type", "absolute")?;
        for field in ["is_decoder", "add_cross_attention"] {
            if raw.rest.get(field) == Some(&Value::Bool(true)) {
                return Err(LoadError::unsupported(CONFIG, field, "true", "false"));
            }
        }
        let config = BertConfig {
            hidden_size: size(&raw.rest, "hidden_size")?,
            heads: size(&raw.rest, "num_attention_heads")?,
            layers: size(&raw.rest, "num_hidden_layers")?,
            intermediate_size: size(&raw.rest, "intermediate_size")?,
            layer_norm_eps: positive(&raw.rest, "layer_norm_eps")?,
            max_positions: size(&raw.rest, "max_position_embeddings")?,
            type_vocabulary: size(&raw.rest, "type_vocab_size")?,
            vocabulary: size(&raw.rest, "vocab_size")?,
        };
        if !config.hidden_size.is_multiple_of(config.heads) {
            let reason =
                format!("{} does not divide hidden_size {}", config.heads, config.hidden_size);
            return Err(LoadError::malformed(CONFIG, "num_attention_heads", reason));
        }
        Ok(config)
    }
}

fn expect_text(raw: &Map<String, Value>, field: &str, allowed: &str) -> Result<(), LoadError> {
    match raw.get(field) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(text)) if text == allowed => Ok(()),
        Some(other) => Err(LoadError::unsupported(CONFIG, field, other.to_string(), allowed)),
    }
}

fn size(raw: &Map<String, Value>, field: &str) -> Result<usize, LoadError> {
    // Far above any encoder, far below what would overflow a product of three sizes.
    const LARGEST: u64 = 1 << 24;
    match raw.get(field).map(|value| (value, value.as_u64())) {
        Some((_, Some(number))) if (1..=LARGEST).contains(&number) => Ok(number as usize),
        Some((value, _)) => Err(LoadError::malformed(
            CONFIG,
            field,
            format!("{value} is not a whole number from 1 to {LARGEST}"),
        )),
        None => Err(LoadError::malformed(CONFIG, field, "is absent")),
    }
}

fn positive(raw: &Map<String, Value>, field: &str) -> Result<f64, LoadError> {
    match raw.get(field).map(|value| (value, value.as_f64())) {
        Some((_, Some(number))) if number > 0.0 && number < 1.0 => Ok(number),
        Some((value, _)) => {
            Err(LoadError::malformed(CONFIG, field, format!("{value} is not between 0 and 1")))
        }
        None => Err(LoadError::malformed(CONFIG, field, "is absent")),
    }
}
