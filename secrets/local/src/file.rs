//! Secrets as files, `<root>/<team>/<NAME>`, as Kubernetes mounts them.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use headwater_secrets::{SecretError, SecretName, SecretSource, SecretValue};
use serde::Deserialize;
use zeroize::Zeroizing;

/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 64 << 10;
/// A disk that fails may be back after that.
const RETRY_AFTER_MS: u64 = 1_000;
/// Most files that are remembered as warned about; none is warned about beyond them.
const WARNED_MAX: usize = 1_024;
/// Kubernetes swaps a folder while it is read: the second try finds the new one.
const TRIES: usize = 2;
/// Linux' number for it; the library's name is not stable yet.
const LINKS_IN_A_CIRCLE: i32 = 40;
/// The bits of a mode that let others read.
const OTHERS_READ: u32 = 0o004;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSettings {
    /// The folder with one folder for each team.
    pub root: PathBuf,
}

/// Reads the file at each question, so a new value counts at once.
#[derive(Clone)]
pub struct FileSource {
    root: PathBuf,
    warned: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl FileSource {
    /// Reads nothing yet.
    ///
    /// # Errors
    /// [`SecretError::Misconfigured`] when the root is no absolute path.
    pub fn new(settings: &FileSettings) -> Result<FileSource, SecretError> {
        if !settings.root.is_absolute() {
            let why = "`root` is no absolute path; give the folder's whole path, from / on";
            return Err(SecretError::Misconfigured(why.to_owned()));
        }
        Ok(FileSource { root: settings.root.clone(), warned: Arc::default() })
    }

    fn read(&self, team: &str, name: &SecretName) -> Result<SecretValue, SecretError> {
        let unknown = || SecretError::unknown(team, name);
        if !is_folder_name(team) {
            return Err(unknown());
        }
        let root = fs::canonicalize(&self.root).map_err(|error| match error.kind() {
            ErrorKind::NotFound => wrong("`root` does not exist; mount it, or correct the setting"),
            _ => self.failed(&error),
        })?;
        let mut tried = self.open(&root, team, name)?;
        for _ in 1..TRIES {
            if tried.is_none() {
                tried = self.open(&root, team, name)?;
            }
        }
        let (file, metadata) = tried.ok_or_else(unknown)?;
        let shown = self.root.join(team).join(name.as_str());
        self.warn(&shown, &metadata);
        // The whole room at once: what grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(VALUE_BYTES_MAX + 1));
        let read = file.take(VALUE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| self.failed(&error))?;
        if bytes.len() > VALUE_BYTES_MAX {
            let shown = shown.display();
            let why = format!("{shown} has more than {VALUE_BYTES_MAX} bytes; shorten its value");
            return Err(SecretError::Misconfigured(why));
        }
        let value = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let value =
            value.strip_suffix(b"\r").filter(|_| value.len() < bytes.len()).unwrap_or(value);
        if value.is_empty() {
            let why = format!("{} is empty; write its value, or remove it", shown.display());
            return Err(SecretError::Misconfigured(why));
        }
        SecretValue::from_bytes(value.to_vec()).ok_or_else(|| {
            let why = format!("{} holds no UTF-8; write its value as text", shown.display());
            SecretError::Misconfigured(why)
        })
    }

    /// The file, if there is one. Links lead as far as Kubernetes' own do: within the team's
    /// folder, which lies within the root, whatever the links on the way.
    fn open(
        &self,
        root: &Path,
        team: &str,
        name: &SecretName,
    ) -> Result<Option<(File, Metadata)>, SecretError> {
        let look = || -> io::Result<Result<(File, Metadata), ()>> {
            let folder = fs::canonicalize(root.join(team))?;
            let path = fs::canonicalize(folder.join(name.as_str()))?;
            let stays = folder != root && folder.starts_with(root) && path.starts_with(&folder);
            // To open a pipe would wait for its writer, so the kind is looked at first.
            if !stays || !fs::metadata(&path)?.is_file() {
                return Ok(Err(()));
            }
            let file = File::open(&path)?;
            let metadata = file.metadata()?;
            Ok(Ok((file, metadata)))
        };
        match look() {
            Ok(Ok(found)) => Ok(Some(found)),
            Ok(Err(())) => {
                let shown = self.root.join(team).join(name.as_str());
                let why = "is no file within its team's folder; put the file itself there";
                Err(SecretError::Misconfigured(format!("{} {why}", shown.display())))
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Ok(None)
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Kubernetes mounts files that all may read, so this is told once and refused never.
    fn warn(&self, path: &Path, metadata: &Metadata) {
        if metadata.permissions().mode() & OTHERS_READ == 0 {
            return;
        }
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.len() < WARNED_MAX && warned.insert(path.to_owned()) {
            tracing::warn!(
                file = %path.display(),
                "others may read the file of a secret; take their right away, as with `chmod o-r`"
            );
        }
    }

    fn failed(&self, error: &io::Error) -> SecretError {
        match error.kind() {
            ErrorKind::PermissionDenied => {
                wrong("a file or folder under `root` may not be read; give the node the right to")
            }
            _ if error.raw_os_error() == Some(LINKS_IN_A_CIRCLE) => {
                wrong("a link under `root` leads in a circle; let it lead to a file")
            }
            _ => SecretError::Unavailable { retry_after_ms: RETRY_AFTER_MS },
        }
    }
}

fn wrong(why: &str) -> SecretError {
    SecretError::Misconfigured(why.to_owned())
}

/// Whether a team's name is one folder's name, and none of those that Kubernetes keeps for itself.
fn is_folder_name(team: &str) -> bool {
    !team.is_empty() && !team.starts_with('.') && !team.contains(['/', '\\', '\0'])
}

#[async_trait]
impl SecretSource for FileSource {
    async fn get(&self, team: &str, name: &SecretName) -> Result<SecretValue, SecretError> {
        let (source, team, name) = (self.clone(), team.to_owned(), name.clone());
        // A network's disk may hang, and would hold a thread that others need.
        let read = tokio::task::spawn_blocking(move || source.read(&team, &name)).await;
        read.unwrap_or(Err(SecretError::Unavailable { retry_after_ms: RETRY_AFTER_MS }))
    }
}

#[cfg(test)]
mod tests;
