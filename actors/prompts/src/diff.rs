//! What changed between two versions, line by line (Myers' algorithm, by `similar`).

use std::collections::BTreeMap;

use serde::Serialize;
use similar::{ChangeTag, TextDiff};

use crate::document::PromptDocument;

/// Whether a line is in both versions, or in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LineKind {
    Equal,
    Delete,
    Insert,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    pub kind: LineKind,
    pub text: String,
    /// In the older version, from 1.
    pub from_line: Option<usize>,
    /// In the newer version, from 1.
    pub to_line: Option<usize>,
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldDiff {
    pub field: String,
    pub lines: Vec<Line>,
}

/// The fields that differ, in the order of the document. Messages are compared by their places.
pub fn diff(from: &PromptDocument, to: &PromptDocument) -> Vec<FieldDiff> {
    let (before, after) = (fields(from), fields(to));
    let mut names: Vec<&String> = before.iter().map(|(name, _)| name).collect();
    names.extend(
        after
            .iter()
            .map(|(name, _)| name)
            .filter(|name| !before.iter().any(|(one, _)| one == *name)),
    );
    let (before, after): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (before.iter().cloned().collect(), after.iter().cloned().collect());
    let text =
        |of: &BTreeMap<String, String>, name: &str| of.get(name).cloned().unwrap_or_default();
    let differing = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    differing
        .map(|name| FieldDiff {
            field: name.clone(),
            lines: lines(&text(&before, name), &text(&after, name)),
        })
        .collect()
}

fn lines(from: &str, to: &str) -> Vec<Line> {
    let diff = TextDiff::from_lines(from, to);
    let line = |change: similar::Change<&str>| Line {
        kind: match change.tag() {
            ChangeTag::Equal => LineKind::Equal,
            ChangeTag::Delete => LineKind::Delete,
            ChangeTag::Insert => LineKind::Insert,
        },
        text: change.value().trim_end_matches(['\n', '\r']).to_owned(),
        from_line: change.old_index().map(|index| index + 1),
        to_line: change.new_index().map(|index| index + 1),
    };
    diff.iter_all_changes().map(line).collect()
}

/// The document as texts that people read.
fn fields(document: &PromptDocument) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    for (place, message) in document.messages.iter().enumerate() {
        fields.push((format!("messages[{place}].role"), message.role.name().to_owned()));
        fields.push((format!("messages[{place}].content"), message.content.clone()));
    }
    fields.extend(document.text.iter().map(|text| ("text".to_owned(), text.clone())));
    for (name, variable) in &document.variables {
        fields.push((format!("variables.{name}"), pretty(variable)));
    }
    for (name, partial) in &document.partials {
        fields.push((format!("partials.{name}"), pretty(partial)));
    }
    for tool in &document.tools {
        fields.push((format!("tools.{}", tool.name), pretty(tool)));
    }
    fields.push(("model".to_owned(), pretty(&document.model)));
    fields
}

fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
