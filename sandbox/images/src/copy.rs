//! Copies files into a root, with modes that do not depend on the host's.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::ImageError;

/// Makes a folder and those above it, readable by all.
pub(crate) fn make_folder(path: &Path) -> Result<(), ImageError> {
    fs::create_dir_all(path).map_err(ImageError::file("making", path))
}

/// Copies a file's content; who may run it before may run it after.
pub(crate) fn copy_file(from: &Path, to: &Path) -> Result<(), ImageError> {
    if let Some(folder) = to.parent() {
        make_folder(folder)?;
    }
    fs::copy(from, to).map_err(ImageError::file("copying", from))?;
    Ok(())
}

/// Copies what `takes` says of a folder; a symbolic link to a file becomes the file, one to a
/// folder is left out.
pub(crate) fn copy_folder(
    from: &Path,
    to: &Path,
    takes: &dyn Fn(&str) -> bool,
) -> Result<(), ImageError> {
    make_folder(to)?;
    for entry in fs::read_dir(from).map_err(ImageError::file("reading", from))? {
        let entry = entry.map_err(ImageError::file("reading", from))?;
        let name = entry.file_name();
        if !name.to_str().is_some_and(takes) {
            continue;
        }
        let path = entry.path();
        let kind = entry.file_type().map_err(ImageError::file("reading", &path))?;
        if kind.is_dir() {
            copy_folder(&path, &to.join(&name), takes)?;
        } else if fs::metadata(&path).is_ok_and(|meta| meta.is_file()) {
            copy_file(&path, &to.join(&name))?;
        }
    }
    Ok(())
}

/// Gives every file and folder below `path` one of two modes, so that the digest depends on
/// neither the host's mask nor the packages' builders, and nothing is set-user-id.
pub(crate) fn level_modes(path: &Path) -> Result<(), ImageError> {
    let meta = fs::symlink_metadata(path).map_err(ImageError::file("reading", path))?;
    if meta.is_symlink() {
        return Ok(());
    }
    let mode = if meta.is_dir() || meta.permissions().mode() & 0o111 != 0 { 0o755 } else { 0o644 };
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(ImageError::file("setting the mode of", path))?;
    if meta.is_dir() {
        for entry in fs::read_dir(path).map_err(ImageError::file("reading", path))? {
            level_modes(&entry.map_err(ImageError::file("reading", path))?.path())?;
        }
    }
    Ok(())
}
