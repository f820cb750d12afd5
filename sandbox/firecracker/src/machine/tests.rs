//! The jailer's command, users of machines, and files lent to them.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use super::{Bounds, command, copy, is_stopped, lend, user_of};
use crate::cgroup::Share;
use crate::host::Host;
use crate::programs::Programs;
use crate::settings::Settings;

#[test]
fn the_jailer_is_told_user_root_limits_and_where_to_listen() {
    let folder = tempfile::tempdir().unwrap();
    let netns = Some(PathBuf::from("/run/netns/none"));
    let settings = Settings { netns, ..Settings::new(folder.path()) };
    let host = Host::new(folder.path(), "headwater-test").unwrap();
    let programs = Programs {
        firecracker: PathBuf::from("/opt/firecracker-v1"),
        name: "firecracker-v1".to_owned(),
        version: String::new(),
    };
    let share = Share { memory_bytes: 1 << 29, vcpus: 1, cpu_milli: None };
    let bounds = Bounds { share, file_bytes: 77 };
    let command = command(&host, &settings, &programs, "id-1", &bounds);
    let words: Vec<_> = command.as_std().get_args().map(|word| word.to_string_lossy()).collect();
    let line = words.join(" ");
    let user = user_of(&settings, "id-1");
    let machines = host.machines();
    for expected in [
        format!("--id id-1 --uid {user} --gid {user} --exec-file /opt/firecracker-v1 "),
        format!("--chroot-base-dir {} --netns /run/netns/none ", machines.display()),
        "--resource-limit fsize=77 --resource-limit no-file=1024 -- --api-sock api.sock".to_owned(),
    ] {
        assert!(line.contains(&expected), "{expected}: {line}");
    }
}

#[test]
fn users_lie_behind_the_first() {
    let settings = Settings { first_id: 1_000, ..Settings::new("state") };
    let users: std::collections::BTreeSet<u32> =
        (0..50).map(|number| user_of(&settings, &format!("id-{number}"))).collect();
    assert!(users.len() > 45, "{users:?}");
    assert!(users.iter().all(|user| (1_000..1_000 + 65_536).contains(user)), "{users:?}");
}

#[test]
fn a_lent_file_is_the_same_file_and_a_copy_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("memory");
    std::fs::write(&file, "x").unwrap();
    lend(&file, folder.path(), "lent").unwrap();
    copy(&file, &folder.path().join("copy")).unwrap();
    let inode = |name: &str| folder.path().join(name).metadata().unwrap().ino();
    assert_eq!(inode("lent"), inode("memory"));
    assert_ne!(inode("copy"), inode("memory"));
    let mode = folder.path().join("copy").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o444);
    assert!(lend(&file, folder.path(), "lent").is_err());
}

#[test]
fn a_process_runs_is_stopped_or_is_gone() {
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    assert_eq!(is_stopped(child.id()), Some(false));
    // SAFETY: a signal to a child of this test; no memory is touched.
    unsafe { libc::kill(child.id().cast_signed(), libc::SIGSTOP) };
    while is_stopped(child.id()) != Some(true) {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(is_stopped(child.id()), None);
}
