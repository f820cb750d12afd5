//! Which slots are whose: a folder for each process of the service, with a lock that its end opens.
//!
//! A slot is told here before anything of it is made, and forgotten after everything of it is gone.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sha2::{Digest, Sha256};

/// This process's place in the folder of state.
pub(crate) struct Registry {
    state: PathBuf,
    own: PathBuf,
    /// What all names of cgroups of this folder of state begin with.
    prefix: String,
    live: Mutex<BTreeSet<String>>,
    /// Held as long as this process lives.
    _lock: File,
}

/// What a process has left.
pub(crate) struct Left {
    pub(crate) folder: PathBuf,
    pub(crate) slots: Vec<String>,
    /// The folder is a dead process's, so it goes too.
    pub(crate) is_dead: bool,
}

fn told<T>(path: &Path, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

impl Registry {
    /// Makes this process's place.
    pub(crate) fn open(state: &Path) -> io::Result<Self> {
        let hosts = state.join("hosts");
        told(&hosts, fs::create_dir_all(&hosts))?;
        let state = told(state, fs::canonicalize(state))?;
        let hosts = state.join("hosts");
        let digest = Sha256::digest(state.as_os_str().as_encoded_bytes());
        let short: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        for attempt in 0..u32::MAX {
            let own = hosts.join(format!("{}-{attempt}", std::process::id()));
            match fs::create_dir(&own) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => told(&own, made)?,
            }
            let path = own.join("lock");
            let lock = told(&path, File::create(&path))?;
            told(&path, lock.lock())?;
            let (prefix, live) = (format!("headwater-{short}-"), Mutex::default());
            return Ok(Self { state, own, prefix, live, _lock: lock });
        }
        Err(io::Error::other("too many engines in one process"))
    }

    /// The name of a slot's cgroup.
    pub(crate) fn group_name(&self, slot: &str) -> String {
        format!("{}{slot}", self.prefix)
    }

    /// The slot of a cgroup of this folder of state.
    pub(crate) fn slot_of<'a>(&self, group: &'a str) -> Option<&'a str> {
        group.strip_prefix(&self.prefix)
    }

    /// Takes a name. False where this process has it already.
    pub(crate) fn take(&self, slot: &str) -> io::Result<bool> {
        let is_new = self.live.lock().is_ok_and(|mut live| live.insert(slot.to_owned()));
        if is_new {
            let path = self.own.join(format!("{slot}.slot"));
            told(&path, fs::write(&path, ""))?;
        }
        Ok(is_new)
    }

    /// Notes the launcher's process, to be found after this process's end.
    pub(crate) fn note(&self, slot: &str, launcher: u32) -> io::Result<()> {
        let path = self.own.join(format!("{slot}.slot"));
        told(&path, fs::write(&path, launcher.to_string()))
    }

    /// A slot is gone as a whole, or what is left of it is for the next sweep.
    pub(crate) fn release(&self, slot: &str, is_gone: bool) {
        if is_gone {
            let _ = fs::remove_file(self.own.join(format!("{slot}.slot")));
        }
        if let Ok(mut live) = self.live.lock() {
            live.remove(slot);
        }
    }

    pub(crate) fn is_live(&self, slot: &str) -> bool {
        self.live.lock().is_ok_and(|live| live.contains(slot))
    }

    /// Slots of processes that are gone, and of this one where nobody has them any more.
    pub(crate) fn left(&self) -> io::Result<Vec<Left>> {
        let mut found = Vec::new();
        let hosts = self.state.join("hosts");
        for entry in told(&hosts, fs::read_dir(&hosts))? {
            let folder = entry?.path();
            let is_own = folder == self.own;
            if !is_own && !is_dead(&folder) {
                continue;
            }
            let mut slots = slots_in(&folder);
            if is_own {
                slots.retain(|slot| !self.is_live(slot));
            }
            found.push(Left { folder, slots, is_dead: !is_own });
        }
        Ok(found)
    }

    /// Slots that living processes, this one too, have told of.
    pub(crate) fn held(&self) -> BTreeSet<String> {
        let Ok(entries) = fs::read_dir(self.state.join("hosts")) else { return BTreeSet::new() };
        let folders = entries.flatten().map(|entry| entry.path());
        let live = folders.filter(|folder| *folder == self.own || !is_dead(folder));
        live.flat_map(|folder| slots_in(&folder)).collect()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Stays where slots are left in it: the next sweep finds them.
        if slots_in(&self.own).is_empty() {
            let _ = fs::remove_dir_all(&self.own);
        }
    }
}

fn slots_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| name.strip_suffix(".slot").map(str::to_owned)).collect()
}

/// A lock that can be taken is one that nobody alive holds.
fn is_dead(folder: &Path) -> bool {
    File::open(folder.join("lock")).is_ok_and(|lock| lock.try_lock().is_ok())
}
