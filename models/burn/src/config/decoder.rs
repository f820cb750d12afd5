//! Decoders used as encoders: the shape of Llama, Mistral, Qwen2 and Qwen3.

use serde_json::Value;

use super::Fields;
use crate::LoadError;

/// Sizes and constants of one decoder; names follow config.json.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DecoderConfig {
    pub(crate) hidden_size: usize,
    pub(crate) heads: Heads,
    pub(crate) layers: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) rms_norm_eps: f64,
    /// Base of the wavelengths of the rotary position encoding.
    pub(crate) rope_theta: f64,
    pub(crate) max_positions: usize,
    pub(crate) vocabulary: usize,
    /// Whether query, key and value have a bias, as in Qwen2.
    pub(crate) attention_bias: bool,
    /// Whether every head's query and key is normalised, as in Qwen3.
    pub(crate) head_norm: bool,
}

/// Heads of a grouped-query attention: each key and value serves several queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heads {
    pub(crate) queries: usize,
    /// Divides `queries`.
    pub(crate) keys: usize,
    /// Length of one head's query.
    pub(crate) size: usize,
}

/// What transformers takes when config.json says nothing.
const DEFAULT_THETA: f64 = 10_000.0;

impl DecoderConfig {
    pub(super) fn parse(fields: &Fields, family: &str) -> Result<Self, LoadError> {
        fields.text("hidden_act", &["silu"])?;
        fields.expect_false(&["attention_bias", "mlp_bias"])?;
        if fields.get("is_causal") == Some(&Value::Bool(false)) {
            return Err(fields.unsupported("is_causal", "false", "true"));
        }
        let hidden_size = fields.size("hidden_size")?;
        Ok(DecoderConfig {
            hidden_size,
            heads: heads(fields, hidden_size)?,
            layers: fields.size("num_hidden_layers")?,
            intermediate_size: fields.size("intermediate_size")?,
            rms_norm_eps: fields.small("rms_norm_eps")?,
            rope_theta: rope_theta(fields)?,
            max_positions: positions(fields, family)?,
            vocabulary: fields.size("vocab_size")?,
            attention_bias: family == "qwen2",
            head_norm: family == "qwen3",
        })
    }
}

fn heads(fields: &Fields, hidden: usize) -> Result<Heads, LoadError> {
    let queries = fields.size("num_attention_heads")?;
    let keys = fields.size_or("num_key_value_heads", Some(queries))?;
    if !queries.is_multiple_of(keys) {
        let reason = format!("{keys} does not divide num_attention_heads {queries}");
        return Err(fields.malformed("num_key_value_heads", reason));
    }
    let size = match fields.get("head_dim") {
        Some(_) => fields.size("head_dim")?,
        None => {
            fields.check_heads("num_attention_heads", queries, hidden)?;
            hidden / queries
        }
    };
    if !size.is_multiple_of(2) {
        let reason = format!("{size} is odd; the rotary encoding turns pairs");
        return Err(fields.malformed("head_dim", reason));
    }
    Ok(Heads { queries, keys, size })
}

/// Stands in `rope_parameters` since transformers 5 and beside it before.
fn rope_theta(fields: &Fields) -> Result<f64, LoadError> {
    let mut theta = fields.get("rope_theta");
    for field in ["rope_parameters", "rope_scaling"] {
        let Some(inner) = fields.get(field) else { continue };
        let kind = inner.get("rope_type").or_else(|| inner.get("type"));
        let kind = kind.and_then(Value::as_str).unwrap_or("default");
        if kind != "default" {
            return Err(fields.unsupported(field, kind, "default, without any scaling"));
        }
        theta = inner.get("rope_theta").or(theta);
    }
    match theta.map(|value| (value, value.as_f64())) {
        None => Ok(DEFAULT_THETA),
        Some((_, Some(number))) if number >= 1.0 && number.is_finite() => Ok(number),
        Some((value, _)) => {
            Err(fields.malformed("rope_theta", format!("{value} is not a number above 1")))
        }
    }
}

/// A text no longer than the sliding window sees all of itself, so that the window can bound
/// the texts instead of the attention.
fn positions(fields: &Fields, family: &str) -> Result<usize, LoadError> {
    let table = fields.size("max_position_embeddings")?;
    let slides = family == "mistral" || fields.get("use_sliding_window") == Some(&true.into());
    let window = if slides { fields.size_or("sliding_window", Some(table))? } else { table };
    Ok(table.min(window))
}
