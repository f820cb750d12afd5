//! A prompt's folder on disk: reading it, and writing into it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path};

use serde::de::DeserializeOwned;

use super::document::{Document, Message, Model};
use super::files::{Files, PROMPT_FILE, TEXT_FILE, is_text_file, message_file, text_of};
use super::node::checked_name;
use super::prompt_file::{Kind, PromptFile, Source};
use crate::failure::Failure;

/// A prompt as its folder has it.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) document: Document,
    pub(super) source: Option<Source>,
    /// `prompt.toml` as it stands.
    pub(super) prompt_file: String,
    tools: Vec<String>,
    response_format: Option<String>,
}

impl Local {
    /// Every file that is part of the prompt.
    pub(super) fn paths(&self) -> Vec<String> {
        let messages = self.document.messages.iter().enumerate();
        let mut paths: Vec<String> =
            messages.map(|(place, message)| message_file(place, message.role)).collect();
        paths.extend(self.document.text.iter().map(|_| TEXT_FILE.to_owned()));
        paths.extend(self.tools.iter().chain(&self.response_format).cloned());
        paths.push(PROMPT_FILE.to_owned());
        paths
    }

    /// The file that a field of the document stands in, and whether all of the file is that field.
    pub(super) fn place_of(&self, field: &str) -> (String, bool) {
        let entry = |list: &str| {
            let (number, rest) = field.strip_prefix(list)?.strip_prefix('[')?.split_once(']')?;
            Some((number.parse::<usize>().ok()?, rest))
        };
        if let Some((place, rest)) = entry("messages")
            && let Some(message) = self.document.messages.get(place)
        {
            return (message_file(place, message.role), rest == ".content");
        }
        if let Some((place, _)) = entry("tools")
            && let Some(path) = self.tools.get(place)
        {
            return (path.clone(), false);
        }
        if let Some(path) = &self.response_format
            && field.starts_with("model.response_format")
        {
            return (path.clone(), false);
        }
        match field == "text" && self.document.text.is_some() {
            true => (TEXT_FILE.to_owned(), true),
            false => (PROMPT_FILE.to_owned(), false),
        }
    }
}

fn wrong(file: &Path, problem: impl std::fmt::Display) -> Failure {
    Failure::settings(format!("{}: {problem}", file.display()))
}

/// Reads a prompt's folder; None when it holds no `prompt.toml`.
///
/// # Errors
/// Kind `Settings`, with the file and the field that are wrong.
pub(super) fn read(folder: &Path) -> Result<Option<Local>, Failure> {
    let path = folder.join(PROMPT_FILE);
    let prompt_file = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(&path, error)),
    };
    let file: PromptFile = toml::from_str(&prompt_file).map_err(|error| wrong(&path, error))?;
    let (messages, text) = texts(folder, &file)?;
    let mut document = Document { messages, text, ..Document::default() };
    for (place, name) in file.tools.iter().enumerate() {
        let field = format!("tools[{place}]");
        document.tools.push(json(folder, name, &field)?);
    }
    let mut model = file.model;
    let response_format = model.response_format.take();
    if let Some(name) = &response_format {
        document.model.response_format = Some(json(folder, name, "model.response_format")?);
    }
    document.model = Model {
        model: model.model,
        temperature: model.temperature,
        top_p: model.top_p,
        max_tokens: model.max_tokens,
        seed: model.seed,
        stop: model.stop,
        response_format: document.model.response_format,
    };
    for (name, entry) in file.variables {
        let variable = entry
            .variable()
            .map_err(|(field, why)| wrong(&path, format!("variables.{name}.{field} {why}")))?;
        document.variables.insert(name, variable);
    }
    document.partials = file.partials;
    let (tools, source) = (file.tools, file.source);
    let local = Local { document, source, prompt_file, tools, response_format };
    no_strangers(folder, &local)?;
    Ok(Some(local))
}

