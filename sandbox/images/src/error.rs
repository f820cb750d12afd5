//! Why an image could not be made or used.

use std::io;
use std::path::{Path, PathBuf};

/// A failure of this crate; each text says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file or folder could not be read or written.
    #[error("{doing} {path:?} failed: {source}")]
    File { doing: &'static str, path: PathBuf, source: io::Error },
    /// A command of the host (the interpreter, `pip`, `ldd`) failed.
    #[error("{command} failed: {why}; {mend}")]
    Command { command: String, why: String, mend: String },
    /// The recipe asks for what cannot be.
    #[error("{field} {value:?} is not allowed; {mend}")]
    Recipe { field: &'static str, value: String, mend: &'static str },
    /// There is an image of this name.
    #[error("image {name} is there already; choose another name, or remove its folder {path:?}")]
    Exists { name: String, path: PathBuf },
    /// There is no such image.
    #[error(
        "there is no image {name} in {path:?}; make it with `headwater sandbox image make --name \
         {name}`, and `--wheel` for the engine wasm"
    )]
    Missing { name: String, path: PathBuf },
    /// An image is not what its manifest says.
    #[error("image {name} is broken: {why}; remove its folder and make it again")]
    Broken { name: String, why: String },
}

impl ImageError {
    pub(crate) fn file(
        doing: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::File { doing, path, source }
    }
}
