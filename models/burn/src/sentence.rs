//! How the model was trained to be used, from the files of sentence-transformers.

use headwater_models::Pooling;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::folder::{Folder, MODULES, POOLING, SENTENCE};
use crate::{BurnSettings, LoadError};

/// The last steps after the encoder, settings and files taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) pooling: Pooling,
    pub(crate) normalise: bool,
    /// Longest input in tokens, special tokens counted.
    pub(crate) max_tokens: usize,
}

#[derive(Deserialize)]
struct Module {
    #[serde(default)]
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Lengths {
    max_seq_length: Option<usize>,
}

const ALLOWED_POOLING: &str = "cls, mean or lasttoken, one of them";

impl Usage {
    /// Settings win over files. Pooling is never guessed: a wrong one gives plausible,
    /// worthless vectors.
    pub(crate) fn read(
        folder: &Folder,
        settings: &BurnSettings,
        max_positions: usize,
    ) -> Result<Self, LoadError> {
        let (pooling_file, normalise) = modules(folder)?;
        let pooling = match settings.pooling {
            Some(pooling) => pooling,
            None => pooling_of(folder, &pooling_file)?,
        };
        let max_tokens = match settings.max_tokens {
            Some(tokens) if tokens > max_positions => {
                return Err(LoadError::unsupported(
                    "settings",
                    "max_tokens",
                    tokens.to_string(),
                    format!("3 to {max_positions}, the model's max_position_embeddings"),
                ));
            }
            Some(tokens) => tokens,
            None => {
                let lengths: Option<Lengths> = folder.json_if_present(SENTENCE)?;
                let limit = lengths.and_then(|lengths| lengths.max_seq_length);
                limit.unwrap_or(max_positions).min(max_positions)
            }
        };
        if max_tokens < 3 {
            let reason = format!("{max_tokens} leaves no room between the special tokens");
            return Err(LoadError::malformed("settings", "max_tokens", reason));
        }
        Ok(Usage { pooling, normalise: settings.normalise.unwrap_or(normalise), max_tokens })
    }
}

/// The place of the pooling file, and whether the vectors are scaled to length 1.
fn modules(folder: &Folder) -> Result<(String, bool), LoadError> {
    let Some(modules) = folder.json_if_present::<Vec<Module>>(MODULES)? else {
        return Ok((POOLING.to_owned(), false));
    };
    let mut pooling_file = POOLING.to_owned();
    let mut normalise = false;
    for module in modules {
        match module.kind.rsplit('.').next().unwrap_or_default() {
            "Transformer" if module.path.is_empty() => {}
            "Pooling" => pooling_file = format!("{}/config.json", module.path),
            "Normalize" => normalise = true,
            _ => {
                return Err(LoadError::unsupported(
                    MODULES,
                    "type",
                    format!("{:?} at path {:?}", module.kind, module.path),
                    "Transformer at the root, Pooling, Normalize",
                ));
            }
        }
    }
    Ok((pooling_file, normalise))
}

fn pooling_of(folder: &Folder, file: &str) -> Result<Pooling, LoadError> {
    let Some(fields) = folder.json_if_present::<Map<String, Value>>(file)? else {
        return Err(LoadError::Missing {
            file: file.to_owned(),
            reason: format!("it is absent; set pooling to {ALLOWED_POOLING}"),
        });
    };
    if fields.get("include_prompt") == Some(&Value::Bool(false)) {
        return Err(LoadError::unsupported(file, "include_prompt", "false", "true"));
    }
    let modes = pooling_modes(&fields);
    match modes.as_slice() {
        ["cls"] => Ok(Pooling::Cls),
        ["mean"] => Ok(Pooling::Mean),
        ["lasttoken"] => Ok(Pooling::LastToken),
        [] => Err(LoadError::malformed(
            file,
            "pooling_mode",
            format!("names no mode; allowed: {ALLOWED_POOLING}"),
        )),
        _ => Err(LoadError::unsupported(file, "pooling_mode", modes.join("+"), ALLOWED_POOLING)),
    }
}

/// Newer files name the modes in one field, older ones have a flag for each.
fn pooling_modes(fields: &Map<String, Value>) -> Vec<&str> {
    match fields.get("pooling_mode") {
        Some(Value::String(mode)) => vec![mode],
        Some(Value::Array(modes)) => modes.iter().filter_map(Value::as_str).collect(),
        _ => fields
            .iter()
            .filter(|(_, value)| **value == Value::Bool(true))
            .filter_map(|(field, _)| field.strip_prefix("pooling_mode_"))
            .map(|mode| match mode {
                "cls_token" => "cls",
                "mean_tokens" => "mean",
                other => other,
            })
            .collect(),
    }
}
