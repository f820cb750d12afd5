//! The shape of a model, from its config.json.

use headwater_models::Pooling;
use serde_json::{Map, Value};

use crate::LoadError;
use crate::folder::{CONFIG, parse};

pub(crate) mod bert;
pub(crate) mod clip;
pub(crate) mod decoder;

pub(crate) use bert::BertConfig;
pub(crate) use clip::ClipConfig;
pub(crate) use decoder::DecoderConfig;

const FAMILIES: &str =
    "bert, roberta, xlm-roberta, distilbert, qwen2, qwen3, mistral, llama or clip";

/// The families of models that this adapter computes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum NetworkConfig {
    Bert(BertConfig),
    Decoder(DecoderConfig),
    Clip(ClipConfig),
}

/// What stands on top of the hidden states, by the first name in `architectures`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Architecture {
    /// The hidden states alone.
    Base,
    /// One number for a text or a pair of texts: a cross-encoder.
    Score,
    /// A logit for each word of the vocabulary.
    Words,
}

impl NetworkConfig {
    /// # Errors
    /// [`LoadError::Unsupported`] for another family or variant of model,
    /// [`LoadError::Malformed`] for an absent or impossible size.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, LoadError> {
        let fields = Fields { at: "", raw: parse(CONFIG, bytes)? };
        let Some(Value::String(family)) = fields.raw.get("model_type") else {
            let reason = format!("is absent; allowed: {FAMILIES}");
            return Err(LoadError::malformed(CONFIG, "model_type", reason));
        };
        match family.as_str() {
            "bert" | "roberta" | "xlm-roberta" | "distilbert" => {
                BertConfig::parse(&fields, family).map(NetworkConfig::Bert)
            }
            "qwen2" | "qwen3" | "mistral" | "llama" => {
                DecoderConfig::parse(&fields, family).map(NetworkConfig::Decoder)
            }
            "clip" => ClipConfig::parse(&fields).map(NetworkConfig::Clip),
            other => Err(LoadError::unsupported(CONFIG, "model_type", other, FAMILIES)),
        }
    }

    /// Longest text in tokens, special tokens counted.
    pub(crate) fn max_positions(&self) -> usize {
        match self {
            NetworkConfig::Bert(config) => config.max_positions,
            NetworkConfig::Decoder(config) => config.max_positions,
            NetworkConfig::Clip(config) => config.max_positions,
        }
    }

    pub(crate) fn vocabulary(&self) -> usize {
        match self {
            NetworkConfig::Bert(config) => config.vocabulary,
            NetworkConfig::Decoder(config) => config.vocabulary,
            NetworkConfig::Clip(config) => config.vocabulary,
        }
    }

    pub(crate) fn architecture(&self) -> Architecture {
        match self {
            NetworkConfig::Bert(config) => config.architecture,
            NetworkConfig::Decoder(_) | NetworkConfig::Clip(_) => Architecture::Base,
        }
    }

    /// The pooling that the family itself prescribes.
    pub(crate) fn own_pooling(&self) -> Option<Pooling> {
        match self {
            NetworkConfig::Bert(config) if config.architecture == Architecture::Score => {
                Some(Pooling::Cls)
            }
            // The end mark, which is the last token of a text as the tokenizer frames it.
            NetworkConfig::Clip(_) => Some(Pooling::LastToken),
            NetworkConfig::Bert(_) | NetworkConfig::Decoder(_) => None,
        }
    }

    /// Length of a vector, after pooling by the architecture's rule.
    pub(crate) fn dimensions(&self, pooling: Pooling) -> usize {
        match self {
            NetworkConfig::Bert(config) => match (config.architecture, pooling) {
                (Architecture::Score, _) => 1,
                (_, Pooling::Splade) => config.vocabulary,
                _ => config.hidden_size,
            },
            NetworkConfig::Decoder(config) => config.hidden_size,
            NetworkConfig::Clip(config) => config.dimensions,
        }
    }
}

/// The fields of config.json, or of one object inside it.
pub(crate) struct Fields {
    /// Where the object stands: empty, or for example `text_config.`.
    at: &'static str,
    raw: Map<String, Value>,
}

