//! What lacks on a host is told by name, with what to do.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Programs, check_kernel, check_kvm, numbers_of};
use crate::settings::Settings;

/// A program that tells a version. Another process writes it: one of this process that is open for
/// writing while another test starts a child could not be started.
fn program(folder: &Path, name: &str, line: &str) -> PathBuf {
    let (text, path) = (folder.join(format!("{name}.text")), folder.join(name));
    std::fs::write(&text, format!("#!/bin/sh\necho '{line}'\n")).unwrap();
    let made = Command::new("install").args(["-m", "755"]).args([&text, &path]).status().unwrap();
    assert!(made.success());
    path
}

#[tokio::test]
async fn the_first_thing_that_lacks_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let new = program(folder.path(), "new", "Firecracker v1.16.1");
    let old = program(folder.path(), "old", "Firecracker v1.7.0");
    let other = program(folder.path(), "other", "QEMU emulator version 9");
    let jailer = program(folder.path(), "jailer", "Jailer v1.16.1");
    let older = program(folder.path(), "older", "Jailer v1.15.0");
    for (name, text) in [("kvm", "x"), ("vmlinux", "\x7fELF"), ("text", "no kernel")] {
        std::fs::write(at(name), text).unwrap();
    }
    let settings = |firecracker: &Path, jailer: &Path, kvm: &str, kernel: &str| Settings {
        firecracker: firecracker.to_path_buf(),
        jailer: jailer.to_path_buf(),
        kvm: at(kvm),
        kernel: at(kernel),
        ..Settings::new(folder.path())
    };
    let rows = [
        (settings(&at("none"), &jailer, "kvm", "vmlinux"), "there is no firecracker at", "install"),
        (settings(&at("text"), &jailer, "kvm", "vmlinux"), "does not start", "install"),
        (settings(&other, &jailer, "kvm", "vmlinux"), "QEMU emulator", "install"),
        (settings(&old, &jailer, "kvm", "vmlinux"), "1.7.0, which is too old", "1.8 or later"),
        (settings(&new, &at("none"), "kvm", "vmlinux"), "none does not start", "install"),
        (settings(&new, &older, "kvm", "vmlinux"), "the jailer of 1.15.0", "one release"),
        (settings(&new, &jailer, "none", "vmlinux"), "the host has no", "kvm_intel"),
        (settings(&new, &jailer, "kvm", "none"), "none cannot be read", "guest_configs"),
        (settings(&new, &jailer, "kvm", "text"), "is no kernel", "vmlinux"),
    ];
    for (settings, why, mend) in rows {
        let error = Programs::find(&settings).await.unwrap_err().to_string();
        assert!(error.contains(why) && error.contains(mend), "{error}");
    }
    // SAFETY: the call asks for a number and touches no memory.
    if unsafe { libc::geteuid() } == 0 && crate::drive::check().is_ok() {
        let found = Programs::find(&settings(&new, &jailer, "kvm", "vmlinux")).await.unwrap();
        assert_eq!((found.version.as_str(), found.name.as_str()), ("1.16.1", "new"));
    }
}

#[test]
fn a_device_that_does_not_open_is_told_apart_from_none() {
    let folder = tempfile::tempdir().unwrap();
    let error = check_kvm(folder.path()).unwrap_err().to_string();
    assert!(error.contains("does not open") && error.contains("group kvm"), "{error}");
    let error = check_kvm(&folder.path().join("none")).unwrap_err().to_string();
    assert!(error.contains("has no") && error.contains("nest"), "{error}");
}

#[test]
fn kernels_of_three_kinds_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kernel");
    let at = |offset: usize, mark: &[u8]| {
        let mut bytes = vec![0; 0x300];
        bytes[offset..offset + mark.len()].copy_from_slice(mark);
        bytes
    };
    let rows = [
        (at(0, b"\x7fELF"), true),
        (at(0x38, b"ARM\x64"), true),
        (at(0x202, b"HdrS"), true),
        (at(1, b"\x7fELF"), false),
        (Vec::new(), false),
    ];
    for (bytes, expected) in rows {
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(check_kernel(&path).is_ok(), expected);
    }
}

#[test]
fn versions_have_two_numbers_to_compare() {
    let rows = [
        ("1.16.1", Some((1, 16))),
        ("1.17.0-dev", Some((1, 17))),
        ("2.0", Some((2, 0))),
        ("1", None),
        ("new", None),
    ];
    for (version, expected) in rows {
        assert_eq!(numbers_of(version), expected, "{version}");
    }
}
