//! `prompt.toml`: all of a prompt but its texts, in an order that reads well.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::document::{Model, Partial, Role, Variable, VariableType};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Chat,
    Text,
}

/// The version that the files come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    pub(super) version: u64,
    /// Of the document, as the node tells it: what push compares with.
    pub(super) sha256: String,
    /// When the version was asked for by a label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) label: Option<String>,
}

/// A message's text lies in a file of its own, named by its place and its role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MessageEntry {
    pub(super) role: Role,
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) final_newline: bool,
}

/// What `prompt.toml` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PromptFile {
    pub(super) kind: Kind,
    /// Whether the text ends with a new line. The one that ends the file is not part of the text:
    /// editors add and remove it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) final_newline: bool,
    /// JSON files, one for each tool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tools: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) messages: Vec<MessageEntry>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) model: ModelEntry,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) variables: BTreeMap<String, VariableEntry>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) partials: BTreeMap<String, Partial>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<Source>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ModelEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seed: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) stop: Vec<String>,
    /// A JSON file: schemas are JSON wherever they come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response_format: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct VariableEntry {
    #[serde(rename = "type")]
    value_type: VariableType,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_length: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<f64>,
    /// In place of `default`, for values that TOML has no words for, such as null in a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    default_json: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    values_json: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    values: Vec<toml::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<toml::Value>,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_default(model: &ModelEntry) -> bool {
    *model == ModelEntry::default()
}

impl ModelEntry {
    pub(super) fn of(model: &Model, response_format: Option<String>) -> ModelEntry {
        let Model { model, temperature, top_p, max_tokens, seed, stop, .. } = model.clone();
        ModelEntry { model, temperature, top_p, max_tokens, seed, stop, response_format }
    }
}

impl VariableEntry {
    pub(super) fn of(variable: &Variable) -> VariableEntry {
        let Variable { value_type, description, default, max_length, min, max, values } =
            variable.clone();
        let mut entry = VariableEntry {
            value_type,
            description,
            max_length,
            min,
            max,
            ..VariableEntry::default()
        };
        if let Some(default) = default {
            match to_toml(&default) {
                Some(value) => entry.default = Some(value),
                None => entry.default_json = Some(default.to_string()),
            }
        }
        match values.iter().map(to_toml).collect() {
            Some(values) => entry.values = values,
            None => entry.values_json = Some(Value::from(values).to_string()),
        }
        entry
    }

    /// # Errors
    /// The field that is wrong, and why.
    pub(super) fn variable(self) -> Result<Variable, (&'static str, String)> {
        let parse = |field: &'static str, text: &str| {
            serde_json::from_str::<Value>(text)
                .map_err(|error| (field, format!("is no JSON: {error}; mend it")))
        };
        let default = match (self.default, self.default_json) {
            (Some(_), Some(_)) => {
                return Err(("default_json", "stands beside default; give one of both".to_owned()));
            }
            (Some(value), None) => Some(to_json(value).map_err(|why| ("default", why))?),
            (None, Some(text)) => Some(parse("default_json", &text)?),
            (None, None) => None,
        };
        let values = match self.values_json {
            Some(_) if !self.values.is_empty() => {
                return Err(("values_json", "stands beside values; give one of both".to_owned()));
            }
            Some(text) => match parse("values_json", &text)? {
                Value::Array(values) => values,
                _ => return Err(("values_json", "is no list; write it in [ and ]".to_owned())),
            },
            None => {
                let values = self.values.into_iter().map(to_json);
                values.collect::<Result<_, _>>().map_err(|why| ("values", why))?
            }
        };
        Ok(Variable {
            value_type: self.value_type,
            description: self.description,
            default,
            max_length: self.max_length,
            min: self.min,
            max: self.max,
            values,
        })
    }
}

/// None for what TOML cannot hold: null, and whole numbers above those of 63 bits.
fn to_toml(value: &Value) -> Option<toml::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(flag) => toml::Value::Boolean(*flag),
        Value::Number(number) => match (number.as_i64(), number.is_u64()) {
            (Some(whole), _) => toml::Value::Integer(whole),
            (None, true) => return None,
            (None, false) => toml::Value::Float(number.as_f64()?),
        },
        Value::String(text) => toml::Value::String(text.clone()),
        Value::Array(values) => {
            toml::Value::Array(values.iter().map(to_toml).collect::<Option<_>>()?)
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| Some((name.clone(), to_toml(value)?)));
            toml::Value::Table(fields.collect::<Option<_>>()?)
        }
    })
}

fn to_json(value: toml::Value) -> Result<Value, String> {
    Ok(match value {
        toml::Value::Boolean(flag) => Value::Bool(flag),
        toml::Value::Integer(whole) => Value::from(whole),
        toml::Value::Float(number) if number.is_finite() => Value::from(number),
        toml::Value::Float(number) => {
            return Err(format!("holds {number}, which JSON has no number for; give another"));
        }
        toml::Value::Datetime(time) => {
            return Err(format!("holds the time {time}, which JSON has not; put it into quotes"));
        }
        toml::Value::String(text) => Value::String(text),
        toml::Value::Array(values) => {
            Value::Array(values.into_iter().map(to_json).collect::<Result<_, _>>()?)
        }
        toml::Value::Table(fields) => {
            let fields = fields.into_iter().map(|(name, value)| Ok((name, to_json(value)?)));
            Value::Object(fields.collect::<Result<_, String>>()?)
        }
    })
}

/// `prompt.toml` with another source, and all else as it stands: comments of people stay. None
/// when that cannot be told from the text.
pub(super) fn with_source(text: &str, source: &Source) -> Option<String> {
    let mut expected: PromptFile = toml::from_str(text).ok()?;
    expected.source = Some(source.clone());
    let section = toml::to_string(source).ok()?;
    let (mut kept, mut is_within) = (String::with_capacity(text.len()), false);
    let mut is_written = false;
    for line in text.split_inclusive('\n') {
        let bare = line.trim();
        if bare == "[source]" && !is_written {
            kept.push_str(&format!("[source]\n{section}"));
            (is_within, is_written) = (true, true);
        } else if is_within && (bare.starts_with('[') || bare.starts_with('#')) {
            is_within = false;
            kept.push('\n');
        }
        if !is_within {
            kept.push_str(line);
        }
    }
    if !is_written {
        let gap = if kept.is_empty() || kept.ends_with('\n') { "" } else { "\n" };
        kept.push_str(&format!("{gap}\n[source]\n{section}"));
    }
    // A text may hold what looks like a section: what was written must say what is meant.
    let said: PromptFile = toml::from_str(&kept).ok()?;
    (said == expected).then_some(kept)
}
