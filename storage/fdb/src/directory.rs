//! The platform's directory in FoundationDB's directory layer.

use foundationdb::directory::{Directory, DirectoryError, DirectoryLayer, DirectoryOutput};
use foundationdb::{Database, FdbBindingError};
use headwater_storage::StoreError;

use crate::failure::Phase;
use crate::transaction::refused;

/// The prefix of the directory's keys; creates the directory where it is absent.
///
/// # Errors
/// [`StoreError::Unavailable`] when the cluster does not answer, [`StoreError::Usage`] when
/// the path cannot hold the port's keys.
pub(crate) async fn prefix(database: &Database, path: &[String]) -> Result<Vec<u8>, StoreError> {
    // Parents first, each in its own transaction: the layer warns of creating several
    // directories in one.
    for depth in 1..path.len() {
        create_or_open(database, &path[..depth]).await?;
    }
    let directory = create_or_open(database, path).await?;
    let prefix = directory.bytes().map_err(|error| unusable(path, &error))?;
    Ok(prefix.to_vec())
}

/// To create is idempotent, so a commit with unknown outcome may be repeated; the client
/// library does that, and its timeout bounds it.
async fn create_or_open(
    database: &Database,
    path: &[String],
) -> Result<DirectoryOutput, StoreError> {
    let layer = DirectoryLayer::default();
    let layer = &layer;
    let opened = database.run(|trx, _| async move {
        layer.create_or_open(&trx, path, None, None).await.map_err(|error| match error {
            // Where the client library looks for codes that it may retry.
            DirectoryError::HcaError(error) => FdbBindingError::HcaError(error),
            other => FdbBindingError::DirectoryError(other),
        })
    });
    opened.await.map_err(|error| match (error.get_fdb_error(), error) {
        (Some(code), _) => refused(code, Phase::Read, 0),
        (None, other) => unusable(path, &other),
    })
}

fn unusable(path: &[String], error: &dyn std::fmt::Debug) -> StoreError {
    StoreError::Usage(format!(
        "the FoundationDB directory {path:?} cannot hold the platform's keys ({error:?}); choose \
         another directory that is no partition, on a cluster whose keys the directory layer \
         allots"
    ))
}
