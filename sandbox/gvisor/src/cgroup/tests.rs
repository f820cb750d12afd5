//! Hierarchies of both versions, and the numbers that the kernel tells.

use std::fs;

use super::layout::{Layout, Version};
use super::number_of;

#[test]
fn the_first_version_wins_where_it_has_the_controller() {
    let root = tempfile::tempdir().unwrap();
    let (one, two) = (root.path().join("memory"), root.path().join("unified"));
    fs::create_dir_all(one.join("service")).unwrap();
    fs::create_dir_all(two.join("slice/service")).unwrap();
    fs::write(two.join("slice/service/cgroup.controllers"), "cpu pids\n").unwrap();
    let mounts = format!(
        "tmpfs / tmpfs rw 0 0\ncgroup {} cgroup rw,memory 0 0\ncgroup2 {} cgroup2 rw 0 0\n",
        one.display(),
        two.display()
    );
    let layout = Layout::of(&mounts, "4:memory:/service\n0::/slice/service\n");
    let rows = [
        ("memory", None, Ok((Version::One, one.join("service")))),
        ("memory", Some("/other"), Ok((Version::One, one.join("other")))),
        ("cpu", None, Ok((Version::Two, two.join("slice/service")))),
        ("io", None, Err(())),
        ("cpu", Some("slice"), Err(())),
    ];
    for (controller, parent, expected) in rows {
        let found = layout.place(controller, parent).map_err(|_| ());
        assert_eq!(found, expected, "{controller} {parent:?}");
    }
    let outside = Layout::of(&mounts, "4:memory:/elsewhere\n");
    assert_eq!(outside.place("memory", None), Ok((Version::One, one)));
    assert!(Layout::of("", "").place("memory", None).is_err());
}

#[test]
fn a_number_is_read_by_its_whole_name() {
    let text = "rss 5\ntotal_rss 7\noom_kill_disable 0\noom_kill 2\n";
    let rows = [("rss", Some(5)), ("total_rss", Some(7)), ("oom_kill", Some(2)), ("anon", None)];
    for (field, expected) in rows {
        assert_eq!(number_of(text, field), expected);
    }
}
