//! One cgroup a slot, of the unified hierarchy or of one hierarchy for each controller.

mod find;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(crate) use find::{Parents, find};

use headwater_sandbox::Limits;

/// How long a killed group may take to be empty.
const EMPTY: Duration = Duration::from_secs(5);

/// The groups of one slot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    pub(crate) unified: Option<PathBuf>,
    pub(crate) memory: Option<PathBuf>,
    pub(crate) pids: Option<PathBuf>,
    pub(crate) cpu: Option<PathBuf>,
    pub(crate) account: Option<PathBuf>,
    pub(crate) freezer: Option<PathBuf>,
    /// Each folder once.
    pub(crate) folders: Vec<PathBuf>,
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The number behind a name in a file of lines such as `oom_kill 3`.
fn field(path: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.split(' ').next() == Some(name))?;
    line.split(' ').nth(1)?.parse().ok()
}

impl Group {
    /// The groups of that name below the parents; nothing is made.
    pub(crate) fn named(parents: &Parents, name: &str) -> Self {
        let below = |parent: &Option<PathBuf>| parent.as_ref().map(|path| path.join(name));
        let mut group = Self {
            unified: below(&parents.unified),
            memory: below(&parents.memory),
            pids: below(&parents.pids),
            cpu: below(&parents.cpu),
            account: below(&parents.account),
            freezer: below(&parents.freezer),
            folders: Vec::new(),
        };
        let all = [
            &group.unified,
            &group.memory,
            &group.pids,
            &group.cpu,
            &group.account,
            &group.freezer,
        ];
        let mut folders: Vec<PathBuf> = all.into_iter().flatten().cloned().collect();
        folders.sort();
        folders.dedup();
        group.folders = folders;
        group
    }

    /// Makes the folders and sets the limits.
    pub(crate) fn make(&self, limits: &Limits) -> io::Result<()> {
        for folder in &self.folders {
            fs::create_dir(folder).map_err(|error| {
                io::Error::new(error.kind(), format!("making {}: {error}", folder.display()))
            })?;
        }
        self.limit(limits)
    }

    /// Sets the limits, on a group that is in use too.
    pub(crate) fn limit(&self, limits: &Limits) -> io::Result<()> {
        let quota_us = u64::from(limits.cpu_milli) * 100;
        // Beside the guest's: the zygote and the keeper.
        let processes = u64::from(limits.processes) + 2;
        let memory = limits.memory_bytes.to_string();
        let set = |path: PathBuf, value: String| {
            fs::write(&path, value).map_err(|error| {
                io::Error::new(error.kind(), format!("writing {}: {error}", path.display()))
            })
        };
        if let Some(path) = &self.memory {
            if self.is_unified(path) {
                set(path.join("memory.max"), memory)?;
                let _ = fs::write(path.join("memory.swap.max"), "0");
                // The keeper and the zygote are small; only the guest is killed, not its group.
                let _ = fs::write(path.join("memory.oom.group"), "0");
            } else {
                // The limit with swap is never below the one without.
                let swap = path.join("memory.memsw.limit_in_bytes");
                let _ = fs::write(&swap, "-1");
                set(path.join("memory.limit_in_bytes"), memory.clone())?;
                let _ = fs::write(&swap, memory);
            }
        }
        if let Some(path) = &self.pids {
            set(path.join("pids.max"), processes.to_string())?;
        }
        if let Some(path) = &self.cpu {
            if self.is_unified(path) {
                set(path.join("cpu.max"), format!("{quota_us} 100000"))?;
            } else {
                set(path.join("cpu.cfs_quota_us"), quota_us.to_string())?;
            }
        }
        Ok(())
    }

    fn is_unified(&self, path: &Path) -> bool {
        self.unified.as_deref() == Some(path)
    }

    /// How often the kernel has killed for want of memory.
    pub(crate) fn memory_kills(&self) -> Option<u64> {
        let path = self.memory.as_ref()?;
        let file = if self.is_unified(path) { "memory.events" } else { "memory.oom_control" };
        field(&path.join(file), "oom_kill")
    }

