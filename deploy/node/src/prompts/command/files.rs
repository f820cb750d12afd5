//! A document as files that people edit and git compares well.

use std::collections::BTreeMap;

use serde::Serialize;

use super::document::{Document, Role};
use super::prompt_file::{Kind, MessageEntry, ModelEntry, PromptFile, Source, VariableEntry};
use crate::failure::Failure;

pub(super) const PROMPT_FILE: &str = "prompt.toml";
pub(super) const TEXT_FILE: &str = "text.md";
const RESPONSE_FORMAT_FILE: &str = "response_format.json";

/// Texts by their paths within the prompt's folder.
pub(super) type Files = BTreeMap<String, String>;

/// The file of the message at this place, from 0.
pub(super) fn message_file(place: usize, role: Role) -> String {
    format!("{}-{}.md", place + 1, role.name())
}

/// Whether a file of this name can only be a message or a text.
pub(super) fn is_text_file(name: &str) -> bool {
    let is_message = |stem: &str| {
        stem.split_once('-').is_some_and(|(number, role)| {
            !number.is_empty()
                && number.bytes().all(|byte| byte.is_ascii_digit())
                && ["system", "user", "assistant"].contains(&role)
        })
    };
    name == TEXT_FILE || name.strip_suffix(".md").is_some_and(is_message)
}

/// What a text's file holds: a last line without an end would lie badly in git.
fn ended(text: &str) -> (String, bool) {
    let final_newline = text.ends_with('\n');
    (if final_newline { text.to_owned() } else { format!("{text}\n") }, final_newline)
}

/// The text of a file; [`ended`] backwards.
pub(super) fn text_of(file: &str, final_newline: bool) -> String {
    let text = file.strip_suffix('\n').unwrap_or(file);
    if final_newline { format!("{text}\n") } else { text.to_owned() }
}

/// All files of a prompt.
///
/// # Errors
/// When a number is too large for TOML.
pub(super) fn files_of(document: &Document, source: Option<&Source>) -> Result<Files, Failure> {
    let mut files = Files::new();
    let (mut messages, mut text_ends) = (Vec::new(), false);
    for (place, message) in document.messages.iter().enumerate() {
        let (text, final_newline) = ended(&message.content);
        files.insert(message_file(place, message.role), text);
        messages.push(MessageEntry { role: message.role, final_newline });
    }
    if let Some(text) = &document.text {
        let (text, final_newline) = ended(text);
        files.insert(TEXT_FILE.to_owned(), text);
        text_ends = final_newline;
    }
    let mut tools: Vec<String> = Vec::new();
    for tool in &document.tools {
        let path = tool_file(&tool.name, &tools);
        files.insert(path.clone(), pretty(tool)?);
        tools.push(path);
    }
    let mut response_format = None;
    if let Some(format) = &document.model.response_format {
        files.insert(RESPONSE_FORMAT_FILE.to_owned(), pretty(format)?);
        response_format = Some(RESPONSE_FORMAT_FILE.to_owned());
    }
    let variables = document.variables.iter();
    let file = PromptFile {
        kind: if document.text.is_some() { Kind::Text } else { Kind::Chat },
        final_newline: text_ends,
        tools,
        messages,
        model: ModelEntry::of(&document.model, response_format),
        variables: variables
            .map(|(name, variable)| (name.clone(), VariableEntry::of(variable)))
            .collect(),
        partials: document.partials.clone(),
        source: source.cloned(),
    };
    let text = toml::to_string_pretty(&file).map_err(|error| {
        Failure::broken(format!("the document cannot be written as TOML: {error}"))
    })?;
    files.insert(PROMPT_FILE.to_owned(), text);
    Ok(files)
}

/// Names of tools may differ in nothing but the case of their letters, which some file systems do
/// not tell apart.
fn tool_file(name: &str, taken: &[String]) -> String {
    let is_plain = |one: char| one.is_ascii_alphanumeric() || one == '_' || one == '-';
    let stem: String = name.chars().map(|one| if is_plain(one) { one } else { '_' }).collect();
    let mut path = format!("tools/{stem}.json");
    let mut number = 2;
    while taken.iter().any(|other| other.eq_ignore_ascii_case(&path)) {
        path = format!("tools/{stem}-{number}.json");
        number += 1;
    }
    path
}

fn pretty(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::broken)?;
    Ok(format!("{text}\n"))
}
