//! Cgroups around sandboxes, of version 1 (a hierarchy a controller) and version 2 (one for all).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use headwater_sandbox::Limits;

mod layout;

use layout::{Layout, Version};

/// Host threads for each process of the guest, and for the sandbox's own kernel. With `ptrace` each
/// thread of that kernel that ran a process keeps one for it; out of threads, the kernel dies.
const THREADS_EACH: u32 = 32;
const THREADS_OWN: u32 = 256;
const PERIOD_US: u64 = 100_000;
const GONE_WITHIN: Duration = Duration::from_secs(3);

/// What is held by cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Controller {
    Memory,
    Processes,
    Processors,
}

impl Controller {
    const ALL: [Self; 3] = [Self::Memory, Self::Processes, Self::Processors];

    const fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Processes => "pids",
            Self::Processors => "cpu",
        }
    }
}

/// The hierarchies of this host in which slots get their cgroups.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cgroups {
    places: Vec<(Controller, Version, PathBuf)>,
    pub(crate) warnings: Vec<String>,
}

impl Cgroups {
    /// Finds them, and tries each by making a cgroup in it.
    pub(crate) fn find(parent: Option<&str>, tag: &str) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let layout = Layout::of(&read("/proc/self/mounts"), &read("/proc/self/cgroup"));
        let mut found = Self::default();
        for controller in Controller::ALL {
            match layout
                .place(controller.word(), parent)
                .and_then(|place| tried(place, controller, tag))
            {
                Ok((version, folder)) => found.places.push((controller, version, folder)),
                Err(why) => found.warnings.push(format!(
                    "no {} cgroup holds a slot ({why}); set cgroup_parent to a cgroup that this \
                     service may divide",
                    controller.word()
                )),
            }
        }
        found
    }

    /// A cgroup for one slot.
    pub(crate) fn make(&self, name: &str, limits: &Limits, overhead: u64) -> io::Result<Group> {
        let mut group = Group { places: Vec::new() };
        for (controller, version, parent) in &self.places {
            let folder = parent.join(name);
            if !group.places.iter().any(|(_, _, other)| *other == folder) {
                fs::create_dir(&folder)?;
            }
            group.places.push((*controller, *version, folder));
        }
        match group.hold(limits, overhead) {
            Ok(()) => Ok(group),
            Err(error) => {
                drop(group.remove());
                Err(error)
            }
        }
    }

    /// The cgroups whose names begin so.
    pub(crate) fn left(&self, prefix: &str) -> Vec<Group> {
        let mut groups = std::collections::BTreeMap::new();
        for (controller, version, parent) in &self.places {
            let entries = fs::read_dir(parent).into_iter().flatten().flatten();
            for entry in entries {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.starts_with(prefix) {
                    let group = groups.entry(name).or_insert_with(Group::default);
                    group.places.push((*controller, *version, entry.path()));
                }
            }
        }
        groups.into_values().collect()
    }
}

fn tried(
    (version, folder): (Version, PathBuf),
    controller: Controller,
    tag: &str,
) -> Result<(Version, PathBuf), String> {
    let told = |error: io::Error| format!("{}: {error}", folder.display());
    if version == Version::Two {
        let handed = fs::read_to_string(folder.join("cgroup.subtree_control")).map_err(told)?;
        if !handed.split_whitespace().any(|word| word == controller.word()) {
            let order = format!("+{}", controller.word());
            fs::write(folder.join("cgroup.subtree_control"), order).map_err(told)?;
        }
    }
    let trial = folder.join(format!("{tag}-{}", controller.word()));
    fs::create_dir(&trial).map_err(told)?;
    fs::remove_dir(&trial).map_err(told)?;
    Ok((version, folder))
}

/// The cgroup of one slot, in every hierarchy that holds something.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    places: Vec<(Controller, Version, PathBuf)>,
}