/// The messages, or the text.
fn texts(folder: &Path, file: &PromptFile) -> Result<(Vec<Message>, Option<String>), Failure> {
    let refused = |problem: &str| Err(wrong(&folder.join(PROMPT_FILE), problem));
    match file.kind {
        Kind::Chat if file.messages.is_empty() => {
            refused("messages is missing; a chat has at least one [[messages]]")
        }
        Kind::Chat if file.final_newline => {
            refused("final_newline is for kind = \"text\"; put it into a [[messages]]")
        }
        Kind::Text if !file.messages.is_empty() => {
            refused("messages is for kind = \"chat\"; remove it, or change the kind")
        }
        Kind::Chat => {
            let mut messages = Vec::new();
            for (place, entry) in file.messages.iter().enumerate() {
                let name = message_file(place, entry.role);
                let needs = format!("messages[{place}] of {PROMPT_FILE} needs it");
                let content = text_of(&needed(folder, &name, &needs)?, entry.final_newline);
                messages.push(Message { role: entry.role, content });
            }
            Ok((messages, None))
        }
        Kind::Text => {
            let needs = format!("kind = \"text\" of {PROMPT_FILE} needs it");
            let text = text_of(&needed(folder, TEXT_FILE, &needs)?, file.final_newline);
            Ok((Vec::new(), Some(text)))
        }
    }
}

/// A message that nobody sends would be missed late.
fn no_strangers(folder: &Path, local: &Local) -> Result<(), Failure> {
    let paths = local.paths();
    match text_files(folder)?.into_iter().find(|name| !paths.contains(name)) {
        Some(name) => {
            let text = format!(
                "belongs to no message of {PROMPT_FILE}; add a [[messages]] of its role at its \
                 place, or delete it"
            );
            Err(wrong(&folder.join(name), text))
        }
        None => Ok(()),
    }
}

/// The files of messages and texts that lie in the folder, in or out of use.
pub(super) fn text_files(folder: &Path) -> Result<Vec<String>, Failure> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(wrong(folder, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| wrong(folder, error))?.file_name();
        names.extend(name.to_str().filter(|name| is_text_file(name)).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

fn needed(folder: &Path, name: &str, needs: &str) -> Result<String, Failure> {
    let path = folder.join(name);
    fs::read_to_string(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => wrong(&path, format!("is missing; {needs}")),
        ErrorKind::InvalidData => wrong(&path, "is no UTF-8; save it as UTF-8"),
        _ => wrong(&path, error),
    })
}

/// A file that `prompt.toml` names. It lies within the folder: a copied folder must not send what
/// lies elsewhere on this machine.
fn json<T: DeserializeOwned>(folder: &Path, name: &str, field: &str) -> Result<T, Failure> {
    let is_within = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || !is_within {
        let text = format!("{field} is '{name}'; name a file within this folder");
        return Err(wrong(&folder.join(PROMPT_FILE), text));
    }
    let text = needed(folder, name, &format!("{field} of {PROMPT_FILE} names it"))?;
    serde_json::from_str(&text).map_err(|error| wrong(&folder.join(name), error))
}

/// What a file of the folder holds; None when it is not there.
pub(super) fn bytes(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, Failure> {
    let path = folder.join(name);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(&path, error)),
    }
}

/// Writes files, `prompt.toml` last: what broke off before shows as a change.
pub(super) fn write(folder: &Path, files: &Files) -> Result<(), Failure> {
    let (last, first): (Vec<_>, Vec<_>) = files.iter().partition(|(name, _)| *name == PROMPT_FILE);
    for (name, text) in first.into_iter().chain(last) {
        write_file(&folder.join(name), text)?;
    }
    Ok(())
}

/// Whole or not at all.
pub(super) fn write_file(path: &Path, text: &str) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.new"));
    let written = fs::create_dir_all(folder)
        .and_then(|()| fs::write(&beside, text))
        .and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| wrong(path, format!("cannot be written: {error}")))
}

pub(super) fn remove(folder: &Path, name: &str) -> Result<(), Failure> {
    let path = folder.join(name);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(wrong(&path, format!("cannot be deleted: {error}")))
        }
        _ => Ok(()),
    }
}

/// The prompts that are meant: those that are named, or all that lie in the folder.
///
/// # Errors
/// Kind `Settings`, when there is none.
pub(super) fn names(folder: &Path, named: &[String]) -> Result<Vec<String>, Failure> {
    if !named.is_empty() {
        for name in named {
            checked_name(name)?;
        }
        return Ok(named.to_vec());
    }
    let entries = fs::read_dir(folder).map_err(|error| wrong(folder, error))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| wrong(folder, error))?;
        if entry.path().join(PROMPT_FILE).is_file() {
            let name = entry.file_name().to_string_lossy().into_owned();
            names.push(checked_name(&name)?.to_owned());
        }
    }
    names.sort();
    match names.is_empty() {
        true => Err(wrong(folder, format!("holds no NAME/{PROMPT_FILE}; pull prompts first"))),
        false => Ok(names),
    }
}
