//! The folder of one process of the service: a lock that says it lives, its slots, runsc's state.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use headwater_sandbox::{EngineError, Swept};

use crate::ENGINE;
use crate::cgroup::Cgroups;
use crate::remains::{Living, Remains, remove_folder};

const PREFIX: &str = "headwater-gvisor-";
const LOCK: &str = "lock";
const CONTAINERS: &str = "containers";
const SLOTS: &str = "slots";

/// What this process keeps of its slots.
pub(crate) struct Host {
    all: PathBuf,
    tag: String,
    folder: PathBuf,
    pub(crate) cgroups: Cgroups,
    living: Living,
    _lock: File,
}

impl Host {
    pub(crate) fn new(all: &Path, cgroup_parent: Option<&str>) -> Result<Self, EngineError> {
        let unable = |error: io::Error| EngineError::Unable {
            engine: ENGINE,
            why: format!("the state folder {}: {error}", all.display()),
            mend: "choose a folder that this service may write to".to_owned(),
        };
        fs::create_dir_all(all).map_err(unable)?;
        let all = all.canonicalize().map_err(unable)?;
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let tag = format!("{PREFIX}{}-{}", std::process::id(), nanos % 1_000_000_000_000);
        let folder = all.join(&tag);
        // A sweep of another process may see the folder before its lock: it is made beside.
        let making = all.join(format!("new-{tag}"));
        fs::create_dir(&making).map_err(unable)?;
        let lock = File::create(making.join(LOCK)).map_err(unable)?;
        lock.lock().map_err(unable)?;
        for inner in [CONTAINERS, SLOTS] {
            fs::create_dir(making.join(inner)).map_err(unable)?;
        }
        fs::rename(&making, &folder).map_err(unable)?;
        let cgroups = Cgroups::find(cgroup_parent, &tag);
        let living = Arc::new(Mutex::new(BTreeSet::new()));
        Ok(Self { all, tag, folder, cgroups, living, _lock: lock })
    }

    /// A name and a folder for a new slot.
    pub(crate) fn claim(&self, name: &str) -> Result<Remains, EngineError> {
        let folder = self.folder.join(SLOTS).join(name);
        if !self.living.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned()) {
            return Err(EngineError::Busy { why: format!("a slot {name} is still there") });
        }
        // From here on, dropping takes away what is made.
        let id = format!("{}-{name}", self.tag);
        let living = Arc::clone(&self.living);
        let remains = Remains::new(name, id, folder, self.folder.join(CONTAINERS), living);
        fs::create_dir(&remains.folder).map_err(|error| EngineError::Busy {
            why: format!("the folder of slot {name}: {error}"),
        })?;
        Ok(remains)
    }

    /// A file outside of every guest, to be looked for by a guest.
    pub(crate) fn canary(&self, text: &str) -> io::Result<PathBuf> {
        let path = self.folder.join("canary");
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Takes away what processes left that are gone, and slots of this one that nobody has.
    pub(crate) fn sweep(&self) -> Result<Swept, EngineError> {
        let mut swept = Swept::default();
        let mut stayed = Vec::new();
        let dirty = |error: io::Error| EngineError::Dirty {
            what: format!("the state folder {}: {error}", self.all.display()),
        };
        for entry in fs::read_dir(&self.all).map_err(dirty)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == self.tag || !name.starts_with(PREFIX) {
                continue;
            }
            // A lock that can be taken is one whose process is gone.
            let Ok(lock) = File::open(entry.path().join(LOCK)) else { continue };
            if lock.try_lock().is_err() {
                continue;
            }
            self.sweep_cgroups(&format!("{name}-"), &[], &mut swept, &mut stayed);
            if stayed.is_empty() {
                let slots = fs::read_dir(entry.path().join(SLOTS)).into_iter().flatten().count();
                match remove_folder(&entry.path()) {
                    Ok(()) => swept.folders += 1 + slots as u32,
                    Err(what) => stayed.push(what),
                }
            }
        }
        self.sweep_own(&mut swept, &mut stayed);
        if stayed.is_empty() {
            Ok(swept)
        } else {
            Err(EngineError::Dirty { what: stayed.join("; ") })
        }
    }

    fn sweep_own(&self, swept: &mut Swept, stayed: &mut Vec<String>) {
        // While the names are held, no slot can come.
        let living = self.living.lock().unwrap_or_else(PoisonError::into_inner);
        let prefix = format!("{}-", self.tag);
        let keep: Vec<String> = living.iter().map(|name| format!("{prefix}{name}")).collect();
        self.sweep_cgroups(&prefix, &keep, swept, stayed);
        for entry in fs::read_dir(self.folder.join(SLOTS)).into_iter().flatten().flatten() {
            if !living.contains(entry.file_name().to_string_lossy().as_ref()) {
                match remove_folder(&entry.path()) {
                    Ok(()) => swept.folders += 1,
                    Err(what) => stayed.push(what),
                }
            }
        }
    }

    fn sweep_cgroups(
        &self,
        prefix: &str,
        keep: &[String],
        swept: &mut Swept,
        stayed: &mut Vec<String>,
    ) {
        for group in self.cgroups.left(prefix) {
            let folders = group.folders();
            let name = folders.first().and_then(|folder| folder.file_name());
            let name = name.unwrap_or_default().to_string_lossy();
            if keep.iter().any(|kept| *kept == name) {
                continue;
            }
            swept.processes += group.kill();
            match group.remove() {
                Ok(()) => swept.cgroups += folders.len() as u32,
                Err(what) => stayed.push(what),
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Slots that outlive the engine take their own folders away; the rest is left to a sweep.
        if self.living.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            drop(remove_folder(&self.folder));
        }
    }
}
