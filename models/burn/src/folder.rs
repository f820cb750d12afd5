//! Reading the files of one model folder.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::LoadError;

pub(crate) const CONFIG: &str = "config.json";
pub(crate) const TOKENIZER: &str = "tokenizer.json";
pub(crate) const TENSORS: &str = "model.safetensors";
/// Names the parts of weights that are cut in several files.
pub(crate) const INDEX: &str = "model.safetensors.index.json";
pub(crate) const PREPROCESSING: &str = "preprocessor_config.json";
pub(crate) const MODULES: &str = "modules.json";
pub(crate) const SENTENCE: &str = "sentence_bert_config.json";
pub(crate) const POOLING: &str = "1_Pooling/config.json";

/// Files without which there is no model.
pub(crate) const REQUIRED: [&str; 3] = [CONFIG, TOKENIZER, TENSORS];
/// Files that say how the model was trained to be used.
#[cfg(feature = "hub")]
pub(crate) const OPTIONAL: [&str; 4] = [MODULES, SENTENCE, POOLING, PREPROCESSING];

/// How the file of a chat model ends.
const GGUF: &str = "gguf";

/// The one file `*.gguf` of a folder.
///
/// # Errors
/// [`LoadError`] when there is none or more than one.
pub(crate) fn gguf(folder: &Path) -> Result<PathBuf, LoadError> {
    let missing = |reason: String| LoadError::Missing {
        file: folder.join("*.gguf").display().to_string(),
        reason,
    };
    let entries = std::fs::read_dir(folder).map_err(|error| missing(error.to_string()))?;
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let is_one = |path: &PathBuf| path.extension().is_some_and(|end| end == GGUF) && path.is_file();
    let mut found: Vec<PathBuf> = paths.filter(is_one).collect();
    match (found.pop(), found.len()) {
        (Some(path), 0) => Ok(path),
        (None, _) => Err(missing("the folder has no such file".to_owned())),
        (Some(_), more) => {
            let reason = format!("the folder has {} of them; leave one", more + 1);
            Err(missing(reason))
        }
    }
}

/// A folder whose files are read by their names relative to it.
pub(crate) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(crate) fn new(root: &Path) -> Self {
        Folder { root: root.to_owned() }
    }

    pub(crate) fn bytes(&self, name: &str) -> Result<Vec<u8>, LoadError> {
        let path = self.root.join(name);
        std::fs::read(&path).map_err(|error| LoadError::Missing {
            file: path.display().to_string(),
            reason: error.to_string(),
        })
    }

    /// The weights in one file.
    pub(crate) fn tensors(&self) -> Result<Vec<u8>, LoadError> {
        if !self.root.join(TENSORS).exists() && self.root.join(INDEX).exists() {
            let found = "the index of weights in several files";
            return Err(LoadError::unsupported(
                INDEX,
                "weights",
                found,
                format!("one {TENSORS}; join the parts with safetensors' save_file"),
            ));
        }
        self.bytes(TENSORS)
    }

    /// The file as JSON, or nothing when it is not there.
    pub(crate) fn json_if_present<T: DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Option<T>, LoadError> {
        match std::fs::metadata(self.root.join(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            _ => parse(name, &self.bytes(name)?).map(Some),
        }
    }
}

pub(crate) fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, LoadError> {
    serde_json::from_slice(bytes)
        .map_err(|error| LoadError::malformed(name, "json", error.to_string()))
}