impl Fields {
    /// The object under `field`, whose own fields are named behind `at` in errors.
    fn inner(&self, field: &str, at: &'static str) -> Result<Fields, LoadError> {
        match self.raw.get(field) {
            Some(Value::Object(raw)) => Ok(Fields { at, raw: raw.clone() }),
            _ => Err(LoadError::malformed(CONFIG, field, "is no object")),
        }
    }

    /// The value under `field`; `null` counts as absent.
    fn get(&self, field: &str) -> Option<&Value> {
        self.raw.get(field).filter(|value| !value.is_null())
    }

    fn malformed(&self, field: &str, reason: impl Into<String>) -> LoadError {
        LoadError::malformed(CONFIG, &format!("{}{field}", self.at), reason)
    }

    fn unsupported(&self, field: &str, found: impl Into<String>, allowed: &str) -> LoadError {
        LoadError::unsupported(CONFIG, &format!("{}{field}", self.at), found, allowed)
    }

    /// The field is absent or one of the allowed texts; the first of these when absent.
    fn text(&self, field: &str, allowed: &[&'static str]) -> Result<&'static str, LoadError> {
        match self.get(field) {
            None => Ok(allowed[0]),
            Some(value) => allowed
                .iter()
                .find(|text| value.as_str() == Some(text))
                .copied()
                .ok_or_else(|| self.unsupported(field, value.to_string(), &allowed.join(", "))),
        }
    }

    /// None of these may be true.
    fn expect_false(&self, fields: &[&str]) -> Result<(), LoadError> {
        match fields.iter().find(|field| self.get(field) == Some(&Value::Bool(true))) {
            Some(field) => Err(self.unsupported(field, "true", "false")),
            None => Ok(()),
        }
    }

    fn size(&self, field: &str) -> Result<usize, LoadError> {
        self.size_or(field, None)
    }

    fn size_or(&self, field: &str, default: Option<usize>) -> Result<usize, LoadError> {
        // Far above any encoder, far below what would overflow a product of three sizes.
        const LARGEST: u64 = 1 << 24;
        match self.get(field).map(|value| (value, value.as_u64())) {
            Some((_, Some(number))) if (1..=LARGEST).contains(&number) => Ok(number as usize),
            Some((value, _)) => {
                let reason = format!("{value} is not a whole number from 1 to {LARGEST}");
                Err(self.malformed(field, reason))
            }
            None => default.ok_or_else(|| self.malformed(field, "is absent")),
        }
    }

    /// A number between 0 and 1.
    fn small(&self, field: &str) -> Result<f64, LoadError> {
        match self.get(field).map(|value| (value, value.as_f64())) {
            Some((_, Some(number))) if number > 0.0 && number < 1.0 => Ok(number),
            Some((value, _)) => {
                Err(self.malformed(field, format!("{value} is not between 0 and 1")))
            }
            None => Err(self.malformed(field, "is absent")),
        }
    }

    /// `heads` must divide `hidden`.
    fn check_heads(&self, field: &str, heads: usize, hidden: usize) -> Result<(), LoadError> {
        if hidden.is_multiple_of(heads) {
            return Ok(());
        }
        Err(self.malformed(field, format!("{heads} does not divide hidden_size {hidden}")))
    }

    fn architecture(&self) -> Result<Architecture, LoadError> {
        let first = self.get("architectures").and_then(|names| names.get(0));
        let name = first.and_then(Value::as_str).unwrap_or_default();
        if name.ends_with("ForMaskedLM") {
            return Ok(Architecture::Words);
        }
        if !name.ends_with("ForSequenceClassification") {
            return Ok(Architecture::Base);
        }
        let listed = self.get("id2label").and_then(Value::as_object).map(Map::len);
        let labels = match self.get("num_labels") {
            Some(_) => self.size("num_labels")?,
            // Two are what transformers takes when the file says nothing.
            None => listed.unwrap_or(2),
        };
        match labels {
            1 => Ok(Architecture::Score),
            _ => Err(self.unsupported("num_labels", labels.to_string(), "1, a cross-encoder")),
        }
    }
}
