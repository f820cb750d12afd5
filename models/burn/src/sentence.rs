//! How the model was trained to be used, from the files of sentence-transformers.

use headwater_models::{Pooling, Task};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::config::{Architecture, NetworkConfig};
use crate::folder::{Folder, MODULES, POOLING, SENTENCE};
use crate::{BurnSettings, LoadError};

/// The last steps after the encoder, settings and files taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) task: Task,
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

/// What modules.json says.
struct Modules {
    pooling_file: String,
    /// The file of a pooling over the words of the vocabulary.
    splade_file: Option<String>,
    normalise: bool,
}

impl Usage {
    /// Settings win over files. Pooling is never guessed: a wrong one gives plausible,
    /// worthless vectors.
    pub(crate) fn read(
        folder: &Folder,
        settings: &BurnSettings,
        config: &NetworkConfig,
    ) -> Result<Self, LoadError> {
        let modules = modules(folder)?;
        let pooling = match (config.own_pooling(), settings.pooling, &modules.splade_file) {
            (Some(own), Some(asked), _) if own != asked => {
                return Err(unsupported("pooling", asked.name(), own.name()));
            }
            (Some(own), _, _) => own,
            (None, Some(asked), _) => asked,
            (None, None, Some(file)) => splade_of(folder, file)?,
            (None, None, None) => pooling_of(folder, &modules.pooling_file)?,
        };
        let task = task_of(config, pooling)?;
        let max_tokens = max_tokens(folder, settings, config.max_positions())?;
        let normalise = match (task, settings.normalise) {
            (Task::Embed, Some(asked)) => asked,
            // CLIP compares by the cosine.
            (Task::Embed, None) => modules.normalise || matches!(config, NetworkConfig::Clip(_)),
            (_, Some(true)) => {
                let found = format!("true for a model that makes {} output", task.name());
                return Err(unsupported("normalise", &found, "false"));
            }
            (_, _) => false,
        };
        Ok(Usage { task, pooling, normalise, max_tokens })
    }
}

fn unsupported(field: &str, found: &str, allowed: &str) -> LoadError {
    LoadError::unsupported("settings", field, found, allowed)
}

fn task_of(config: &NetworkConfig, pooling: Pooling) -> Result<Task, LoadError> {
    match (config.architecture(), pooling) {
        (Architecture::Score, _) => Ok(Task::Rerank),
        (Architecture::Words, Pooling::Splade) => Ok(Task::Sparse),
        (_, Pooling::Splade) => {
            let allowed = "cls, mean or last_token: only a ...ForMaskedLM has logits for words";
            Err(unsupported("pooling", "splade", allowed))
        }
        _ => Ok(Task::Embed),
    }
}

fn max_tokens(
    folder: &Folder,
    settings: &BurnSettings,
    max_positions: usize,
) -> Result<usize, LoadError> {
    let max_tokens = match settings.max_tokens {
        Some(tokens) if tokens > max_positions => {
            let allowed = format!("3 to {max_positions}, the model's max_position_embeddings");
            return Err(unsupported("max_tokens", &tokens.to_string(), &allowed));
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
    Ok(max_tokens)
}

fn modules(folder: &Folder) -> Result<Modules, LoadError> {
    let mut found =
        Modules { pooling_file: POOLING.to_owned(), splade_file: None, normalise: false };
    let Some(modules) = folder.json_if_present::<Vec<Module>>(MODULES)? else {
        return Ok(found);
    };
    for module in modules {
        match module.kind.rsplit('.').next().unwrap_or_default() {
            "Transformer" | "MLMTransformer" if module.path.is_empty() => {}
            "Pooling" => found.pooling_file = format!("{}/config.json", module.path),
            "SpladePooling" => found.splade_file = Some(format!("{}/config.json", module.path)),
            "Normalize" => found.normalise = true,
            _ => {
                return Err(LoadError::unsupported(
                    MODULES,
                    "type",
                    format!("{:?} at path {:?}", module.kind, module.path),
                    "Transformer or MLMTransformer at the root, Pooling, SpladePooling, Normalize",
                ));
            }
        }
    }
    Ok(found)
}

/// The one kind of SPLADE pooling that is computed here; the file may leave it out.
fn splade_of(folder: &Folder, file: &str) -> Result<Pooling, LoadError> {
    let fields = folder.json_if_present::<Map<String, Value>>(file)?.unwrap_or_default();
    for (field, allowed) in [("pooling_strategy", "max"), ("activation_function", "relu")] {
        match fields.get(field) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) if text == allowed => {}
            Some(other) => {
                return Err(LoadError::unsupported(file, field, other.to_string(), allowed));
            }
        }
    }
    Ok(Pooling::Splade)
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
