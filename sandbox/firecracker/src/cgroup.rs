//! Cgroups around machines: the jailer makes and fills them, this finds where, and takes them away.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Threads of a machine's process beside its processors, with room.
const THREADS_OWN: u32 = 64;
const PERIOD_US: u64 = 100_000;
const GONE_WITHIN: Duration = Duration::from_secs(3);
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];

/// What a machine's process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) memory_bytes: u64,
    pub(crate) vcpus: u32,
    /// Thousandths of a processor; no limit where absent.
    pub(crate) cpu_milli: Option<u32>,
}

/// The hierarchies in which machines get cgroups, all of one version: the jailer knows one at a time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cgroups {
    version: u32,
    parent: String,
    /// Controllers, each with the folder below which there is one folder a machine.
    places: Vec<(&'static str, PathBuf)>,
    pub(crate) warnings: Vec<String>,
}

impl Cgroups {
    /// Finds them in the text of `/proc/self/mounts`, and tries each by making a cgroup.
    pub(crate) fn find(mounts: &str, parent: &str, tag: &str) -> Self {
        let mut found = Self { version: 1, parent: parent.to_owned(), ..Self::default() };
        let mut places = placed(mounts, "cgroup");
        if places.is_empty() {
            found.version = 2;
            places = placed(mounts, "cgroup2");
        }
        for controller in CONTROLLERS {
            let place = places.iter().find(|(name, _)| *name == controller);
            let tried = match place {
                None => Err("it is not mounted".to_owned()),
                Some((_, root)) => {
                    let folder = root.join(parent);
                    tried(root, &folder, controller, tag).map(|()| folder)
                }
            };
            match tried {
                Ok(folder) => found.places.push((controller, folder)),
                Err(why) => found.warnings.push(format!(
                    "no {controller} cgroup holds a machine's process ({why}); set cgroup_parent to \
                     a cgroup that this service may divide"
                )),
            }
        }
        found
    }

    /// What the jailer is told.
    pub(crate) fn arguments(&self, share: &Share) -> Vec<String> {
        if self.places.is_empty() {
            return Vec::new();
        }
        let version = self.version.to_string();
        let mut words = vec!["--cgroup-version".to_owned(), version];
        words.extend(["--parent-cgroup".to_owned(), self.parent.clone()]);
        let threads = share.vcpus + THREADS_OWN;
        let quota = share.cpu_milli.map(|milli| u64::from(milli) * PERIOD_US / 1_000);
        for (controller, _) in &self.places {
            let settings = match (*controller, self.version, quota) {
                ("memory", 1, _) => vec![format!("memory.limit_in_bytes={}", share.memory_bytes)],
                ("memory", _, _) => vec![
                    format!("memory.max={}", share.memory_bytes),
                    "memory.swap.max=0".to_owned(),
                ],
                ("pids", _, _) => vec![format!("pids.max={threads}")],
                (_, 1, Some(quota)) => vec![
                    format!("cpu.cfs_period_us={PERIOD_US}"),
                    format!("cpu.cfs_quota_us={quota}"),
                ],
                (_, _, Some(quota)) => vec![format!("cpu.max={quota} {PERIOD_US}")],
                (_, _, None) => Vec::new(),
            };
            words.extend(settings.into_iter().flat_map(|word| ["--cgroup".to_owned(), word]));
        }
        words
    }

    /// The cgroup of the machine of this id, whether it is there or not.
    pub(crate) fn group(&self, id: &str) -> Group {
        let places = self.places.iter().map(|(name, folder)| (*name, folder.join(id))).collect();
        Group { version: self.version, places }
    }

    /// The ids of machines that have cgroups, which begin so.
    pub(crate) fn left(&self, prefix: &str) -> BTreeSet<String> {
        let entries = self.places.iter().filter_map(|(_, folder)| fs::read_dir(folder).ok());
        let names = entries.flatten().flatten().filter(|entry| entry.path().is_dir());
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(prefix)).collect()
    }
}

/// Controllers of one version, each with the folder of its hierarchy.
fn placed(mounts: &str, wanted: &str) -> Vec<(&'static str, PathBuf)> {
    let mut places = Vec::new();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(root), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let root = Path::new(root);
        let known = |controller: &str| match wanted {
            "cgroup" => options.split(',').any(|option| option == controller),
            _ => fs::read_to_string(root.join("cgroup.controllers"))
                .is_ok_and(|text| text.split_whitespace().any(|word| word == controller)),
        };
        if kind == wanted {
            let here = CONTROLLERS.into_iter().filter(|controller| known(controller));
            places.extend(here.map(|controller| (controller, root.to_path_buf())));
        }
    }
    places
}

/// Makes and removes a cgroup below the parent, to which the controller is handed down as the jailer
/// will do it.
fn tried(root: &Path, folder: &Path, controller: &str, tag: &str) -> Result<(), String> {
    let told = |error: io::Error| format!("{}: {error}", folder.display());
    let trial = folder.join(format!("{tag}-trial"));
    fs::create_dir_all(&trial).map_err(told)?;
    fs::remove_dir(&trial).map_err(told)?;
    let above: Vec<&Path> = folder.ancestors().take_while(|path| path.starts_with(root)).collect();
    for place in above.into_iter().rev() {
        // Only the second version has the file.
        let list = place.join("cgroup.subtree_control");
        let Ok(handed) = fs::read_to_string(&list) else { continue };
        if !handed.split_whitespace().any(|word| word == controller) {
            fs::write(&list, format!("+{controller}"))
                .map_err(|error| format!("{}: {error}", list.display()))?;
        }
    }
    Ok(())
}

/// The cgroup of one machine, in every hierarchy that holds something.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    version: u32,
    places: Vec<(&'static str, PathBuf)>,
}

impl Group {
    /// The folders that are there, each once.
    pub(crate) fn folders(&self) -> BTreeSet<&Path> {
        self.places.iter().map(|(_, path)| path.as_path()).filter(|path| path.is_dir()).collect()
    }

    /// How often the host has killed in it for want of memory.
    pub(crate) fn memory_kills(&self) -> u64 {
        let Some((_, folder)) = self.places.iter().find(|(name, _)| *name == "memory") else {
            return 0;
        };
        let file = if self.version == 1 { "memory.oom_control" } else { "memory.events" };
        let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }

    /// Kills all its processes; tells how many there were.
    pub(crate) fn kill(&self) -> u32 {
        let mut processes = BTreeSet::new();
        for folder in self.folders() {
            let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            processes.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
        for process in processes.iter().filter(|process| **process > 1) {
            // SAFETY: a signal to a process of this cgroup; no memory is touched.
            unsafe { libc::kill(*process, libc::SIGKILL) };
        }
        processes.len() as u32
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

#[cfg(test)]
mod tests;
