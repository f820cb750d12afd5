//! `headwater prompts push`: commits what differs in files.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::files::PROMPT_FILE;
use super::findings::{ScanOverride, finding, parse_override, refused, secrets_found};
use super::folder::{self, Local};
use super::many::each;
use super::node::{Node, NodeFlags, list};
use super::output::{Output, one_line};
use super::pull::{remember, sha256_of, source_of};
use crate::config::Settings;
use crate::failure::{Failure, FailureKind};

#[derive(Debug, Args)]
pub(crate) struct PushFlags {
    /// Where `pull` wrote them: a folder for each prompt.
    folder: PathBuf,
    /// The prompts; all that lie in the folder without any.
    names: Vec<String>,
    /// Why; stands in the list of versions.
    #[arg(long, value_name = "WHY", required_unless_present = "dry_run")]
    message: Option<String>,
    /// May be repeated.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Say what would be committed; changes nothing.
    #[arg(long)]
    dry_run: bool,
    /// Let a finding of the secret scan pass, which is none; may be repeated.
    #[arg(long = "override", value_name = "FINGERPRINT=REASON", value_parser = parse_override)]
    overrides: Vec<ScanOverride>,
    /// Print the node's answers as JSON, one after the other.
    #[arg(long, conflicts_with = "dry_run")]
    json: bool,
    #[command(flatten)]
    node: NodeFlags,
}

pub(super) fn run(
    flags: &PushFlags,
    settings: &Settings,
    out: &mut Output<'_>,
) -> Result<(), Failure> {
    let node = Node::new(&flags.node, settings)?;
    let names = folder::names(&flags.folder, &flags.names)?;
    let push = Push { flags, node: &node };
    each(&names, |name| push.one(name, out))
}

struct Push<'a> {
    flags: &'a PushFlags,
    node: &'a Node<'a>,
}

impl Push<'_> {
    fn one(&self, name: &str, out: &mut Output<'_>) -> Result<(), Failure> {
        let place = self.flags.folder.join(name);
        let local = folder::read(&place)?.ok_or_else(|| {
            let file = place.join(PROMPT_FILE);
            Failure::settings(format!("{}: is missing; pull the prompt first", file.display()))
        })?;
        let document = local.document.to_json()?;
        let told = self.node.check(name, &document);
        let told = told.map_err(|refusal| refused(&place, &local, name, refusal))?;
        let sha256 = sha256_of(&told)?;
        if let Some(source) = &local.source
            && source.sha256 == sha256
        {
            let version = source.version;
            return self.say(out, format!("{name}: nothing to commit since version {version}"));
        }
        let is_overridden = |found: &Value| {
            self.flags.overrides.iter().any(|one| found["fingerprint"] == one.fingerprint.as_str())
        };
        let findings = list(&told["findings"]);
        let left: Vec<Value> =
            findings.iter().filter(|found| !is_overridden(found)).cloned().collect();
        if !left.is_empty() {
            return Err(secrets_found(&place, &local, name, &left));
        }
        // An override is for the prompt in which its finding is.
        let overrides = self.flags.overrides.iter().filter(|one| {
            findings.iter().any(|found| found["fingerprint"] == one.fingerprint.as_str())
        });
        let overrides: Vec<Value> = overrides
            .map(|one| json!({"fingerprint": one.fingerprint, "reason": one.reason}))
            .collect();
        if self.flags.dry_run {
            return self.tell(name, &place, &local, &told, out);
        }
        let parent = local.source.as_ref().map(|source| source.version);
        let body = json!({
            "document": document,
            "message": self.flags.message.as_deref().unwrap_or_default(),
            "tags": self.flags.tags,
            "parent": parent,
            // Files that come from no version must make a new prompt.
            "expected_newest": parent.unwrap_or(0),
            "overrides": overrides,
        });
        match self.node.post(&format!("/v1/prompts/{name}/versions"), &body) {
            Ok(made) => self.committed(name, &place, &local, &made, out),
            Err(refusal) if refusal.is_conflict() => {
                self.late(name, &place, &local, &sha256, &refusal.message(), out)
            }
            Err(refusal) if !refusal.findings().is_empty() => {
                Err(secrets_found(&place, &local, name, refusal.findings()))
            }
            Err(refusal) => Err(refused(&place, &local, name, refusal)),
        }
    }

    /// For people; whoever takes JSON gets answers alone.
    fn say(&self, out: &mut Output<'_>, text: String) -> Result<(), Failure> {
        if self.flags.json { Ok(()) } else { out.line(text) }
    }

    fn committed(
        &self,
        name: &str,
        place: &Path,
        local: &Local,
        made: &Value,
        out: &mut Output<'_>,
    ) -> Result<(), Failure> {
        let source = source_of(made, None)?;
        remember(place, local, &source)?;
        if self.flags.json {
            return out.json(made);
        }
        out.line(format_args!("{name}: version {} is committed", source.version))?;
        warn(&made["warnings"], out)
    }

    /// Somebody else has committed since: the same, or something else.
    fn late(
        &self,
        name: &str,
        place: &Path,
        local: &Local,
        sha256: &str,
        why: &str,
        out: &mut Output<'_>,
    ) -> Result<(), Failure> {
        let head = self.node.get(&format!("/v1/prompts/{name}"))?;
        let newest = self.node.version(name, head["newest"].as_u64().unwrap_or_default())?;
        let newest = source_of(&newest, None)?;
        if newest.sha256 == sha256 {
            remember(place, local, &newest)?;
            return self.say(out, format!("{name}: is version {} already", newest.version));
        }
        Err(self.conflict(name, why))
    }

    fn conflict(&self, name: &str, why: &str) -> Failure {
        let folder = self.flags.folder.display();
        let text = format!(
            "{name}: {why}; see `headwater prompts diff {folder} {name}`, save your changes (`git \
             stash`), pull first with `headwater prompts pull {folder} {name}`, put them in \
             again and push",
            why = one_line(why)
        );
        Failure::new(FailureKind::Conflict, text)
    }

    /// What a push would do.
    fn tell(
        &self,
        name: &str,
        place: &Path,
        local: &Local,
        told: &Value,
        out: &mut Output<'_>,
    ) -> Result<(), Failure> {
        let came_from = local.source.as_ref().map_or(0, |source| source.version);
        let newest = match self.node.get(&format!("/v1/prompts/{name}")) {
            Ok(head) => head["newest"].as_u64().unwrap_or_default(),
            Err(refusal) if refusal.is_unknown() => 0,
            Err(refusal) => return Err(refusal.into()),
        };
        if newest != came_from {
            let why = match came_from {
                0 => format!("there is a prompt of this name, with {newest} versions"),
                _ => format!("version {newest} is the newest, and your files are of {came_from}"),
            };
            return Err(self.conflict(name, &why));
        }
        match newest {
            0 => out.line(format_args!("{name}: would be a new prompt"))?,
            _ => out.line(format_args!("{name}: would be committed as version {}", newest + 1))?,
        }
        for found in list(&told["findings"]) {
            out.line(format_args!("  overridden: {}", finding(place, local, found)))?;
        }
        warn(&told["warnings"], out)
    }
}

fn warn(warnings: &Value, out: &mut Output<'_>) -> Result<(), Failure> {
    let texts = list(warnings).iter().filter_map(Value::as_str);
    texts.map(one_line).try_for_each(|text| out.line(format_args!("  warning: {text}")))
}
