//! Versions and flags.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Finder, date_of, flags};
use crate::settings::{Platform, Settings};

#[test]
fn the_platform_follows_the_version_unless_it_is_set() {
    let rows = [
        ("0.0~20221219.0", Platform::Auto, "--platform=ptrace"),
        ("release-20240729.0", Platform::Auto, "--platform=systrap"),
        ("built here", Platform::Auto, "--platform=systrap"),
        ("release-20240729.0", Platform::Ptrace, "--platform=ptrace"),
        ("0.0~20221219.0", Platform::Kvm, "--platform=kvm"),
    ];
    for (version, platform, expected) in rows {
        let settings = Settings { platform, ..Settings::new("state") };
        let flags = flags(&settings, date_of(version));
        assert!(flags.iter().any(|flag| flag == expected), "{version}: {flags:?}");
    }
}

#[test]
fn flags_of_the_operator_come_last() {
    let settings = Settings { flags: vec!["--debug".to_owned()], ..Settings::new("state") };
    assert_eq!(flags(&settings, None).last().map(String::as_str), Some("--debug"));
}

#[tokio::test]
async fn a_program_tells_its_version_once_and_a_new_one_at_its_path_again() {
    let folder = tempfile::tempdir().unwrap();
    let (program, asked) = (folder.path().join("runsc"), folder.path().join("asked"));
    let install = |version: &str| {
        let made = folder.path().join("new");
        let told =
            format!("#!/bin/sh\necho asked >> {}\necho runsc version {version}\n", asked.display());
        fs::write(&made, told).unwrap();
        fs::set_permissions(&made, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(made, &program).unwrap();
    };
    let times = |path: &Path| fs::read_to_string(path).unwrap().lines().count();
    let settings = Settings { runsc: program.clone(), ..Settings::new("state") };
    let finder = Finder::default();
    assert!(finder.find(&settings).await.is_err());
    install("release-20240729.0");
    for _ in 0..3 {
        assert_eq!(finder.find(&settings).await.unwrap().version, "release-20240729.0");
    }
    assert_eq!(times(&asked), 1);
    install("release-20250101.0");
    assert_eq!(finder.find(&settings).await.unwrap().version, "release-20250101.0");
    assert_eq!(times(&asked), 2);
}
