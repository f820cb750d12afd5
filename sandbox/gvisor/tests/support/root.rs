//! A root for guests, made of this host's own interpreter: what an image is, without its builder.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use headwater_sandbox::{Image, ImageName};

const RUNSC: &str = "/usr/bin/runsc";

/// Why nothing can be tested here; `None` where it can.
pub(crate) fn missing() -> Option<String> {
    if !Path::new(RUNSC).exists() {
        return Some(format!("{RUNSC} is not installed"));
    }
    // SAFETY: the call asks for a number and touches no memory.
    if unsafe { libc::geteuid() } != 0 {
        return Some("runsc needs to be started by root".to_owned());
    }
    let python = Command::new("python3").arg("--version").output();
    if python.is_err() { Some("python3 is not installed".to_owned()) } else { None }
}

/// The image in `folder`, made there when it is not there yet.
pub(crate) fn image(folder: &Path) -> Image {
    let root = folder.join("gvisor-root");
    if !root.exists() {
        let making = tempfile::tempdir_in(folder).unwrap();
        fill(making.path());
        let made = making.keep();
        // Another test may have been faster; then its root is the one.
        if fs::rename(&made, &root).is_err() {
            fs::remove_dir_all(&made).unwrap();
        }
    }
    Image {
        name: ImageName::new("test").unwrap(),
        digest: "0".repeat(64),
        root,
        python: "/usr/bin/python3".to_owned(),
        preload: vec!["json".to_owned()],
    }
}

fn fill(root: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
    for folder in ["proc", "dev", "sys", "tmp", "work", "etc", "usr/bin"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    let ask = "import sys, sysconfig; print(sys.executable); print(sysconfig.get_path('stdlib'))";
    let told = Command::new("python3").args(["-I", "-c", ask]).output().unwrap().stdout;
    let told = String::from_utf8(told).unwrap();
    let mut lines = told.lines();
    let python = fs::canonicalize(lines.next().unwrap()).unwrap();
    let library = PathBuf::from(lines.next().unwrap());
    fs::copy(&python, root.join("usr/bin/python3")).unwrap();
    copy_folder(&library, &inside(root, &library));
    let mut programs = vec![python];
    let extensions = fs::read_dir(library.join("lib-dynload")).unwrap();
    programs.extend(extensions.map(|entry| entry.unwrap().path()));
    let mut needed = BTreeSet::new();
    for program in programs {
        let told = Command::new("ldd").arg(&program).output().unwrap().stdout;
        let told = String::from_utf8(told).unwrap();
        let words = told.split_whitespace().filter(|word| word.starts_with('/'));
        needed.extend(words.map(|word| PathBuf::from(word.trim_end_matches(':'))));
    }
    for path in needed.iter().filter(|path| path.is_file()) {
        let to = inside(root, path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(path, to).unwrap();
    }
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap())
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), entry.file_name());
        let skipped = ["test", "idlelib", "tkinter", "ensurepip", "lib2to3", "dist-packages"];
        if skipped.iter().any(|skip| name == *skip) {
            continue;
        }
        if path.is_dir() {
            copy_folder(&path, &to.join(name));
        } else if path.is_file() {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}
