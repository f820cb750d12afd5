//! What a slot holds on the host beside its process, and how it is taken away.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::cgroup::Group;

/// Names of the slots that this process has.
pub(crate) type Living = Arc<Mutex<BTreeSet<String>>>;

/// Folder, cgroup and runsc's state of one slot. Dropping it takes all away in the background.
pub(crate) struct Remains {
    pub(crate) name: String,
    /// The name of the container, and the start of the names of runsc's files about it.
    pub(crate) id: String,
    pub(crate) folder: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) group: Group,
    pub(crate) living: Living,
    gone: bool,
    /// The last try is under way; what it leaves is left to the next sweep.
    last: bool,
}

impl Remains {
    pub(crate) fn new(
        name: &str,
        id: String,
        folder: PathBuf,
        state: PathBuf,
        living: Living,
    ) -> Self {
        let (name, group) = (name.to_owned(), Group::default());
        Self { name, id, folder, state, group, living, gone: false, last: false }
    }

    /// Kills what still runs and takes all away; blocks until it is gone.
    pub(crate) fn take_away(&mut self) -> Result<(), String> {
        if self.gone {
            return Ok(());
        }
        self.group.kill();
        let results =
            [self.group.remove(), forget(&self.state, &self.id), remove_folder(&self.folder)];
        let stayed: Vec<String> = results.into_iter().filter_map(Result::err).collect();
        self.gone = stayed.is_empty();
        self.living.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
        if stayed.is_empty() { Ok(()) } else { Err(stayed.join("; ")) }
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        if self.gone || self.last {
            return;
        }
        self.group.kill();
        let mut left = Self {
            name: self.name.clone(),
            id: self.id.clone(),
            folder: self.folder.clone(),
            state: self.state.clone(),
            group: self.group.clone(),
            living: Arc::clone(&self.living),
            gone: false,
            last: true,
        };
        let work = move || drop(left.take_away());
        // Waiting for the end of processes must not hold the dropping task up.
        drop(std::thread::Builder::new().name("gvisor-remains".to_owned()).spawn(work));
    }
}

/// Takes away runsc's files about a container whose processes are gone.
fn forget(state: &Path, id: &str) -> Result<(), String> {
    let told = |error: io::Error| format!("state {}: {error}", state.display());
    let entries = match fs::read_dir(state) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(told(error)),
    };
    for entry in entries.flatten() {
        if is_of(&entry.file_name().to_string_lossy(), id) {
            remove_file(&entry.path()).map_err(told)?;
        }
    }
    Ok(())
}

/// Whether a file of runsc is about this container: its name is the id, and then no part of an id.
fn is_of(file: &str, id: &str) -> bool {
    let rest = file.strip_prefix("runsc-").unwrap_or(file).strip_prefix(id);
    rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-'))
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(crate) fn remove_folder(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("folder {}: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
