//! What a place of an ingest job is: an address of an object store, or else a file of this node.

use async_trait::async_trait;
use headwater_actors::ingest::{DocumentSource, SourceError};
use headwater_storage_lake::{ObjectProblem, Objects};

use super::files::FileSource;
use crate::config::IngestSection;
use crate::failure::Failure;

/// What parts an address from a path.
pub(crate) const SCHEME_END: &str = "://";

/// How the names of variables begin that are about object stores.
const VARIABLES: [&str; 3] = ["AWS_", "AZURE_", "GOOGLE_"];

/// Where object stores are and what opens them: it stands in the variables that their own tools
/// read, AWS_ENDPOINT and AWS_ACCESS_KEY_ID for example.
pub(crate) fn store_variables() -> Vec<(String, String)> {
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    // Stores take shorter names too, such as TOKEN, which others use for something else.
    let of_stores =
        |(name, _): &(String, String)| VARIABLES.iter().any(|start| name.starts_with(start));
    variables.filter(of_stores).collect()
}

/// See the module.
pub(crate) struct Places {
    files: FileSource,
    objects: Objects,
}

impl Places {
    /// None when the settings allow no place.
    ///
    /// # Errors
    /// Kind `Settings` when a root is no folder that can be read, or a store is none that this
    /// build knows.
    pub(crate) fn open(section: &IngestSection) -> Result<Option<Places>, Failure> {
        if section.roots.is_empty() && section.stores.is_empty() {
            return Ok(None);
        }
        let files = FileSource::new(&section.roots)
            .map_err(|error| Failure::settings(format!("ingest.roots: {error}")))?;
        let objects = Objects::open(&section.stores, &store_variables())
            .map_err(|error| Failure::settings(format!("ingest.stores: {error}")))?;
        Ok(Some(Places { files, objects }))
    }
}

#[async_trait]
impl DocumentSource for Places {
    async fn next(&self, place: &str, after: Option<&str>) -> Result<Option<String>, SourceError> {
        match place.contains(SCHEME_END) {
            true => Ok(self.objects.next(place, after).await.map_err(problem_of)?),
            false => Ok(after.is_none().then(|| place.to_owned())),
        }
    }

    async fn read(&self, object: &str, offset: u64, most: usize) -> Result<Vec<u8>, SourceError> {
        match object.contains(SCHEME_END) {
            true => self.objects.read(object, offset, most).await.map_err(problem_of),
            false => self.files.read(object, offset, most).await,
        }
    }
}

fn problem_of(problem: ObjectProblem) -> SourceError {
    match problem {
        ObjectProblem::Refused(reason) => SourceError::Refused(reason),
        ObjectProblem::Unavailable(reason) => SourceError::Unavailable(reason),
    }
}
