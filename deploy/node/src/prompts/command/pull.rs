//! `headwater prompts pull`: a node's prompts into files.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::document::Document;
use super::files::{Files, PROMPT_FILE, files_of};
use super::folder::{self, Local};
use super::many::each;
use super::node::{Node, NodeFlags, checked_name};
use super::output::Output;
use super::prompt_file::{Source, with_source};
use crate::config::Settings;
use crate::failure::Failure;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Label {
    Production,
    Staging,
}

impl Label {
    pub(super) fn name(self) -> &'static str {
        match self {
            Label::Production => "production",
            Label::Staging => "staging",
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct PullFlags {
    /// Where each prompt gets a folder of its name.
    folder: PathBuf,
    /// The prompts; all of the team without any.
    names: Vec<String>,
    /// The newest without it.
    #[arg(long, value_name = "N", conflicts_with = "label")]
    version: Option<u64>,
    /// The version that this label points to.
    #[arg(long, value_enum)]
    label: Option<Label>,
    /// Overwrite what was changed here.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    node: NodeFlags,
}

pub(super) fn run(
    flags: &PullFlags,
    settings: &Settings,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    if flags.version.is_some() && flags.names.len() != 1 {
        return Err(Failure::settings("--version is of one prompt; name that prompt"));
    }
    let node = Node::new(&flags.node, settings)?;
    let pull = Pull { flags, node: &node };
    if !flags.names.is_empty() {
        return each(&flags.names, |name| pull.one(checked_name(name)?, out));
    }
    let (mut names, label) = (Vec::new(), flags.label.map_or("newest", Label::name));
    for head in node.heads()? {
        let name = checked_name(head["name"].as_str().unwrap_or_default())?;
        match head[label].is_u64() {
            true => names.push(name.to_owned()),
            false => out.line(format_args!("{name}: has no version in {label}; left out"))?,
        }
    }
    each(&names, |name| pull.one(name, out))
}

struct Pull<'a> {
    flags: &'a PullFlags,
    node: &'a Node<'a>,
}

/// A version, ready to be written.
struct Wanted {
    document: Document,
    source: Source,
    files: Files,
}

/// What happens to a folder.
struct Plan {
    write: Files,
    remove: Vec<String>,
    /// Files whose content nobody else has.
    lost: Vec<String>,
}

impl Pull<'_> {
    fn one(&self, name: &str, out: &mut Output<'_>) -> Result<(), Failure> {
        let place = self.flags.folder.join(name);
        let wanted = self.wanted(name)?;
        let (number, local) = (wanted.source.version, folder::read(&place));
        let plan = match &local {
            Ok(Some(local)) => match self.over(name, local, &wanted)? {
                Some(plan) => plan,
                None => return out.line(format_args!("{name}: is version {number} already")),
            },
            Ok(None) | Err(_) => over_strangers(&place, &wanted.files)?,
        };
        if !plan.lost.is_empty() && !self.flags.force {
            let lost = plan.lost.join(", ");
            let unread = local.err().map(|why| format!(" ({})", why.message)).unwrap_or_default();
            return Err(Failure::broken(format!(
                "{name}: nothing is written, because changes made here would be lost: \
                 {lost}{unread}; see `headwater prompts diff {} {name}`, push or save them, or \
                 give --force",
                self.flags.folder.display()
            )));
        }
        folder::write(&place, &plan.write)?;
        plan.remove.iter().try_for_each(|stale| folder::remove(&place, stale))?;
        let lost = match plan.lost.is_empty() {
            true => String::new(),
            false => format!("; overwritten: {}", plan.lost.join(", ")),
        };
        out.line(format_args!("{name}: version {number}{lost}"))
    }

    fn wanted(&self, name: &str) -> Result<Wanted, Failure> {
        let number = match self.flags.version {
            Some(number) => number,
            None => {
                let head = self.node.get(&format!("/v1/prompts/{name}"))?;
                let pointer = self.flags.label.map_or("newest", Label::name);
                head[pointer].as_u64().ok_or_else(|| {
                    let text = format!("{name}: has no version in {pointer}; pull another");
                    Failure::broken(text)
                })?
            }
        };
        let version = self.node.version(name, number)?;
        let document = Document::of_version(&version)?;
        let label = self.flags.label.map(|label| label.name().to_owned());
        let source = source_of(&version, label)?;
        let files = files_of(&document, Some(&source))?;
        Ok(Wanted { document, source, files })
    }

