//! Finds the folders of cgroups below which this process may make others.

#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

/// Where slots' groups are made; absent where the host has no such controller, or not for us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parents {
    pub(crate) unified: Option<PathBuf>,
    pub(crate) memory: Option<PathBuf>,
    pub(crate) pids: Option<PathBuf>,
    pub(crate) cpu: Option<PathBuf>,
    pub(crate) account: Option<PathBuf>,
    pub(crate) freezer: Option<PathBuf>,
}

impl Parents {
    /// Every folder once.
    pub(crate) fn folders(&self) -> Vec<&PathBuf> {
        let all =
            [&self.unified, &self.memory, &self.pids, &self.cpu, &self.account, &self.freezer];
        let mut folders: Vec<&PathBuf> = all.into_iter().flatten().collect();
        folders.sort();
        folders.dedup();
        folders
    }

    /// What guests are not held to by a group.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let rows = [
            (&self.memory, "memory", "each process is held to the memory limit, not all together"),
            (&self.pids, "pids", "processes are counted for the user, not for the slot"),
            (&self.cpu, "cpu", "guests may take all processors until their time is over"),
        ];
        let missing = rows.into_iter().filter(|(parent, _, _)| parent.is_none());
        missing
            .map(|(_, name, less)| {
                format!(
                    "no cgroup with the controller {name} can be made, so {less}; delegate a \
                     cgroup to this service (systemd: Delegate=yes)"
                )
            })
            .collect()
    }
}

/// A line of `/proc/self/mountinfo` that mounts cgroups: the part of the hierarchy that it shows,
/// where, of which kind and with which controllers.
struct Mount {
    shown: String,
    place: PathBuf,
    is_unified: bool,
    controllers: Vec<String>,
}

fn mount_of(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (shown, place) = (left.next()?, left.next()?);
    let mut right = right.split(' ');
    let kind = right.next()?;
    let options = right.nth(1).unwrap_or_default();
    if kind != "cgroup" && kind != "cgroup2" {
        return None;
    }
    Some(Mount {
        shown: shown.to_owned(),
        place: PathBuf::from(place),
        is_unified: kind == "cgroup2",
        controllers: options.split(',').map(str::to_owned).collect(),
    })
}

/// This process's own group in a hierarchy, as a folder.
fn own(mount: &Mount, memberships: &str) -> Option<PathBuf> {
    let line = memberships.lines().find(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, names) = (parts.next(), parts.next().unwrap_or_default());
        if mount.is_unified {
            names.is_empty()
        } else {
            !names.is_empty()
                && names.split(',').any(|name| mount.controllers.iter().any(|c| c == name))
        }
    })?;
    let path = line.splitn(3, ':').nth(2)?;
    let below = path.strip_prefix(mount.shown.trim_end_matches('/')).unwrap_or(path);
    Some(mount.place.join(below.trim_start_matches('/')))
}

/// Makes a group and removes it: the only proof that it can be done.
fn can_make_in(parent: &Path) -> bool {
    let probe = parent.join(format!("headwater-probe-{}", std::process::id()));
    let made = fs::create_dir(&probe).is_ok();
    if made {
        let _ = fs::remove_dir(&probe);
    }
    made
}

/// Controllers that groups below a folder of the unified hierarchy have, after asking for those
/// that are missing.
fn unified_controllers(parent: &Path) -> Vec<String> {
    let read = |name: &str| fs::read_to_string(parent.join(name)).unwrap_or_default();
    let given = read("cgroup.subtree_control");
    for controller in read("cgroup.controllers").split_whitespace() {
        let is_wanted = ["memory", "pids", "cpu"].contains(&controller);
        if is_wanted && !given.split_whitespace().any(|name| name == controller) {
            // Refused where the folder has processes of its own.
            let _ = fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"));
        }
    }
    read("cgroup.subtree_control").split_whitespace().map(str::to_owned).collect()
}

/// The parents for slots: below `chosen` where folders are named, else below this process's own
/// groups.
pub(crate) fn find(chosen: &[PathBuf]) -> Parents {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    find_in(chosen, &read("/proc/self/mountinfo"), &read("/proc/self/cgroup"))
}

fn find_in(chosen: &[PathBuf], mounts: &str, memberships: &str) -> Parents {
    let mut parents = Parents::default();
    for mount in mounts.lines().filter_map(mount_of) {
        let named = chosen.iter().find(|path| path.starts_with(&mount.place));
        let parent = if chosen.is_empty() { own(&mount, memberships) } else { named.cloned() };
        let Some(parent) = parent else { continue };
        if mount.is_unified {
            take_unified(&mut parents, parent, chosen.is_empty());
        } else if can_make_in(&parent) {
            take_old(&mut parents, &mount.controllers, &parent);
        }
    }
    parents
}

/// A service that was given a group of its own runs in it; then groups with controllers can only
/// be made beside it.
fn take_unified(parents: &mut Parents, own: PathBuf, may_go_up: bool) {
    let above = own.parent().filter(|_| may_go_up).map(Path::to_path_buf);
    let candidates: Vec<PathBuf> = [Some(own), above]
        .into_iter()
        .flatten()
        .filter(|path| path.join("cgroup.procs").exists() && can_make_in(path))
        .collect();
    let with_control = candidates.iter().find(|path| !unified_controllers(path).is_empty());
    let Some(parent) = with_control.or(candidates.first()) else { return };
    let controllers = unified_controllers(parent);
    let has = |name: &str| controllers.iter().any(|controller| controller == name);
    let slot = |is_there: bool| is_there.then(|| parent.clone());
    parents.memory = parents.memory.take().or(slot(has("memory")));
    parents.pids = parents.pids.take().or(slot(has("pids")));
    if parents.cpu.is_none() && has("cpu") {
        parents.cpu = slot(true);
        parents.account = slot(true);
    }
    // Without controllers it still kills and freezes, but one more group costs time to enter.
    if !controllers.is_empty() || parents.freezer.is_none() {
        parents.unified = Some(parent.clone());
    }
}

fn take_old(parents: &mut Parents, controllers: &[String], parent: &Path) {
    let has = |name: &str| controllers.iter().any(|controller| controller == name);
    for (name, slot) in [
        ("memory", &mut parents.memory),
        ("pids", &mut parents.pids),
        ("cpu", &mut parents.cpu),
        ("cpuacct", &mut parents.account),
        ("freezer", &mut parents.freezer),
    ] {
        if slot.is_none() && has(name) {
            *slot = Some(parent.to_path_buf());
        }
    }
}
