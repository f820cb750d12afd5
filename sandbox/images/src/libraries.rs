//! Finds the shared libraries that native code needs, and copies them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::copy::{copy_file, make_folder};
use crate::error::ImageError;
use crate::interpreter::below;

/// Loaded by name while a program runs, so that nothing lists them: the C library's own parts.
const ASKED_BY_NAME: [&str; 4] =
    ["libgcc_s.so.1", "libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"];

/// The most files that one run of `ldd` is given.
const FILES_MAX: usize = 200;

/// Copies what `executable` and all native modules below `root` need.
pub(crate) fn copy_libraries(root: &Path, executable: &Path) -> Result<(), ImageError> {
    let mut native = vec![executable.to_path_buf()];
    find_native(root, &mut native)?;
    let mut needed = BTreeSet::new();
    for files in native.chunks(FILES_MAX) {
        needed.extend(ask(files)?);
    }
    needed.retain(|library| !library.starts_with(root));
    let Some(home) = needed.iter().find(|library| is_named(library, "libc.so.6")) else {
        // A static interpreter, or another C library: its loader is in the list all the same.
        return needed.iter().try_for_each(|library| copy_library(root, library, None));
    };
    let home = home.parent().map(Path::to_path_buf).unwrap_or_default();
    for name in ASKED_BY_NAME {
        let library = home.join(name);
        if library.exists() {
            needed.insert(library);
        }
    }
    needed.iter().try_for_each(|library| copy_library(root, library, Some(&home)))
}

fn is_named(path: &Path, name: &str) -> bool {
    path.file_name() == Some(OsStr::new(name))
}

/// Copies a library to its place, and makes it found without a cache: a link beside the C library.
fn copy_library(root: &Path, library: &Path, home: Option<&PathBuf>) -> Result<(), ImageError> {
    let Some(name) = library.file_name() else { return Ok(()) };
    let real =
        |folder: &Path| fs::canonicalize(folder).map_err(ImageError::file("finding", folder));
    let folder = real(library.parent().unwrap_or(Path::new("/")))?;
    let place = below(root, &folder).join(name);
    if !place.exists() {
        copy_file(library, &place)?;
    }
    let Some(home) = home else { return Ok(()) };
    let home = real(home)?;
    let link = below(root, &home).join(name);
    if folder != home && !link.exists() {
        make_folder(&below(root, &home))?;
        symlink(folder.join(name), &link).map_err(ImageError::file("linking", &link))?;
    }
    Ok(())
}

/// All shared objects below a folder.
fn find_native(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), ImageError> {
    for entry in fs::read_dir(folder).map_err(ImageError::file("reading", folder))? {
        let entry = entry.map_err(ImageError::file("reading", folder))?;
        let (path, name) = (entry.path(), entry.file_name());
        let kind = entry.file_type().map_err(ImageError::file("reading", &path))?;
        if kind.is_dir() {
            find_native(&path, found)?;
        } else if kind.is_file() && name.to_str().is_some_and(is_shared_object) {
            found.push(path);
        }
    }
    Ok(())
}

fn is_shared_object(name: &str) -> bool {
    name.ends_with(".so") || name.contains(".so.")
}

fn ask(files: &[PathBuf]) -> Result<BTreeSet<PathBuf>, ImageError> {
    let failed = |why: String| ImageError::Command {
        command: "ldd".to_owned(),
        why,
        mend: "install the C library's tools".to_owned(),
    };
    // A module whose library is missing on the host fails here and on the host alike: what `ldd`
    // found is taken.
    let output =
        Command::new("ldd").args(files).output().map_err(|error| failed(error.to_string()))?;
    let answer = String::from_utf8_lossy(&output.stdout);
    let found: BTreeSet<PathBuf> = answer.lines().filter_map(library_of).collect();
    if found.is_empty() && files.len() == 1 && !answer.contains("static") {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(found)
}

/// The path in a line such as `libm.so.6 => /lib/libm.so.6 (0x00007f)` or `/lib/ld.so (0x00007f)`.
pub(crate) fn library_of(line: &str) -> Option<PathBuf> {
    let (path, _) = line.rsplit_once(" (0x")?;
    let path = path.split_once(" => ").map_or(path, |(_, path)| path).trim();
    path.starts_with('/').then(|| PathBuf::from(path))
}
