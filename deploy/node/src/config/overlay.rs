//! Reads the settings: file, then environment, then flags. Every error names the key and
//! where it was said.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::{Nonsense, Settings};
use crate::failure::Failure;

/// Environment variables that start so are settings: `HEADWATER__SERVER__LISTEN` is
/// `server.listen`.
const PREFIX: &str = "HEADWATER__";

/// Where settings are said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigSource {
    /// The file; none means defaults.
    pub file: Option<PathBuf>,
    /// The environment, as (name, value); see [`ConfigSource::environment`].
    pub environment: Vec<(String, String)>,
    /// `key=value`, as given by `--set`.
    pub flags: Vec<String>,
}

impl ConfigSource {
    /// This process's variables that are settings, by name.
    pub fn environment() -> Vec<(String, String)> {
        let mut found: Vec<(String, String)> =
            std::env::vars().filter(|(name, _)| name.starts_with(PREFIX)).collect();
        found.sort();
        found
    }
}

/// Reads and checks the settings.
///
/// # Errors
/// A settings failure that names the key and its line, variable or flag.
pub fn load(source: &ConfigSource) -> Result<Settings, Failure> {
    let text = match &source.file {
        Some(file) => std::fs::read_to_string(file).map_err(|error| {
            Failure::settings(format!("cannot read {}: {error}", file.display()))
        })?,
        None => String::new(),
    };
    let file = source.file.as_deref().unwrap_or(Path::new("settings"));
    // Once for the error text, which has line and column only when it reads the file itself.
    let _: Settings = toml::from_str(&text).map_err(|error| describe(file, &error))?;
    let mut table: Table = toml::from_str(&text).map_err(|error| describe(file, &error))?;
    let mut said = Vec::new();
    for (name, value) in &source.environment {
        let key: Vec<String> =
            name[PREFIX.len()..].to_ascii_lowercase().split("__").map(str::to_owned).collect();
        overlay(&mut table, &key, value).map_err(|problem| {
            Failure::settings(format!("environment variable {name}: {problem}"))
        })?;
        said.push((key, format!("environment variable {name}")));
    }
    for flag in &source.flags {
        let (key, value) = flag.split_once('=').ok_or_else(|| {
            Failure::settings(format!("--set {flag}: expected key=value, as in server.threads=2"))
        })?;
        let key: Vec<String> = key.trim().split('.').map(str::to_owned).collect();
        overlay(&mut table, &key, value)
            .map_err(|problem| Failure::settings(format!("--set {flag}: {problem}")))?;
        said.push((key, format!("--set {flag}")));
    }
    let settings = Settings::deserialize(Value::Table(table))
        .map_err(|error| Failure::settings(format!("the settings do not fit together: {error}")))?;
    settings.check().map_err(|nonsense| locate(&nonsense, &said, file, &text))?;
    Ok(settings)
}

fn describe(file: &Path, error: &toml::de::Error) -> Failure {
    Failure::settings(format!("{}: {}", file.display(), error.to_string().trim_end()))
}

/// Puts one value into the table and checks that the whole still reads. A value is TOML
/// if it parses and fits as such, else a string.
fn overlay(table: &mut Table, key: &[String], value: &str) -> Result<(), String> {
    let parsed = toml::from_str::<Table>(&format!("value = {value}"))
        .ok()
        .and_then(|mut table| table.remove("value"));
    let string = Value::String(value.to_owned());
    let candidates = [parsed, Some(string)];
    let mut problem = None;
    for candidate in candidates.into_iter().flatten() {
        let mut trial = table.clone();
        place(&mut trial, key, candidate)?;
        match Settings::deserialize(Value::Table(trial.clone())) {
            Ok(_) => {
                *table = trial;
                return Ok(());
            }
            // The first try's words fit best: they speak of the value as it was meant.
            Err(error) => {
                problem.get_or_insert_with(|| error.to_string());
            }
        }
    }
    Err(format!("{}: {}", key.join("."), problem.unwrap_or_default().trim_end()))
}

fn place(table: &mut Table, key: &[String], value: Value) -> Result<(), String> {
    let [first, rest @ ..] = key else { return Err("the key is empty".to_owned()) };
    if rest.is_empty() {
        table.insert(first.clone(), value);
        return Ok(());
    }
    let inner = table.entry(first.clone()).or_insert_with(|| Value::Table(Table::new()));
    match inner {
        Value::Table(inner) => place(inner, rest, value),
        Value::Array(items) => {
            let index = rest[0].parse::<usize>().ok();
            let item = index.and_then(|index| items.get_mut(index));
            match (item, rest.len()) {
                (Some(Value::Table(inner)), 2..) => place(inner, &rest[1..], value),
                _ => Err(format!("{first} is a list; name an item of it, as in {first}.0.name")),
            }
        }
        _ => Err(format!("{first} is a value and has no key {}", rest.join("."))),
    }
}

/// Says where the nonsense was said: the last override of the key, else its line.
fn locate(nonsense: &Nonsense, said: &[(Vec<String>, String)], file: &Path, text: &str) -> Failure {
    let Nonsense { key, problem } = nonsense;
    let path = key.join(".");
    if let Some((_, place)) = said.iter().rev().find(|(said, _)| said == key) {
        return Failure::settings(format!("{place}: {path} {problem}"));
    }
    match line_of(text, key) {
        Some(line) => {
            Failure::settings(format!("{} line {line}: {path} {problem}", file.display()))
        }
        None => Failure::settings(format!("{path} {problem}")),
    }
}

/// The line of the key, or of the nearest table around it; from 1.
fn line_of(text: &str, key: &[String]) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut table = root.get_ref();
    let mut place = None;
    let mut steps = key.iter();
    while let Some(step) = steps.next() {
        let Some((name, value)) = table.iter().find(|(name, _)| name.get_ref() == step) else {
            break;
        };
        place = Some(name.span().start);
        let mut value: &Spanned<DeValue<'_>> = value;
        if let DeValue::Array(items) = value.get_ref() {
            let index = steps.next().and_then(|step| step.parse::<usize>().ok());
            let Some(item) = index.and_then(|index| items.get(index)) else { break };
            place = Some(item.span().start);
            value = item;
        }
        let DeValue::Table(inner) = value.get_ref() else { break };
        table = inner;
    }
    place.map(|offset| text[..offset.min(text.len())].matches('\n').count() + 1)
}
