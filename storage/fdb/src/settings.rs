//! Which cluster, and which directory on it.

use std::path::PathBuf;

use headwater_storage::StoreError;

/// Where the platform's data lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FdbSettings {
    /// The cluster file. Without one, FoundationDB's own rules hold: `FDB_CLUSTER_FILE` of
    /// the environment, then `fdb.cluster` in the working directory, then the system's.
    pub cluster_file: Option<PathBuf>,
    /// The path in FoundationDB's directory layer, outermost name first. All keys of the
    /// port live under this directory's prefix, so that one cluster can serve several
    /// platforms and other programs.
    pub directory: Vec<String>,
}

impl Default for FdbSettings {
    fn default() -> Self {
        FdbSettings { cluster_file: None, directory: vec!["headwater".to_owned()] }
    }
}

impl FdbSettings {
    /// The cluster file as the client library takes it.
    ///
    /// # Errors
    /// [`StoreError::Usage`] for settings that can never work.
    pub fn check(&self) -> Result<Option<&str>, StoreError> {
        if self.directory.is_empty() || self.directory.iter().any(String::is_empty) {
            let text = "the directory of the FoundationDB engine needs at least one name and no \
                        empty ones; for example [\"headwater\"]";
            return Err(StoreError::Usage(text.to_owned()));
        }
        let Some(path) = &self.cluster_file else { return Ok(None) };
        match path.to_str() {
            Some(text) if !text.is_empty() && !text.contains('\0') => Ok(Some(text)),
            _ => Err(StoreError::Usage(format!(
                "the path of the cluster file, {}, must be UTF-8, without NUL and not empty; \
                 rename the file or leave the setting out",
                path.display()
            ))),
        }
    }
}