impl Group {
    fn hold(&self, limits: &Limits, overhead: u64) -> io::Result<()> {
        let memory = (limits.memory_bytes + overhead).to_string();
        let threads = (limits.processes * THREADS_EACH + THREADS_OWN).to_string();
        for (controller, version, folder) in &self.places {
            match (controller, version) {
                (Controller::Memory, Version::One) => {
                    fs::write(folder.join("memory.limit_in_bytes"), &memory)?;
                    set_if_there(&folder.join("memory.memsw.limit_in_bytes"), &memory)?;
                }
                (Controller::Memory, Version::Two) => {
                    fs::write(folder.join("memory.max"), &memory)?;
                    set_if_there(&folder.join("memory.swap.max"), "0")?;
                    set_if_there(&folder.join("memory.oom.group"), "1")?;
                }
                (Controller::Processes, _) => fs::write(folder.join("pids.max"), &threads)?,
                (Controller::Processors, _) => {}
            }
        }
        Ok(())
    }

    /// Holds processor time: only once the sandbox has started, which is not the guest's work.
    pub(crate) fn hold_processors(&self, cpu_milli: u32) -> io::Result<()> {
        let quota = u64::from(cpu_milli) * PERIOD_US / 1_000;
        for (controller, version, folder) in &self.places {
            match (controller, version) {
                (Controller::Processors, Version::One) => {
                    fs::write(folder.join("cpu.cfs_period_us"), PERIOD_US.to_string())?;
                    fs::write(folder.join("cpu.cfs_quota_us"), quota.to_string())?;
                }
                (Controller::Processors, Version::Two) => {
                    fs::write(folder.join("cpu.max"), format!("{quota} {PERIOD_US}"))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn folder(&self, wanted: Controller) -> Option<(Version, &Path)> {
        let place = self.places.iter().find(|(controller, _, _)| *controller == wanted);
        place.map(|(_, version, folder)| (*version, folder.as_path()))
    }

    /// The folders, each once.
    pub(crate) fn folders(&self) -> Vec<&Path> {
        let mut folders: Vec<&Path> =
            self.places.iter().map(|(_, _, path)| path.as_path()).collect();
        folders.sort_unstable();
        folders.dedup();
        folders
    }

    /// What its processes hold, without what the host may drop from its cache; `None` without a
    /// memory cgroup.
    pub(crate) fn memory_bytes(&self) -> Option<u64> {
        let (version, folder) = self.folder(Controller::Memory)?;
        let text = fs::read_to_string(folder.join("memory.stat")).ok()?;
        let fields: &[&str] = match version {
            Version::One => &["total_rss", "total_shmem"],
            Version::Two => &["anon", "shmem"],
        };
        Some(fields.iter().filter_map(|field| number_of(&text, field)).sum())
    }

    /// How often the host has killed in it for want of memory.
    pub(crate) fn memory_kills(&self) -> u64 {
        let Some((version, folder)) = self.folder(Controller::Memory) else { return 0 };
        let file = match version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
        number_of(&text, "oom_kill").unwrap_or(0)
    }

    /// Sends all its processes the signal that none can refuse; tells how many there were.
    pub(crate) fn kill(&self) -> u32 {
        let mut pids = Vec::new();
        for folder in self.folders() {
            // One write for all, where the kernel can; the loop is for those that cannot.
            let _ = fs::write(folder.join("cgroup.kill"), "1").is_ok();
            let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
        pids.sort_unstable();
        pids.dedup();
        for pid in pids.iter().filter(|pid| **pid > 1) {
            // SAFETY: a signal to a process of this cgroup; no memory is touched.
            unsafe { libc::kill(*pid, libc::SIGKILL) };
        }
        pids.len() as u32
    }

    /// Kills all that is in it and takes it away; blocks for a moment.
    pub(crate) fn remove(&self) -> Result<(), String> {
        let until = Instant::now() + GONE_WITHIN;
        for folder in self.folders() {
            loop {
                match fs::remove_dir(folder) {
                    Ok(()) => break,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                    Err(error) if Instant::now() > until => {
                        return Err(format!("cgroup {}: {error}", folder.display()));
                    }
                    Err(_) => {
                        self.kill();
                        std::thread::sleep(Duration::from_millis(2));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Writes to a file that not every kernel has.
fn set_if_there(path: &Path, value: &str) -> io::Result<()> {
    if path.exists() { fs::write(path, value) } else { Ok(()) }
}

fn number_of(text: &str, field: &str) -> Option<u64> {
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.into_iter().find(|(name, _)| *name == field)?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests;
