//! Where groups are, by the kernel's tables of several kinds of host.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Parents, find_in, mount_of, own};

/// The own group of each mount of cgroups, in the order of the table.
fn check(mounts: &str, memberships: &str, expected: &[Option<&str>]) {
    let found: Vec<Option<PathBuf>> =
        mounts.lines().filter_map(mount_of).map(|mount| own(&mount, memberships)).collect();
    let expected: Vec<Option<PathBuf>> =
        expected.iter().map(|path| path.map(PathBuf::from)).collect();
    assert_eq!(found, expected, "{mounts}\n{memberships}");
}

#[test]
fn the_own_group_is_found() {
    let unified = "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";
    check(
        unified,
        "0::/system.slice/a.service\n",
        &[Some("/sys/fs/cgroup/system.slice/a.service")],
    );
    check(unified, "0::/\n", &[Some("/sys/fs/cgroup/")]);
    check(unified, "4:memory:/a\n", &[None]);
    check(unified, "", &[None]);

    // A container is shown a part of the hierarchy as if it were all.
    let part = "35 24 0:30 /docker/c1 /sys/fs/cgroup ro - cgroup2 cgroup rw";
    check(part, "0::/docker/c1\n", &[Some("/sys/fs/cgroup/")]);
    check(part, "0::/docker/c1/inner\n", &[Some("/sys/fs/cgroup/inner")]);

    let old = "36 25 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
               37 25 0:32 / /sys/fs/cgroup/cpu,cpuacct rw shared:1 master:2 - cgroup cgroup rw,cpu,cpuacct\n\
               38 25 0:33 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
               39 25 0:34 / /tmp rw - tmpfs tmpfs rw\n\
               40 25 0:35 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";
    let memberships = "5:memory:/a/b\n4:cpuacct,cpu:/c:d\n1:name=systemd:/e\n0::/f\n";
    check(
        old,
        memberships,
        &[
            Some("/sys/fs/cgroup/memory/a/b"),
            Some("/sys/fs/cgroup/cpu,cpuacct/c:d"),
            Some("/sys/fs/cgroup/systemd/e"),
            Some("/sys/fs/cgroup/unified/f"),
        ],
    );
}

#[test]
fn lines_that_mount_no_groups_are_left_out() {
    for line in
        ["", "35", "35 24 0:30 / /a rw - ext4 /dev/a rw", "35 24 - cgroup2 cgroup2 rw", " - "]
    {
        assert!(mount_of(line).is_none(), "{line:?}");
    }
}

/// Mount lines of plain folders in the place of hierarchies.
fn hierarchy(folder: &Path, kind: &str, controllers: &str) -> String {
    format!("36 25 0:31 / {} rw - {kind} cgroup rw,{controllers}\n", folder.display())
}

#[test]
fn old_hierarchies_are_taken_where_groups_can_be_made() {
    let root = tempfile::tempdir().unwrap();
    let (memory, cpu) = (root.path().join("memory"), root.path().join("cpu"));
    let missing = root.path().join("pids");
    for folder in [&memory, &cpu] {
        fs::create_dir_all(folder.join("own")).unwrap();
    }
    let mounts = [
        hierarchy(&memory, "cgroup", "memory"),
        hierarchy(&cpu, "cgroup", "cpu,cpuacct"),
        hierarchy(&missing, "cgroup", "pids"),
    ]
    .concat();
    let parents = find_in(&[], &mounts, "3:memory:/own\n2:cpu,cpuacct:/own\n1:pids:/own\n");
    let expected = Parents {
        memory: Some(memory.join("own")),
        cpu: Some(cpu.join("own")),
        account: Some(cpu.join("own")),
        ..Parents::default()
    };
    assert_eq!(parents, expected);
    assert_eq!(parents.folders().len(), 2);
    let warnings = parents.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("controller pids"), "{warnings:?}");
    // Nothing is left of the proofs that groups can be made.
    assert_eq!(fs::read_dir(memory.join("own")).unwrap().count(), 0);

    // A chosen folder takes the own one's place; hierarchies that have none are left out.
    let chosen = memory.join("chosen");
    fs::create_dir(&chosen).unwrap();
    let parents = find_in(std::slice::from_ref(&chosen), &mounts, "3:memory:/own\n");
    assert_eq!(parents, Parents { memory: Some(chosen), ..Parents::default() });
}

#[test]
fn a_unified_group_that_is_in_use_has_its_slots_beside_it() {
    let root = tempfile::tempdir().unwrap();
    let own = root.path().join("service");
    fs::create_dir(&own).unwrap();
    for folder in [root.path(), &own] {
        fs::write(folder.join("cgroup.procs"), "").unwrap();
        fs::write(folder.join("cgroup.controllers"), "").unwrap();
    }
    // Only the folder above hands controllers on.
    fs::write(root.path().join("cgroup.subtree_control"), "cpu memory pids").unwrap();
    fs::write(own.join("cgroup.subtree_control"), "").unwrap();
    let mounts = hierarchy(root.path(), "cgroup2", "nsdelegate");
    let above = Some(root.path().to_path_buf());
    let parents = find_in(&[], &mounts, "0::/service\n");
    assert_eq!(parents.unified, above);
    assert_eq!((parents.memory, parents.pids, parents.cpu), (above.clone(), above.clone(), above));
    assert!(find_in(&[], "", "0::/service\n").warnings().len() == 3);
}
