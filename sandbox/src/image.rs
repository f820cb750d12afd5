//! Images: the read-only root that a guest sees.

use std::path::PathBuf;

/// A ready image: a folder with a whole root, which nobody writes to any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub name: ImageName,
    /// SHA-256 over the names, kinds, modes and bytes of all files, in hexadecimal.
    pub digest: String,
    /// The folder on the host that becomes the guest's root.
    pub root: PathBuf,
    /// The interpreter, as the guest sees it, such as `/usr/bin/python3`.
    pub python: String,
    /// Modules that a warm interpreter has imported before any call.
    pub preload: Vec<String>,
}

/// The name of an image, such as `python` or `data-2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName(String);

/// Why a text names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "image name {name:?} is not allowed; use 1 to 63 lower-case letters, digits and `-`, a letter \
     first"
)]
pub struct ImageNameError {
    pub name: String,
}

impl ImageName {
    /// # Errors
    /// When the text has other characters, or too many.
    pub fn new(name: impl Into<String>) -> Result<Self, ImageNameError> {
        let name = name.into();
        let good = name.len() <= 63
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if good { Ok(Self(name)) } else { Err(ImageNameError { name }) }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for ImageName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}
