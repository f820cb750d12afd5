//! The folder of one process of the service: a lock that says it lives, its machines, its snapshots.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use headwater_sandbox::{EngineError, Swept};

use crate::cgroup::Cgroups;
use crate::remains::{Living, Remains, remove_folder};
use crate::unable;

/// Short: it is the start of a machine's id, of which a program takes 64 letters.
const PREFIX: &str = "headwater-fc-";
const LOCK: &str = "lock";
const MACHINES: &str = "machines";
const SNAPSHOTS: &str = "snapshots";

/// What this process keeps of its machines.
pub(crate) struct Host {
    all: PathBuf,
    tag: String,
    folder: PathBuf,
    pub(crate) cgroups: Cgroups,
    living: Living,
    next: AtomicU64,
    _lock: File,
}

impl Host {
    pub(crate) fn new(all: &Path, cgroup_parent: &str) -> Result<Self, EngineError> {
        let failed = |error: io::Error| {
            let why = format!("the state folder {}: {error}", all.display());
            unable(why, "choose a folder that this service may write to")
        };
        fs::create_dir_all(all).map_err(failed)?;
        let all = all.canonicalize().map_err(failed)?;
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let tag = format!("{PREFIX}{}-{}", std::process::id(), nanos % 1_000_000_000_000);
        let folder = all.join(&tag);
        // A sweep of another process may see the folder before its lock: it is made beside.
        let making = all.join(format!("new-{tag}"));
        fs::create_dir(&making).map_err(failed)?;
        fs::set_permissions(&making, Permissions::from_mode(0o711)).map_err(failed)?;
        let lock = File::create(making.join(LOCK)).map_err(failed)?;
        lock.lock().map_err(failed)?;
        for inner in [MACHINES, SNAPSHOTS] {
            fs::create_dir(making.join(inner)).map_err(failed)?;
        }
        fs::rename(&making, &folder).map_err(failed)?;
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let cgroups = Cgroups::find(&mounts, cgroup_parent, &tag);
        let living = Arc::new(Mutex::new(BTreeSet::new()));
        Ok(Self { all, tag, folder, cgroups, living, next: AtomicU64::new(1), _lock: lock })
    }

    /// The folder in which the jailer makes those of machines.
    pub(crate) fn machines(&self) -> PathBuf {
        self.folder.join(MACHINES)
    }

    /// A folder for a snapshot.
    pub(crate) fn snapshot(&self) -> io::Result<PathBuf> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let folder = self.folder.join(SNAPSHOTS).join(number.to_string());
        fs::create_dir(&folder)?;
        Ok(folder)
    }

    /// An id and a root for a machine of a slot, or of no slot; `program` is the file's name of
    /// Firecracker, below which the jailer has its machines.
    pub(crate) fn claim(&self, slot: Option<&str>, program: &str) -> Result<Remains, EngineError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{number}", self.tag);
        let name = slot.unwrap_or(&id).to_owned();
        let mut living = self.living.lock().unwrap_or_else(PoisonError::into_inner);
        if living.iter().any(|(other, _)| *other == name) {
            return Err(EngineError::Busy { why: format!("a slot {name} is still there") });
        }
        living.insert((name.clone(), id.clone()));
        drop(living);
        // From here on, dropping takes away what is made.
        let folder = self.machines().join(program).join(&id);
        let group = self.cgroups.group(&id);
        let remains = Remains::new(name, id, folder, group, Arc::clone(&self.living));
        fs::create_dir_all(remains.root()).map_err(|error| EngineError::Busy {
            why: format!("the folder of slot {}: {error}", remains.name),
        })?;
        Ok(remains)
    }

    /// A file outside of every guest, to be looked for by a guest.
    pub(crate) fn canary(&self, text: &str) -> io::Result<PathBuf> {
        let path = self.folder.join("canary");
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Takes away what processes left that are gone, and machines of this one that nobody has.
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
            let before = stayed.len();
            self.sweep_machines(&entry.path(), &name, &BTreeSet::new(), &mut swept, &mut stayed);
            if stayed.len() == before {
                match remove_folder(&entry.path()) {
                    Ok(()) => swept.folders += 1,
                    Err(what) => stayed.push(what),
                }
            }
        }
        // While the names are held, no machine can come.
        let living = self.living.lock().unwrap_or_else(PoisonError::into_inner);
        let keep = living.iter().map(|(_, id)| id.clone()).collect();
        self.sweep_machines(&self.folder, &self.tag, &keep, &mut swept, &mut stayed);
        drop(living);
        if stayed.is_empty() {
            Ok(swept)
        } else {
            Err(EngineError::Dirty { what: stayed.join("; ") })
        }
    }

    fn sweep_machines(
        &self,
        folder: &Path,
        tag: &str,
        keep: &BTreeSet<String>,
        swept: &mut Swept,
        stayed: &mut Vec<String>,
    ) {
        let inside = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten();
        let programs = inside(folder.join(MACHINES));
        for machine in programs.flat_map(|program| inside(program.path())) {
            let id = machine.file_name().to_string_lossy().into_owned();
            if keep.contains(&id) {
                continue;
            }
            swept.processes += kill_machine(&machine.path().join("root"), &id);
            match remove_folder(&machine.path()) {
                Ok(()) => swept.folders += 1,
                Err(what) => stayed.push(what),
            }
        }
        for id in self.cgroups.left(&format!("{tag}-")) {
            if keep.contains(&id) {
                continue;
            }
            let group = self.cgroups.group(&id);
            let folders = group.folders().len() as u32;
            swept.processes += group.kill();
            match group.remove() {
                Ok(()) => swept.cgroups += folders,
                Err(what) => stayed.push(what),
            }
        }
    }
}

/// Kills a machine's process by the id that the jailer wrote into its root. The machine could have
/// written there too, so the process must be one that was started for this machine.
fn kill_machine(root: &Path, id: &str) -> u32 {
    let files = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "pid"));
    let is_file = |path: &PathBuf| path.symlink_metadata().is_ok_and(|meta| meta.is_file());
    let texts = files.filter(is_file).filter_map(|path| fs::read_to_string(path).ok());
    let mut killed = 0;
    for process in texts.filter_map(|text| text.trim().parse::<i32>().ok()) {
        let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        let told = line.split(|byte| *byte == 0).any(|word| {
            let word = word.strip_prefix(b"--id=").unwrap_or(word);
            word == id.as_bytes()
        });
        if process > 1 && told {
            // SAFETY: a signal to a process that carries this machine's id; no memory is touched.
            killed += u32::from(unsafe { libc::kill(process, libc::SIGKILL) } == 0);
        }
    }
    killed
}

impl Drop for Host {
    fn drop(&mut self) {
        // Machines that outlive the engine take their own folders away; the rest is left to a sweep.
        if self.living.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            drop(remove_folder(&self.folder));
        }
    }
}
