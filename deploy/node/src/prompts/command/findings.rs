//! What the node finds wrong with files, by their names and lines.

use std::path::Path;

use serde_json::Value;

use super::folder::Local;
use super::node::Refusal;
use super::output::{cell, one_line};
use crate::failure::Failure;

/// A finding that is no secret, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScanOverride {
    pub(super) fingerprint: String,
    pub(super) reason: String,
}

/// `FINGERPRINT=REASON`
pub(super) fn parse_override(text: &str) -> Result<ScanOverride, String> {
    match text.split_once('=') {
        Some((fingerprint, reason)) if !fingerprint.is_empty() && !reason.trim().is_empty() => {
            Ok(ScanOverride { fingerprint: fingerprint.to_owned(), reason: reason.to_owned() })
        }
        _ => Err("write FINGERPRINT=REASON; push shows the fingerprint of each finding".to_owned()),
    }
}

/// A field of the node's as the file that it stands in; with the line, where the field is all of
/// the file.
fn place(folder: &Path, local: &Local, field: &str, line: Option<u64>) -> String {
    let (name, is_whole) = local.place_of(field);
    let path = folder.join(name);
    match (is_whole, line) {
        (true, Some(line)) => format!("{}:{line}", path.display()),
        (true, None) => path.display().to_string(),
        (false, Some(line)) => {
            format!("{} ({}, line {line})", path.display(), one_line(field))
        }
        (false, None) => format!("{} ({})", path.display(), one_line(field)),
    }
}

/// A finding of the scan for secrets, on one line.
pub(super) fn finding(folder: &Path, local: &Local, found: &Value) -> String {
    let field = found["field"].as_str().unwrap_or_default();
    format!(
        "{}: {} ({}, {}), fingerprint {}",
        place(folder, local, field, found["line"].as_u64()),
        cell(&found["description"]),
        cell(&found["rule"]),
        cell(&found["masked"]),
        cell(&found["fingerprint"]),
    )
}

/// Why the secret is not committed, and what to do.
pub(super) fn secrets_found(folder: &Path, local: &Local, name: &str, found: &[Value]) -> Failure {
    let lines: Vec<String> = found.iter().map(|one| finding(folder, local, one)).collect();
    Failure::broken(format!(
        "{name}: nothing is committed, because the text holds what looks like a secret:\n  {}\n\
         take it out and write {{{{ secret.NAME }}}} in its place, or give --override \
         FINGERPRINT=REASON when it is none",
        lines.join("\n  ")
    ))
}

/// The node's refusal of a document, with the file at fault.
pub(super) fn refused(folder: &Path, local: &Local, name: &str, refusal: Refusal) -> Failure {
    match refusal.field() {
        Some(field) => {
            let place = place(folder, local, field, None);
            let text = format!("{name}: {place}: {}", one_line(&refusal.message()));
            Failure::new(Failure::from(refusal).kind, text)
        }
        None => {
            let Failure { kind, message } = Failure::from(refusal);
            Failure::new(kind, format!("{name}: {message}"))
        }
    }
}
