//! Drives: what is in them, and that they are made once.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use headwater_sandbox::{Image, ImageName};

use super::{agent, check, make, read};

fn image(root: &Path) -> Image {
    std::fs::create_dir_all(root.join("usr/bin")).unwrap();
    std::fs::write(root.join("usr/bin/python3"), vec![7; 100_000]).unwrap();
    symlink("usr/bin", root.join("bin")).unwrap();
    Image {
        name: ImageName::new("guest").unwrap(),
        digest: "d".repeat(64),
        root: root.to_path_buf(),
        python: "/usr/bin/python3".to_owned(),
        preload: vec!["json".to_owned(), "email.message".to_owned()],
    }
}

#[test]
fn a_drive_holds_the_image_and_an_agent_that_its_kernel_can_start() {
    if let Err(error) = check() {
        return println!("skipped: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let image = image(&folder.path().join("root"));
    let drives = folder.path().join("drives of images");
    let drive = make(&image, &drives).unwrap();
    assert_eq!(drive.metadata().unwrap().permissions().mode() & 0o777, 0o444);
    let agent = agent(&image);
    assert!(agent.starts_with("#!/usr/bin/python3 -IBXutf8\n"));
    assert!(agent.ends_with("serve([\"json\",\"email.message\"])\n"));
    assert_eq!(read(&drive, "/headwater/agent").unwrap(), agent.as_bytes());
    assert_eq!(read(&drive, "/bin/python3").unwrap(), vec![7; 100_000]);
    let told = Command::new("/usr/sbin/debugfs")
        .args(["-R", "stat /headwater/agent"])
        .arg(&drive)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let words: Vec<&str> = told.split_whitespace().collect();
    let after = |word: &str| words.iter().skip_while(|one| **one != word).nth(1).copied();
    assert_eq!((after("Type:"), after("Mode:")), (Some("regular"), Some("0755")), "{told}");
    assert_eq!((after("User:"), after("Group:")), (Some("0"), Some("0")), "{told}");
}

#[test]
fn a_drive_is_made_once_and_another_for_another_agent() {
    if let Err(error) = check() {
        return println!("skipped: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let image = image(&folder.path().join("root"));
    let drives = folder.path().join("drives");
    let first = make(&image, &drives).unwrap();
    let written = first.metadata().unwrap().modified().unwrap();
    assert_eq!(make(&image, &drives).unwrap(), first);
    assert_eq!(first.metadata().unwrap().modified().unwrap(), written);
    let other = Image { preload: Vec::new(), ..image.clone() };
    assert_ne!(make(&other, &drives).unwrap(), first);
    assert_eq!(std::fs::read_dir(&drives).unwrap().count(), 2);
    let gone = Image { root: folder.path().join("none"), ..image };
    assert!(make(&gone, &drives).unwrap_err().to_string().contains("the drive of image guest"));
    assert_eq!(std::fs::read_dir(&drives).unwrap().count(), 2);
}
