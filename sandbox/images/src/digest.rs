//! The digest of a root: over the names, kinds, modes and bytes of all files.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::ImageError;

/// The SHA-256 of a folder's content, in hexadecimal. Owners and times do not count.
///
/// # Errors
/// When something cannot be read, or is no file, folder or symbolic link.
pub fn digest(root: &Path) -> Result<String, ImageError> {
    let mut hash = Sha256::new();
    folder(root, root, &mut hash)?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Adds what lies in `path`, in the order of the names' bytes.
fn folder(root: &Path, path: &Path, hash: &mut Sha256) -> Result<(), ImageError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(ImageError::file("reading", path))? {
        names.push(entry.map_err(ImageError::file("reading", path))?.file_name());
    }
    names.sort_by(|left, right| left.as_bytes().cmp(right.as_bytes()));
    for name in names {
        let path = path.join(name);
        let meta = fs::symlink_metadata(&path).map_err(ImageError::file("reading", &path))?;
        let kind = meta.file_type();
        let mode = meta.permissions().mode() & 0o7777;
        if kind.is_dir() {
            head(root, &path, b'd', mode, 0, hash);
            folder(root, &path, hash)?;
        } else if kind.is_symlink() {
            let target = fs::read_link(&path).map_err(ImageError::file("reading", &path))?;
            let target = target.as_os_str().as_bytes();
            head(root, &path, b'l', 0, target.len() as u64, hash);
            hash.update(target);
        } else if kind.is_file() {
            head(root, &path, b'f', mode, meta.len(), hash);
            content(&path, hash)?;
        } else {
            let source = std::io::Error::other("neither a file, a folder nor a symbolic link");
            return Err(ImageError::File { doing: "reading", path, source });
        }
    }
    Ok(())
}

fn head(root: &Path, path: &Path, kind: u8, mode: u32, bytes: u64, hash: &mut Sha256) {
    let name = path.strip_prefix(root).unwrap_or(path).as_os_str().as_bytes();
    hash.update([kind]);
    hash.update((name.len() as u64).to_le_bytes());
    hash.update(name);
    hash.update(mode.to_le_bytes());
    hash.update(bytes.to_le_bytes());
}

fn content(path: &Path, hash: &mut Sha256) -> Result<(), ImageError> {
    let mut file = File::open(path).map_err(ImageError::file("reading", path))?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer).map_err(ImageError::file("reading", path))?;
        if count == 0 {
            return Ok(());
        }
        hash.update(&buffer[..count]);
    }
}