    /// Begins to look for the most memory anew, where the kernel can.
    pub(crate) fn forget_peak(&self) {
        if let Some(path) = self.memory.as_ref().filter(|path| !self.is_unified(path)) {
            let _ = fs::write(path.join("memory.max_usage_in_bytes"), "0");
        }
    }

    /// The most memory since then; nothing where the kernel cannot begin anew.
    pub(crate) fn peak(&self) -> Option<u64> {
        let path = self.memory.as_ref().filter(|path| !self.is_unified(path))?;
        number(&path.join("memory.max_usage_in_bytes"))
    }

    /// Memory that nothing but its owner's end gives back: not the pages of the image's files.
    pub(crate) fn held_bytes(&self) -> Option<u64> {
        let path = self.memory.as_ref()?.join("memory.stat");
        let names = if self.unified == self.memory {
            ["anon", "shmem"]
        } else {
            ["total_rss", "total_shmem"]
        };
        Some(names.iter().filter_map(|name| field(&path, name)).sum())
    }

    /// Processor time so far, in microseconds.
    pub(crate) fn cpu_us(&self) -> Option<u64> {
        let path = self.account.as_ref()?;
        if self.is_unified(path) {
            return field(&path.join("cpu.stat"), "usage_usec");
        }
        number(&path.join("cpuacct.usage")).map(|nanoseconds| nanoseconds / 1_000)
    }

    /// The ids of all processes.
    pub(crate) fn processes(&self) -> Option<Vec<i32>> {
        let path = self.pids.as_ref().or(self.folders.first())?;
        let text = fs::read_to_string(path.join("cgroup.procs")).ok()?;
        Some(text.lines().filter_map(|line| line.parse().ok()).collect())
    }

    pub(crate) fn can_freeze(&self) -> bool {
        self.freezer.is_some() || self.unified.is_some()
    }

    /// Asks the kernel to take all processor time away, or to give it back.
    pub(crate) fn ask_freeze(&self, freeze: bool) -> io::Result<()> {
        if let Some(path) = &self.freezer {
            return fs::write(path.join("freezer.state"), if freeze { "FROZEN" } else { "THAWED" });
        }
        match &self.unified {
            Some(path) => fs::write(path.join("cgroup.freeze"), if freeze { "1" } else { "0" }),
            None => Ok(()),
        }
    }

    pub(crate) fn is_frozen(&self) -> bool {
        if let Some(path) = &self.freezer {
            let state = fs::read_to_string(path.join("freezer.state"));
            return state.is_ok_and(|state| state.trim() == "FROZEN");
        }
        let events = self.unified.as_ref().map(|path| path.join("cgroup.events"));
        events.and_then(|path| field(&path, "frozen")) == Some(1)
    }

    /// Kills all processes and removes the folders. Blocks, for some seconds at most; whoever
    /// stays is told.
    pub(crate) fn remove(&self) -> Result<(), String> {
        let deadline = Instant::now() + EMPTY;
        let _ = self.ask_freeze(false);
        let mut pause = Duration::from_micros(500);
        loop {
            self.kill();
            let mut stays = Vec::new();
            for folder in &self.folders {
                match fs::remove_dir(folder) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        stays.push(format!("{} ({error})", folder.display()));
                    }
                    _ => {}
                }
            }
            if stays.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(format!("cgroup {}", stays.join(", ")));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    fn kill(&self) {
        for folder in &self.folders {
            if fs::write(folder.join("cgroup.kill"), "1").is_ok() {
                continue;
            }
            let Ok(text) = fs::read_to_string(folder.join("cgroup.procs")) else { continue };
            for process in text.lines().filter_map(|line| line.parse::<i32>().ok()) {
                let process = nix::unistd::Pid::from_raw(process);
                if process.as_raw() > 1 {
                    let _ = nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGKILL);
                }
            }
        }
    }
}
