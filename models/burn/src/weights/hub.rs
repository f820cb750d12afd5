//! Weights from a model hub at a fixed revision.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hf_hub::progress::{DownloadEvent, ProgressEvent, ProgressHandler};
use hf_hub::{HFClient, HFError};

use super::{FetchError, Progress, Staging, missing_file};
use crate::folder::{OPTIONAL, REQUIRED};

const PROGRESS_EVERY: Duration = Duration::from_millis(20);

/// # Errors
/// [`FetchError`] naming the repository, the file and what to do next.
pub(super) fn fetch(
    repository: &str,
    revision: &str,
    cache: &Path,
    progress: Progress<'_>,
) -> Result<PathBuf, FetchError> {
    fetch_from(HFClient::builder(), repository, revision, cache, progress)
}

fn fetch_from(
    client: hf_hub::HFClientBuilder,
    repository: &str,
    revision: &str,
    cache: &Path,
    progress: Progress<'_>,
) -> Result<PathBuf, FetchError> {
    let target = cache.join(folder_name(repository, revision)?);
    if missing_file(&target).is_none() {
        return Ok(target);
    }
    let (owner, name) = repository.split_once('/').unwrap_or_default();
    let staging = Staging::beside(&target)?;
    let model = staging.path().join("model");
    let counter = Arc::new(Counter::default());
    let client = client
        .cache_enabled(false)
        .build_sync()
        .map_err(|error| FetchError::Unreachable(error.to_string()))?;
    let source = client.model(owner, name);
    let wanted = REQUIRED.iter().map(|file| (*file, true));
    for (file, required) in wanted.chain(OPTIONAL.iter().map(|file| (*file, false))) {
        let download = || {
            source
                .download_file()
                .filename(file)
                .local_dir(model.clone())
                .revision(revision)
                .progress(Arc::clone(&counter))
                .send()
        };
        match watched(&counter, progress, download) {
            Ok(_) => {}
            Err(HFError::EntryNotFound { .. }) if !required => {}
            Err(error) => return Err(told(repository, revision, file, &error)),
        }
        counter.finish_file();
    }
    // The client keeps notes of its own beside the files.
    let _ = std::fs::remove_dir_all(model.join(".cache"));
    staging.publish(&model)
}

/// Runs a blocking download on a thread of its own and reports from this one.
fn watched<T: Send>(
    counter: &Counter,
    progress: Progress<'_>,
    download: impl FnOnce() -> T + Send,
) -> T {
    std::thread::scope(|scope| {
        let worker = scope.spawn(download);
        while !worker.is_finished() {
            std::thread::sleep(PROGRESS_EVERY);
            progress(counter.bytes(), None);
        }
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The folder in the cache; a revision never changes, so its folder never goes stale.
pub(super) fn folder_name(repository: &str, revision: &str) -> Result<String, FetchError> {
    let plain = |text: &str| {
        !text.is_empty()
            && !text.starts_with('.')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    match repository.split_once('/') {
        Some((owner, name)) if plain(owner) && plain(name) && plain(revision) => {
            Ok(format!("{owner}--{name}-{revision}"))
        }
        _ => Err(FetchError::Source(format!(
            "{repository:?} at {revision:?} names no model; write the repository as \
             \"owner/name\" and the revision as a commit, letters, digits and -_. only"
        ))),
    }
}

fn told(repository: &str, revision: &str, file: &str, error: &HFError) -> FetchError {
    match error {
        HFError::EntryNotFound { .. } => FetchError::Source(format!(
            "{repository} at {revision} has no {file}; a model needs {}",
            REQUIRED.join(", ")
        )),
        HFError::RepoNotFound { .. } | HFError::RevisionNotFound { .. } => {
            FetchError::Source(format!("{repository} at {revision}: {error}"))
        }
        HFError::AuthRequired { .. } | HFError::Forbidden { .. } => FetchError::Source(format!(
            "{repository} at {revision} is not open to all: {error}; set HF_TOKEN"
        )),
        _ => FetchError::Unreachable(format!(
            "{file} of {repository} at {revision} did not come: {error}; check the network, or \
             download the model elsewhere and name its folder"
        )),
    }
}

/// Bytes of the files that are done and of the one that is under way.
#[derive(Default)]
struct Counter {
    done: AtomicU64,
    current: AtomicU64,
}

impl Counter {
    fn bytes(&self) -> u64 {
        self.done.load(Ordering::Relaxed) + self.current.load(Ordering::Relaxed)
    }

    fn finish_file(&self) {
        self.done.fetch_add(self.current.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl ProgressHandler for Counter {
    fn on_progress(&self, event: &ProgressEvent) {
        if let ProgressEvent::Download(DownloadEvent::Progress { files }) = event {
            let bytes = files.iter().map(|file| file.bytes_completed).sum();
            self.current.store(bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
