//! Where machines get cgroups, and what the jailer is told of them.

use std::fs;

use super::{Cgroups, Share};

const SHARE: Share = Share { memory_bytes: 1 << 29, vcpus: 2, cpu_milli: Some(1_500) };

#[test]
fn the_first_version_has_a_hierarchy_each() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    for name in ["memory", "cpu"] {
        fs::create_dir(at(name)).unwrap();
    }
    let line = |name: &str| format!("cgroup {} cgroup rw,{name} 0 0\n", at(name).display());
    let mounts = format!("proc /proc proc rw 0 0\n{}{}", line("memory"), line("cpu"));
    let cgroups = Cgroups::find(&mounts, "ours", "tag");
    assert_eq!(cgroups.warnings.len(), 1);
    assert!(cgroups.warnings[0].contains("no pids cgroup"), "{:?}", cgroups.warnings);
    let words = "--cgroup-version 1 --parent-cgroup ours --cgroup memory.limit_in_bytes=536870912 \
                 --cgroup cpu.cfs_period_us=100000 --cgroup cpu.cfs_quota_us=150000";
    assert_eq!(cgroups.arguments(&SHARE).join(" "), words);
    let free = Share { cpu_milli: None, ..SHARE };
    assert!(!cgroups.arguments(&free).join(" ").contains("cpu."));
    for id in ["tag-1", "tag-2", "other-1"] {
        fs::create_dir(at("memory").join("ours").join(id)).unwrap();
    }
    let left: Vec<String> = cgroups.left("tag-").into_iter().collect();
    assert_eq!(left, ["tag-1", "tag-2"]);
    let group = cgroups.group("tag-1");
    assert_eq!(group.folders().len(), 1);
    group.remove().unwrap();
    assert_eq!(cgroups.left("tag-").len(), 1);
}

#[test]
fn the_second_version_has_one_for_all() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("cgroup.controllers"), "cpu memory pids\n").unwrap();
    fs::write(root.path().join("cgroup.subtree_control"), "memory pids\n").unwrap();
    let mounts = format!("cgroup2 {} cgroup2 rw 0 0\n", root.path().display());
    let cgroups = Cgroups::find(&mounts, "ours", "tag");
    assert!(cgroups.warnings.is_empty(), "{:?}", cgroups.warnings);
    let handed = fs::read_to_string(root.path().join("cgroup.subtree_control")).unwrap();
    assert_eq!(handed, "+cpu", "what is handed down already is left alone");
    let words = cgroups.arguments(&SHARE);
    assert!(words.starts_with(&["--cgroup-version".to_owned(), "2".to_owned()]), "{words:?}");
    for word in
        ["memory.max=536870912", "memory.swap.max=0", "pids.max=66", "cpu.max=150000 100000"]
    {
        assert!(words.iter().any(|one| one == word), "{word}: {words:?}");
    }
    let folder = root.path().join("ours/tag-1");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("memory.events"), "oom 3\noom_kill 2\n").unwrap();
    assert_eq!(cgroups.group("tag-1").memory_kills(), 2);
}

#[test]
fn without_a_hierarchy_nothing_is_told_and_all_is_warned_of() {
    let cgroups = Cgroups::find("proc /proc proc rw 0 0\n", "ours", "tag");
    assert_eq!((cgroups.warnings.len(), cgroups.arguments(&SHARE).len()), (3, 0));
}
