//! Files of this machine as places of ingest jobs: only below the roots that the operator named.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use headwater_actors::ingest::{DocumentSource, SourceError};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct FileSource {
    /// Without symbolic links.
    roots: Vec<PathBuf>,
}

impl FileSource {
    /// # Errors
    /// When a root is no directory that can be read.
    pub(crate) fn new(roots: &[PathBuf]) -> Result<FileSource, std::io::Error> {
        let roots = roots.iter().map(|root| root.canonicalize()).collect::<Result<_, _>>()?;
        Ok(FileSource { roots })
    }
}

#[async_trait]
impl DocumentSource for FileSource {
    async fn read(&self, place: &str, offset: u64, most: usize) -> Result<Vec<u8>, SourceError> {
        let (source, place) = (self.clone(), PathBuf::from(place));
        let reading = tokio::task::spawn_blocking(move || source.read_part(&place, offset, most));
        reading.await.unwrap_or_else(|error| Err(SourceError::Unavailable(error.to_string())))
    }
}

impl FileSource {
    fn read_part(&self, place: &Path, offset: u64, most: usize) -> Result<Vec<u8>, SourceError> {
        // The answer does not tell whether a file outside the roots is there.
        let refused = || {
            let text = "the place is no file below one of the node's ingest.roots";
            SourceError::Refused(text.to_owned())
        };
        let path = place.canonicalize().map_err(|_| refused())?;
        if !self.roots.iter().any(|root| path.starts_with(root)) || !path.is_file() {
            return Err(refused());
        }
        let unavailable = |error: std::io::Error| SourceError::Unavailable(error.to_string());
        let mut file = File::open(&path).map_err(unavailable)?;
        file.seek(SeekFrom::Start(offset)).map_err(unavailable)?;
        let mut bytes = Vec::new();
        file.take(most as u64).read_to_end(&mut bytes).map_err(unavailable)?;
        Ok(bytes)
    }
}
