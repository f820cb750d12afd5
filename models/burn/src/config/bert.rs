//! BERT and its kin: RoBERTa, XLM-RoBERTa and DistilBERT.

use super::{Architecture, Fields};
use crate::LoadError;

/// Whose names the tensors bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    Bert,
    Roberta,
    Distilbert,
}

/// Sizes and constants of one encoder; names follow BERT's config.json.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BertConfig {
    pub(crate) names: Names,
    pub(crate) architecture: Architecture,
    pub(crate) hidden_size: usize,
    pub(crate) heads: usize,
    pub(crate) layers: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) layer_norm_eps: f64,
    /// Rows of the table of positions before the first token's: RoBERTa counts from the
    /// padding's id plus 1.
    pub(crate) first_position: usize,
    /// Positions from the first token's on.
    pub(crate) max_positions: usize,
    /// 0 in DistilBERT, which knows no token types.
    pub(crate) type_vocabulary: usize,
    pub(crate) vocabulary: usize,
}

/// DistilBERT's config.json has no field for it.
const DISTILBERT_EPSILON: f64 = 1e-12;

impl BertConfig {
    pub(super) fn parse(fields: &Fields, family: &str) -> Result<Self, LoadError> {
        fields.expect_false(&["is_decoder", "add_cross_attention", "sinusoidal_pos_embds"])?;
        let config = match family {
            "distilbert" => Self::distilbert(fields)?,
            "bert" => Self::bert(fields, Names::Bert, 0)?,
            _ => {
                let padding = fields.size_or("pad_token_id", Some(1))?;
                Self::bert(fields, Names::Roberta, padding + 1)?
            }
        };
        let heads = if config.names == Names::Distilbert { "n_heads" } else { HEADS };
        fields.check_heads(heads, config.heads, config.hidden_size)?;
        Ok(config)
    }

    fn bert(fields: &Fields, names: Names, first_position: usize) -> Result<Self, LoadError> {
        fields.text("hidden_act", &["gelu"])?;
        fields.text("position_embedding_type", &["absolute"])?;
        Ok(BertConfig {
            names,
            architecture: fields.architecture()?,
            hidden_size: fields.size("hidden_size")?,
            heads: fields.size(HEADS)?,
            layers: fields.size("num_hidden_layers")?,
            intermediate_size: fields.size("intermediate_size")?,
            layer_norm_eps: fields.small("layer_norm_eps")?,
            first_position,
            max_positions: positions(fields, first_position)?,
            type_vocabulary: fields.size("type_vocab_size")?,
            vocabulary: fields.size("vocab_size")?,
        })
    }

    fn distilbert(fields: &Fields) -> Result<Self, LoadError> {
        fields.text("activation", &["gelu"])?;
        Ok(BertConfig {
            names: Names::Distilbert,
            architecture: fields.architecture()?,
            hidden_size: fields.size("dim")?,
            heads: fields.size("n_heads")?,
            layers: fields.size("n_layers")?,
            intermediate_size: fields.size("hidden_dim")?,
            layer_norm_eps: DISTILBERT_EPSILON,
            first_position: 0,
            max_positions: positions(fields, 0)?,
            type_vocabulary: 0,
            vocabulary: fields.size("vocab_size")?,
        })
    }
}

const HEADS: &str = "num_attention_heads";

fn positions(fields: &Fields, first: usize) -> Result<usize, LoadError> {
    let field = "max_position_embeddings";
    let table = fields.size(field)?;
    table.checked_sub(first).filter(|left| *left > 0).ok_or_else(|| {
        let reason = format!("{table} leaves no position: the first is pad_token_id + 1, {first}");
        fields.malformed(field, reason)
    })
}