    /// What to do with a folder that can be read; None for nothing.
    fn over(&self, name: &str, local: &Local, wanted: &Wanted) -> Result<Option<Plan>, Failure> {
        let sha256 = self.sha256(name, local)?;
        let is_same = sha256.as_ref() == Some(&wanted.source.sha256);
        if is_same && local.source.as_ref() == Some(&wanted.source) {
            return Ok(None);
        }
        let was = local.source.as_ref().map(|source| &source.sha256);
        let is_clean = is_same || (sha256.is_some() && was == sha256.as_ref());
        let mut lost = if is_clean { Vec::new() } else { self.changed(name, local, wanted)? };
        let mut write = wanted.files.clone();
        let (before, after) = (files_of(&local.document, None)?, files_of(&wanted.document, None)?);
        // Comments stay where the file says the same, and are somebody's work where it does not.
        let says_the_same = before.get(PROMPT_FILE) == after.get(PROMPT_FILE)
            && local.paths().iter().all(|path| before.contains_key(path));
        let kept = with_source(&local.prompt_file, &wanted.source).filter(|_| says_the_same);
        if let Some(text) = kept {
            write.insert(PROMPT_FILE.to_owned(), text);
        } else {
            let plain = files_of(&local.document, local.source.as_ref())?;
            let is_plain = plain.get(PROMPT_FILE) == Some(&local.prompt_file);
            if !is_plain && !lost.iter().any(|path| path == PROMPT_FILE) {
                lost.push(format!("comments and form of {PROMPT_FILE}"));
            }
        }
        let remove = local.paths().into_iter().filter(|path| !write.contains_key(path)).collect();
        Ok(Some(Plan { write, remove, lost }))
    }

    /// The hash of what the folder says, by the node; None when it says nothing that the node
    /// would take.
    fn sha256(&self, name: &str, local: &Local) -> Result<Option<String>, Failure> {
        match self.node.check(name, &local.document.to_json()?) {
            Ok(told) => sha256_of(&told).map(Some),
            Err(refusal) if refusal.is_of_the_body() => Ok(None),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// The files that differ from the version that they come from.
    fn changed(&self, name: &str, local: &Local, wanted: &Wanted) -> Result<Vec<String>, Failure> {
        let came_from = local.source.as_ref().map(|source| self.node.version(name, source.version));
        let base = match came_from {
            Some(Ok(version)) => files_of(&Document::of_version(&version)?, None)?,
            Some(Err(refusal)) if !refusal.is_unknown() => return Err(refusal.into()),
            _ => files_of(&wanted.document, None)?,
        };
        let here = files_of(&local.document, None)?;
        let paths = here.keys().chain(base.keys().filter(|path| !here.contains_key(*path)));
        Ok(paths.filter(|path| here.get(*path) != base.get(*path)).cloned().collect())
    }
}

/// What to do with a folder that holds no prompt, or none that can be read.
fn over_strangers(place: &Path, files: &Files) -> Result<Plan, Failure> {
    let mut lost = Vec::new();
    for (path, text) in files {
        let is_other = |bytes: Vec<u8>| bytes != text.as_bytes();
        if folder::bytes(place, path)?.is_some_and(is_other) {
            lost.push(path.clone());
        }
    }
    let mut remove = folder::text_files(place)?;
    remove.retain(|path| !files.contains_key(path));
    lost.extend_from_slice(&remove);
    Ok(Plan { write: files.clone(), remove, lost })
}

/// The prompt's files are of this version from now on.
pub(super) fn remember(place: &Path, local: &Local, source: &Source) -> Result<(), Failure> {
    if let Some(text) = with_source(&local.prompt_file, source) {
        return folder::write_file(&place.join(PROMPT_FILE), &text);
    }
    let files = files_of(&local.document, Some(source))?;
    folder::write(place, &files)?;
    let mut stale = local.paths().into_iter().filter(|path| !files.contains_key(path));
    stale.try_for_each(|path| folder::remove(place, &path))
}

/// Where files come from that say the same as this version.
pub(super) fn source_of(version: &Value, label: Option<String>) -> Result<Source, Failure> {
    let number = version["version"].as_u64().ok_or_else(|| {
        Failure::broken(
            "the node's answer holds no version; use the node's own version of headwater",
        )
    })?;
    Ok(Source { version: number, sha256: sha256_of(version)?, label })
}

pub(super) fn sha256_of(told: &Value) -> Result<String, Failure> {
    told["sha256"].as_str().map(str::to_owned).ok_or_else(|| {
        Failure::broken(
            "the node's answer holds no sha256; use the node's own version of headwater",
        )
    })
}
