//! The files of the repository, as git lists them.

use std::path::Path;
use std::process::Command;

use super::SourceFile;

/// Why the files could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    #[error("git could not be started: {0}; is it on the PATH?")]
    Start(std::io::Error),
    #[error("git ls-files failed, so no file can be checked: {0}")]
    Git(String),
}

/// Every text file under `root` that git tracks or would track, in order of path.
pub fn read_tree(root: &Path) -> Result<Vec<SourceFile>, TreeError> {
    let output = Command::new("git")
        .current_dir(root)
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .output()
        .map_err(TreeError::Start)?;
    if !output.status.success() {
        return Err(TreeError::Git(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let listed = String::from_utf8_lossy(&output.stdout);
    let mut paths: Vec<&str> = listed.split('\0').filter(|path| !path.is_empty()).collect();
    paths.sort_unstable();
    paths.dedup();
    // A tracked file may be gone from the disk, and a binary file has no lines to check.
    let text = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let file = |path: &str| Some(SourceFile { path: path.to_owned(), text: text(path)? });
    Ok(paths.into_iter().filter_map(file).collect())
}
