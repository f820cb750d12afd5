//! `headwater prompts diff`: files against the node's newest version, or two versions.

use std::path::{Path, PathBuf};

use clap::Args;
use similar::TextDiff;

use super::document::Document;
use super::files::{Files, PROMPT_FILE, files_of};
use super::folder;
use super::many::each;
use super::node::{Node, NodeFlags, checked_name};
use super::output::Output;
use crate::config::Settings;
use crate::failure::Failure;

/// Lines around a change.
const CONTEXT: usize = 3;

#[derive(Debug, Args)]
pub(crate) struct DiffFlags {
    /// Where `pull` wrote prompts; with --from and --to, a prompt's name.
    #[arg(value_name = "FOLDER|NAME")]
    of: String,
    /// The prompts; all that lie in the folder without any.
    #[arg(conflicts_with_all = ["from", "to"])]
    names: Vec<String>,
    /// The older version.
    #[arg(long, value_name = "N", requires = "to")]
    from: Option<u64>,
    /// The newer version.
    #[arg(long, value_name = "M", requires = "from")]
    to: Option<u64>,
    /// Print the node's answer as JSON.
    #[arg(long, requires = "from")]
    json: bool,
    #[command(flatten)]
    node: NodeFlags,
}

pub(super) fn run(
    flags: &DiffFlags,
    settings: &Settings,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let node = Node::new(&flags.node, settings)?;
    let (Some(from), Some(to)) = (flags.from, flags.to) else {
        return of_folder(flags, &node, out);
    };
    let name = checked_name(&flags.of)?;
    let text = match flags.json {
        true => {
            let told = node.get(&format!("/v1/prompts/{name}/diff?from={from}&to={to}"))?;
            out.json(&told)?;
            return differ(told["fields"].as_array().is_some_and(|fields| !fields.is_empty()));
        }
        false => {
            let files = |number| -> Result<Files, Failure> {
                files_of(&Document::of_version(&node.version(name, number)?)?, None)
            };
            let (before, after) = (files(from)?, files(to)?);
            unified(name, (&before, &format!("version {from}")), (&after, &format!("version {to}")))
        }
    };
    out.text(&text)?;
    differ(!text.is_empty())
}

fn differ(is_different: bool) -> Result<(), Failure> {
    match is_different {
        true => Err(Failure::broken("there are differences")),
        false => Ok(()),
    }
}

fn of_folder(flags: &DiffFlags, node: &Node<'_>, out: &mut Output<'_>) -> Result<(), Failure> {
    let folder = Path::new(&flags.of);
    let mut is_different = false;
    each(&folder::names(folder, &flags.names)?, |name| {
        let place: PathBuf = folder.join(name);
        let local = folder::read(&place)?.ok_or_else(|| {
            let file = place.join(PROMPT_FILE);
            Failure::settings(format!("{}: is missing; pull the prompt first", file.display()))
        })?;
        let (before, label) = newest(node, name)?;
        let after = files_of(&local.document, None)?;
        let text = unified(name, (&before, &label), (&after, "here"));
        is_different |= !text.is_empty();
        out.text(&text)
    })?;
    differ(is_different)
}

/// The node's newest version as files; none when there is no such prompt.
fn newest(node: &Node<'_>, name: &str) -> Result<(Files, String), Failure> {
    let head = match node.get(&format!("/v1/prompts/{name}")) {
        Ok(head) => head,
        Err(refusal) if refusal.is_unknown() => return Ok((Files::new(), String::new())),
        Err(refusal) => return Err(refusal.into()),
    };
    let number = head["newest"].as_u64().unwrap_or_default();
    let document = Document::of_version(&node.version(name, number)?)?;
    Ok((files_of(&document, None)?, format!("version {number}")))
}

/// As `git diff` writes it, without colours; empty when both say the same.
pub(super) fn unified(
    name: &str,
    (before, before_label): (&Files, &str),
    (after, after_label): (&Files, &str),
) -> String {
    let mut paths: Vec<&String> = before.keys().chain(after.keys()).collect();
    paths.sort();
    paths.dedup();
    let mut text = String::new();
    for path in paths {
        let (old, new) = (before.get(path), after.get(path));
        if old == new {
            continue;
        }
        let header = |side: &str, label: &str, file: Option<&String>| match file {
            Some(_) => format!("{side}/{name}/{path}\t{label}"),
            None => "/dev/null".to_owned(),
        };
        let lines = |file: Option<&String>| file.cloned().unwrap_or_default();
        let (old_lines, new_lines) = (lines(old), lines(new));
        let diff = TextDiff::from_lines(old_lines.as_str(), new_lines.as_str());
        let mut unified = diff.unified_diff();
        unified.context_radius(CONTEXT);
        unified.header(&header("a", before_label, old), &header("b", after_label, new));
        text.push_str(&unified.to_string());
    }
    text
}
