//! `headwater prompts golden`: golden sets as files of JSON lines.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::folder::write_file;
use super::judging;
use super::node::{Node, NodeFlags, checked_name, list};
use super::output::Output;
use crate::config::Settings;
use crate::failure::{Failure, FailureKind};

#[derive(Debug, Subcommand)]
pub(crate) enum GoldenAction {
    /// Write a set's cases into a file, one on each line.
    Pull {
        /// `-` writes to standard output.
        file: PathBuf,
        #[command(flatten)]
        set: SetFlags,
        /// Overwrite a file with other cases.
        #[arg(long)]
        force: bool,
    },
    /// Replace a set's cases by those of a file; makes the set when there is none.
    Push {
        /// One case on each line, as `pull` writes them; `-` reads standard input.
        file: PathBuf,
        #[command(flatten)]
        set: SetFlags,
        /// The set's version that must be there now, so that nobody's change is overwritten.
        #[arg(long, value_name = "VERSION")]
        expect: Option<u64>,
        /// Ask the version in production all cases each day at this time of UTC, or `off`.
        #[arg(long, value_name = "HH:MM")]
        nightly: Option<String>,
    },
    /// Have judges that changed judge what was judged before; they decide if they say the same.
    Check {
        /// The prompt whose evals have the answers.
        #[arg(long, value_name = "NAME")]
        prompt: String,
        /// Stop before it costs more, in millionths of a dollar.
        #[arg(long, value_name = "MICRO_USD")]
        budget_micro_usd: Option<u64>,
        #[command(flatten)]
        set: SetFlags,
    },
    /// Take judges as they are, however far they are from those before.
    Accept {
        /// The check's number.
        id: u64,
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        set: SetFlags,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SetFlags {
    /// The set's name.
    #[arg(long, value_name = "NAME")]
    golden_set: String,
    #[command(flatten)]
    node: NodeFlags,
}

pub(super) fn run(
    action: &GoldenAction,
    settings: &Settings,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let (GoldenAction::Pull { set, .. }
    | GoldenAction::Push { set, .. }
    | GoldenAction::Check { set, .. }
    | GoldenAction::Accept { set, .. }) = action;
    let node = Node::new(&set.node, settings)?;
    let name = checked_name(&set.golden_set)?;
    match action {
        GoldenAction::Pull { file, force, .. } => pull(&node, name, file, *force, out),
        GoldenAction::Push { file, expect, nightly, .. } => {
            push(&node, name, file, (*expect, nightly.as_deref()), out)
        }
        GoldenAction::Check { prompt, budget_micro_usd, .. } => {
            judging::check(&node, name, (prompt, *budget_micro_usd), out)
        }
        GoldenAction::Accept { id, reason, .. } => judging::accept(&node, name, (*id, reason), out),
    }
}

fn pull(
    node: &Node<'_>,
    name: &str,
    file: &Path,
    force: bool,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let told = node.get(&format!("/v1/golden/{name}"))?;
    let cases = list(&told["cases"]);
    let text: String = cases.iter().map(|case| format!("{case}\n")).collect();
    if file.as_os_str() == "-" {
        return out.text(&text);
    }
    if !force && file.exists() {
        let here = read(file)?;
        let change = Change::of(cases, &here);
        if !change.is_none() {
            return Err(Failure::broken(format!(
                "{}: nothing is written, because it differs from version {} of {name}: {change}; \
                 push or save it, or give --force",
                file.display(),
                told["version"],
            )));
        }
    }
    write_file(file, &text)?;
    out.line(format_args!("{name}: {} cases of version {}", cases.len(), told["version"]))
}

fn push(
    node: &Node<'_>,
    name: &str,
    file: &Path,
    (expect, nightly): (Option<u64>, Option<&str>),
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let cases = read(file)?;
    let path = format!("/v1/golden/{name}");
    let before = match node.get(&path) {
        Ok(told) => told,
        Err(refusal) if refusal.is_unknown() => Value::Null,
        Err(refusal) => return Err(refusal.into()),
    };
    let version = before["version"].as_u64();
    if let Some(expect) = expect
        && version.unwrap_or(0) != expect
    {
        let text = format!(
            "{name}: is at version {}, not {expect}; pull it into another file and join both",
            version.unwrap_or(0)
        );
        return Err(Failure::new(FailureKind::Conflict, text));
    }
    let change = Change::of(list(&before["cases"]), &cases);
    if let Some(version) = version
        && change.is_none()
        && nightly.is_none()
    {
        return out.line(format_args!("{name}: nothing to write since version {version}"));
    }
    let mut body = json!({ "cases": cases });
    if let Some(version) = version {
        body["expected_version"] = version.into();
    }
    if let Some(nightly) = nightly {
        body["nightly"] = nightly.into();
    }
    let told = node.put(&path, &body)?;
    out.line(format_args!(
        "{name}: version {} with {} cases: {change}",
        told["version"],
        cases.len()
    ))
}

/// The cases of a file.
///
/// # Errors
/// Kind `Settings`, with the line that is wrong.
fn read(file: &Path) -> Result<Vec<Value>, Failure> {
    let wrong = |problem: String| Failure::settings(format!("{}{problem}", file.display()));
    let text = match file.as_os_str() == "-" {
        true => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        }
        false => std::fs::read_to_string(file),
    };
    let text = text.map_err(|error| wrong(format!(": {error}")))?;
    let mut cases = Vec::new();
    let mut places = BTreeMap::new();
    for (place, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let at = place + 1;
        let case: Value = serde_json::from_str(line)
            .map_err(|error| wrong(format!(":{at}: is no JSON: {error}")))?;
        let Some(id) = case["id"].as_str().filter(|id| !id.is_empty()) else {
            return Err(wrong(format!(":{at}: id is missing; give each case a text of its own")));
        };
        if let Some(before) = places.insert(id.to_owned(), at) {
            let text = format!(":{at}: the id '{id}' stands in line {before}, too; give another");
            return Err(wrong(text));
        }
        cases.push(case);
    }
    Ok(cases)
}

/// What differs between two lists of cases, by their ids.
struct Change {
    added: usize,
    removed: usize,
    changed: usize,
    is_other_order: bool,
}

impl Change {
    fn of(before: &[Value], after: &[Value]) -> Change {
        let by_id = |cases: &[Value]| -> BTreeMap<String, String> {
            let id = |case: &Value| case["id"].as_str().unwrap_or_default().to_owned();
            cases.iter().map(|case| (id(case), case.to_string())).collect()
        };
        let (old, new) = (by_id(before), by_id(after));
        let is_changed =
            |(id, case): &(&String, &String)| old.get(*id).is_some_and(|before| before != *case);
        let ids = |cases: &[Value]| -> Vec<Value> {
            cases.iter().map(|case| case["id"].clone()).collect()
        };
        Change {
            added: new.keys().filter(|id| !old.contains_key(*id)).count(),
            removed: old.keys().filter(|id| !new.contains_key(*id)).count(),
            changed: new.iter().filter(is_changed).count(),
            is_other_order: ids(before) != ids(after),
        }
    }

    fn is_none(&self) -> bool {
        self.added + self.removed + self.changed == 0 && !self.is_other_order
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Change { added, removed, changed, .. } = self;
        write!(to, "{added} added, {removed} removed, {changed} changed")
    }
}
