//! redb's errors as the port's.

use std::path::Path;

use headwater_storage::StoreError;
use redb::{CommitError, DatabaseError, StorageError, TableError, TransactionError};

pub(crate) fn of_storage(error: StorageError) -> StoreError {
    match error {
        StorageError::Corrupted(what) => StoreError::Corrupt(what),
        other => StoreError::Unavailable(other.to_string()),
    }
}

pub(crate) fn of_table(error: TableError) -> StoreError {
    match error {
        TableError::Storage(error) => of_storage(error),
        other => StoreError::Corrupt(other.to_string()),
    }
}

pub(crate) fn of_transaction(error: TransactionError) -> StoreError {
    match error {
        TransactionError::Storage(error) => of_storage(error),
        other => StoreError::Unavailable(other.to_string()),
    }
}

/// A commit that failed half-way may still be found after the next start.
pub(crate) fn of_commit(_: CommitError) -> StoreError {
    StoreError::CommitUnknown
}

pub(crate) fn of_open(path: &Path, error: DatabaseError) -> StoreError {
    let path = path.display();
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::Unavailable(format!(
            "{path} is in use by another process; stop it or choose another storage.path"
        )),
        DatabaseError::Storage(StorageError::Corrupted(what)) => {
            StoreError::Corrupt(format!("{path}: {what}"))
        }
        DatabaseError::Storage(StorageError::Io(error))
            if error.kind() == std::io::ErrorKind::InvalidData =>
        {
            StoreError::Corrupt(format!("{path} is not a headwater store ({error})"))
        }
        DatabaseError::UpgradeRequired(version) => StoreError::Corrupt(format!(
            "{path} has file format {version}, which this version does not read"
        )),
        other => StoreError::Unavailable(format!("{path}: {other}")),
    }
}
