//! Files of this machine that ingest jobs name: only below the roots that the operator named.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use headwater_actors::ingest::SourceError;

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

impl FileSource {
    /// Up to `most` bytes of a file from `offset` on; none at its end.
    ///
    /// # Errors
    /// See [`SourceError`].
    pub(crate) async fn read(
        &self,
        file: &str,
        offset: u64,
        most: usize,
    ) -> Result<Vec<u8>, SourceError> {
        let (source, file) = (self.clone(), PathBuf::from(file));
        let reading = tokio::task::spawn_blocking(move || source.read_part(&file, offset, most));
        reading.await.unwrap_or_else(|error| Err(SourceError::Unavailable(error.to_string())))
    }

    fn read_part(&self, place: &Path, offset: u64, most: usize) -> Result<Vec<u8>, SourceError> {
        // The answer does not tell whether a file outside the roots is there.
        let outside = || {
            let text = "the place is no file below one of the node's ingest.roots";
            SourceError::Refused(text.to_owned())
        };
        let path = place.canonicalize().map_err(|error| match problem_of(&error) {
            SourceError::Refused(_) => outside(),
            unavailable => unavailable,
        })?;
        if !self.roots.iter().any(|root| path.starts_with(root)) {
            return Err(outside());
        }
        let problem = |error: io::Error| problem_of(&error);
        // Before it is opened: to open a pipe waits for whoever writes into it.
        if !path.metadata().map_err(problem)?.is_file() {
            return Err(outside());
        }
        let mut file = File::open(&path).map_err(problem)?;
        file.seek(SeekFrom::Start(offset)).map_err(problem)?;
        let mut bytes = Vec::new();
        file.take(most as u64).read_to_end(&mut bytes).map_err(problem)?;
        Ok(bytes)
    }
}

/// Whether another try may help. What the system says of a file that stays as it is, it says
/// for ever; that ends the place with a reason for whoever wrote the job.
fn problem_of(error: &io::Error) -> SourceError {
    let refused = |text: &str| SourceError::Refused(text.to_owned());
    match error.kind() {
        ErrorKind::PermissionDenied => refused(
            "the node may not read the file; let its user read it and all folders above it, then \
             make another job",
        ),
        ErrorKind::NotFound => refused("the file is gone; put it back, then make another job"),
        ErrorKind::IsADirectory | ErrorKind::NotADirectory => {
            refused("the place is no file; name each file of a folder by itself")
        }
        ErrorKind::InvalidInput | ErrorKind::InvalidFilename => {
            refused("the place is no path of a file; name one below the node's ingest.roots")
        }
        _ if error.raw_os_error() == Some(libc::ELOOP) => {
            refused("the place is a chain of links without an end; name the file itself")
        }
        _ => SourceError::Unavailable(error.to_string()),
    }
}
