//! What a machine holds on the host beside its process, and how it is taken away.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::cgroup::Group;

/// What this process has: ids of machines, each with the name of its slot.
pub(crate) type Living = Arc<Mutex<BTreeSet<(String, String)>>>;

/// Folder and cgroup of one machine. Dropping it takes all away in the background.
pub(crate) struct Remains {
    /// The slot's name; a machine for a snapshot has its id here.
    pub(crate) name: String,
    pub(crate) id: String,
    /// The jailer's folder of this machine.
    pub(crate) folder: PathBuf,
    pub(crate) group: Group,
    pub(crate) living: Living,
    /// Nothing is left to do when it is dropped: all is gone, or the next sweep tries again.
    over: bool,
}

impl Remains {
    pub(crate) fn new(
        name: String,
        id: String,
        folder: PathBuf,
        group: Group,
        living: Living,
    ) -> Self {
        Self { name, id, folder, group, living, over: false }
    }

    /// The folder that is the process's root and its working folder.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// Kills what still runs and takes all away; blocks until it is gone.
    pub(crate) fn take_away(mut self) -> Result<(), String> {
        self.over = true;
        self.group.kill();
        let results = [self.group.remove(), remove_folder(&self.folder)];
        let stayed: Vec<String> = results.into_iter().filter_map(Result::err).collect();
        let mut living = self.living.lock().unwrap_or_else(PoisonError::into_inner);
        living.remove(&(self.name.clone(), self.id.clone()));
        if stayed.is_empty() { Ok(()) } else { Err(stayed.join("; ")) }
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        self.group.kill();
        let left = Self {
            name: self.name.clone(),
            id: self.id.clone(),
            folder: self.folder.clone(),
            group: self.group.clone(),
            living: Arc::clone(&self.living),
            over: false,
        };
        let work = move || drop(left.take_away());
        // Waiting for the end of processes must not hold the dropping task up.
        drop(std::thread::Builder::new().name("firecracker-remains".to_owned()).spawn(work));
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
