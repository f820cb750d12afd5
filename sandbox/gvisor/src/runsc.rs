//! The program runsc: its version, its flags, its commands.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use headwater_sandbox::EngineError;
use headwater_sandbox_agent::last_words;
use tokio::process::Command;
use tokio::time::timeout;

use crate::ENGINE;
use crate::settings::{Platform, Settings};

/// The first version whose default platform is systrap, as its date.
const SYSTRAP_SINCE: u32 = 20_230_601;
const COMMAND_LONGEST: Duration = Duration::from_secs(10);

/// A runsc that told its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Runsc {
    program: PathBuf,
    pub(crate) version: String,
    flags: Vec<String>,
}

/// What tells one file from the next one at its path: its number, its size, its time.
type Mark = (u64, u64, i64, i64);

/// Finds runsc. It asks for the version once for each file: the answer takes as long as an eighth of
/// a slot's start.
#[derive(Default)]
pub(crate) struct Finder {
    found: Mutex<Option<(Mark, Runsc)>>,
}

impl Finder {
    pub(crate) async fn find(&self, settings: &Settings) -> Result<Runsc, EngineError> {
        let mark = mark(&settings.runsc);
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let (Some(mark), Some((then, runsc))) = (mark, found)
            && then == mark
        {
            return Ok(runsc);
        }
        let runsc = Runsc::ask(settings).await?;
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) =
            mark.map(|mark| (mark, runsc.clone()));
        Ok(runsc)
    }
}

fn mark(program: &Path) -> Option<Mark> {
    let meta = std::fs::metadata(program).ok()?;
    Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}

impl Runsc {
    async fn ask(settings: &Settings) -> Result<Self, EngineError> {
        let program = settings.runsc.clone();
        let mut command = Command::new(&program);
        command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
        let unable = |why: String| EngineError::Unable {
            engine: ENGINE,
            why,
            mend: "install runsc and set its path".to_owned(),
        };
        let shown = program.display();
        let told = match timeout(COMMAND_LONGEST, command.output()).await {
            Ok(Ok(told)) => told,
            Ok(Err(error)) => return Err(unable(format!("{shown} does not start: {error}"))),
            Err(_) => return Err(unable(format!("{shown} does not tell its version"))),
        };
        let text = String::from_utf8_lossy(&told.stdout);
        let Some(version) = text.lines().find_map(|line| line.strip_prefix("runsc version "))
        else {
            return Err(unable(format!("{shown} tells no version of runsc")));
        };
        let version = version.trim().to_owned();
        let flags = flags(settings, date_of(&version));
        Ok(Self { program, version, flags })
    }

    /// A command on the containers below `root`.
    pub(crate) fn command(&self, root: &std::path::Path, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(root).args(&self.flags).args(words);
        command.stdin(Stdio::null()).kill_on_drop(true);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// Runs a short command to its end.
    pub(crate) async fn order(&self, root: &std::path::Path, words: &[&str]) -> Result<(), String> {
        let mut command = self.command(root, words);
        let order = words.first().copied().unwrap_or_default();
        match timeout(COMMAND_LONGEST, command.output()).await {
            Ok(Ok(told)) if told.status.success() => Ok(()),
            Ok(Ok(told)) => Err(format!("runsc {order}: {}", last_words(&told.stderr))),
            Ok(Err(error)) => Err(format!("runsc {order}: {error}")),
            Err(_) => Err(format!("runsc {order} did not end")),
        }
    }
}

/// The date in a version such as `0.0~20221219.0` or `release-20240729.0`.
fn date_of(version: &str) -> Option<u32> {
    let mut parts = version.split(|letter: char| !letter.is_ascii_digit());
    parts.find(|part| part.len() == 8).and_then(|part| part.parse().ok())
}

fn flags(settings: &Settings, date: Option<u32>) -> Vec<String> {
    // A version without a date is one that somebody built of today's source.
    let platform = match (settings.platform, date.is_none_or(|date| date >= SYSTRAP_SINCE)) {
        (Platform::Auto, true) | (Platform::Systrap, _) => "systrap",
        (Platform::Auto, false) | (Platform::Ptrace, _) => "ptrace",
        (Platform::Kvm, _) => "kvm",
    };
    let mut flags = vec![
        format!("--platform={platform}"),
        "--network=none".to_owned(),
        "--ignore-cgroups".to_owned(),
        "--overlay2=none".to_owned(),
        "--oci-seccomp".to_owned(),
    ];
    flags.extend(settings.flags.iter().cloned());
    flags
}

#[cfg(test)]
mod tests;
