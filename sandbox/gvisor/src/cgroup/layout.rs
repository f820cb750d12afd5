//! Where this host keeps its hierarchies, read from two texts of the kernel.

use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// Mounted hierarchies, each with the cgroup of this process in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Layout {
    mounts: Vec<Mount>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    version: Version,
    folder: PathBuf,
    controllers: Vec<String>,
    own: String,
}

impl Layout {
    /// From `/proc/self/mounts` and `/proc/self/cgroup`.
    pub(super) fn of(mounts: &str, own: &str) -> Self {
        let mut layout = Self::default();
        for line in mounts.lines() {
            let mut fields = line.split(' ').skip(1);
            let (Some(folder), Some(kind), Some(options)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let version = match kind {
                "cgroup" => Version::One,
                "cgroup2" => Version::Two,
                _ => continue,
            };
            let controllers: Vec<String> = options.split(',').map(str::to_owned).collect();
            let own = own.lines().find_map(|line| own_path(line, version, &controllers));
            let own = own.unwrap_or("/").to_owned();
            layout.mounts.push(Mount { version, folder: PathBuf::from(folder), controllers, own });
        }
        layout
    }

    /// The folder in which cgroups of this controller are made.
    pub(super) fn place(
        &self,
        controller: &str,
        parent: Option<&str>,
    ) -> Result<(Version, PathBuf), String> {
        let first = self.mounts.iter().find(|mount| {
            mount.version == Version::One && mount.controllers.iter().any(|word| word == controller)
        });
        let second = || self.mounts.iter().find(|mount| mount.version == Version::Two);
        let mount = first.or_else(second).ok_or("no hierarchy of cgroups is mounted")?;
        let below = parent.unwrap_or(&mount.own).trim_start_matches('/');
        let mut folder = mount.folder.join(below);
        // In a container the kernel may tell a path that lies outside of what is mounted.
        if parent.is_none() && !folder.is_dir() {
            folder.clone_from(&mount.folder);
        }
        if mount.version == Version::Two && !offers(&folder, controller) {
            return Err(format!("{} has no controller {controller}", folder.display()));
        }
        Ok((mount.version, folder))
    }
}

fn own_path<'a>(line: &'a str, version: Version, controllers: &[String]) -> Option<&'a str> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (names, path) = (fields.next()?, fields.next()?);
    let same = match version {
        Version::One => names.split(',').any(|name| controllers.iter().any(|word| word == name)),
        Version::Two => names.is_empty(),
    };
    (same && !path.contains("..")).then_some(path)
}

fn offers(folder: &Path, controller: &str) -> bool {
    let text = std::fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
    text.split_whitespace().any(|word| word == controller)
}
