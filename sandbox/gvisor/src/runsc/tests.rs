//! Versions and flags.

use super::{date_of, flags};
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
