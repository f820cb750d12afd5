//! What a version of a prompt says. It is serialised here, not at the edge: the canonical JSON of
//! a document is what its hash is of, in every store, export and protocol.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::name::{NAME_RULE, is_prompt_name, is_variable_name};
use crate::problem::Problem;
use crate::variable::Variable;

/// Bytes of the largest document, as JSON.
pub const DOCUMENT_BYTES: usize = 1_000_000;
/// Most messages.
const MESSAGES: usize = 200;
/// Most variables, partials or tools.
const ITEMS: usize = 200;

/// Who says a message of a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    System,
    User,
    Assistant,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        }
    }
}

/// One message; its content is a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageTemplate {
    pub role: Role,
    pub content: String,
}

/// Another prompt's text, at one of its versions for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partial {
    pub prompt: String,
    pub version: u64,
}

/// A function that the model may call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolSchema {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A JSON schema of an object.
    pub parameters: Map<String, Value>,
}

/// How the model is asked; what a request says itself goes before it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSettings {
    /// The gateway's name of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// 0 to 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// As OpenAI's field of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_format: Option<Map<String, Value>>,
}

/// A version's content: either `messages` or `text`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PromptDocument {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<MessageTemplate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, Variable>,
    /// By the name that `{% include "name" %}` has.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub partials: BTreeMap<String, Partial>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolSchema>,
    #[serde(skip_serializing_if = "is_default")]
    pub model: ModelSettings,
}

fn is_default(settings: &ModelSettings) -> bool {
    *settings == ModelSettings::default()
}

impl PromptDocument {
    /// Compact JSON with sorted keys: what is stored and hashed.
    pub fn canonical(&self) -> String {
        // Maps here are sorted, and a value of serde_json is so without its `preserve_order`.
        let value = serde_json::to_value(self).unwrap_or_default();
        value.to_string()
    }

    /// Hex SHA-256 of [`PromptDocument::canonical`].
    pub fn sha256(&self) -> String {
        hex(&Sha256::digest(self.canonical().as_bytes()))
    }

    /// Every text that a template engine reads, with the field that it stands in.
    pub fn templates(&self) -> Vec<(String, &str)> {
        let messages = self.messages.iter().enumerate();
        let messages =
            messages.map(|(place, message)| (content_field(place), message.content.as_str()));
        messages.chain(self.text.iter().map(|text| ("text".to_owned(), text.as_str()))).collect()
    }

    /// Checks all that needs no other prompt and no template engine.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn check(&self) -> Result<(), Problem> {
        let bytes = self.canonical().len();
        if bytes > DOCUMENT_BYTES {
            let problem =
                format!("has {bytes} bytes as JSON; at most {DOCUMENT_BYTES} are allowed");
            return Err(Problem::new("document", problem));
        }
        self.check_texts()?;
        let lists = [
            ("messages", self.messages.len(), MESSAGES),
            ("variables", self.variables.len(), ITEMS),
            ("partials", self.partials.len(), ITEMS),
            ("tools", self.tools.len(), ITEMS),
        ];
        for (field, given, most) in lists {
            if given > most {
                return Err(Problem::new(
                    field,
                    format!("has {given} entries; at most {most} are allowed"),
                ));
            }
        }
        for (name, variable) in &self.variables {
            let field = format!("variables.{name}");
            if !is_variable_name(name) || name == "secret" {
                let rule = "is no name of a variable: 1 to 64 letters, digits and '_', beginning with none of the digits, and not 'secret'";
                return Err(Problem::new(field, rule));
            }
            variable.check(&field)?;
        }
        for (name, partial) in &self.partials {
            let field = format!("partials.{name}");
            if !is_variable_name(name) {
                let rule = "is no name of a partial: 1 to 64 letters, digits and '_', beginning with none of the digits";
                return Err(Problem::new(field, rule));
            }
            if !is_prompt_name(&partial.prompt) {
                return Err(Problem::new(
                    format!("{field}.prompt"),
                    format!("must be {NAME_RULE}"),
                ));
            }
        }
        self.check_tools()?;
        self.model.check()
    }

    fn check_texts(&self) -> Result<(), Problem> {
        match (&self.text, self.messages.is_empty()) {
            (None, true) => {
                Err(Problem::new("messages", "is missing; give messages for a chat, or text"))
            }
            (Some(_), false) => {
                Err(Problem::new("text", "stands beside messages; give one of both"))
            }
            (Some(text), true) if text.trim().is_empty() => {
                Err(Problem::new("text", "is empty; an empty prompt is never served"))
            }
            _ => {
                let empty =
                    self.messages.iter().position(|message| message.content.trim().is_empty());
                let refused = |place| {
                    Problem::new(
                        content_field(place),
                        "is empty; write it, or leave the message out",
                    )
                };
                empty.map_or(Ok(()), |place| Err(refused(place)))
            }
        }
    }

    fn check_tools(&self) -> Result<(), Problem> {
        for (place, tool) in self.tools.iter().enumerate() {
            let field = format!("tools[{place}]");
            let is_name = |one: char| one.is_ascii_alphanumeric() || one == '_' || one == '-';
            if tool.name.is_empty() || tool.name.len() > 64 || !tool.name.chars().all(is_name) {
                let rule = "must be 1 to 64 letters, digits, '_' and '-'";
                return Err(Problem::new(format!("{field}.name"), rule));
            }
            if self.tools.iter().take(place).any(|before| before.name == tool.name) {
                return Err(Problem::new(
                    format!("{field}.name"),
                    "stands twice; each tool has a name of its own",
                ));
            }
            if tool.parameters.get("type").is_some_and(|kind| kind != "object") {
                let rule = "must be a JSON schema of the type object";
                return Err(Problem::new(format!("{field}.parameters"), rule));
            }
        }
        Ok(())
    }
}

impl ModelSettings {
    fn check(&self) -> Result<(), Problem> {
        let within =
            |value: Option<f64>, most: f64| value.is_none_or(|value| (0.0..=most).contains(&value));
        if !within(self.temperature, 2.0) {
            return Err(Problem::new("model.temperature", "must be 0 to 2"));
        }
        if !within(self.top_p, 1.0) {
            return Err(Problem::new("model.top_p", "must be 0 to 1"));
        }
        if self.max_tokens == Some(0) {
            return Err(Problem::new(
                "model.max_tokens",
                "must be at least 1; leave it out for no limit",
            ));
        }
        if self.stop.len() > 16 || self.stop.iter().any(String::is_empty) {
            return Err(Problem::new(
                "model.stop",
                "must be at most 16 strings, none of them empty",
            ));
        }
        if self.model.as_ref().is_some_and(String::is_empty) {
            return Err(Problem::new(
                "model.model",
                "is empty; name a model of the gateway, or leave it out",
            ));
        }
        Ok(())
    }
}

fn content_field(place: usize) -> String {
    format!("messages[{place}].content")
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
