//! The FoundationDB adapter of the storage port.
//!
//! The adapter is built only with the feature `fdb`, because it needs FoundationDB's client
//! library, `libfdb_c` 7.3, when it is linked and when it runs. Without the feature
//! [`open`] refuses and says how to build with it; what needs no library (settings, key
//! layout, the meaning of error codes) is compiled and tested in every build.

use std::sync::Arc;

use headwater_storage::{Store, StoreError};

#[cfg(feature = "fdb")]
mod directory;
#[cfg_attr(not(feature = "fdb"), allow(dead_code, reason = "used by the adapter and tests"))]
mod failure;
#[cfg_attr(not(feature = "fdb"), allow(dead_code, reason = "used by the adapter and tests"))]
mod keys;
#[cfg(feature = "fdb")]
mod network;
mod settings;
#[cfg(feature = "fdb")]
mod store;
#[cfg(feature = "fdb")]
mod transaction;

pub use settings::FdbSettings;

/// Opens the platform's directory on a FoundationDB cluster and creates it where it is
/// absent.
///
/// The first call starts FoundationDB's network thread, which then runs until the process
/// exits. Several nodes may open, and so create, one directory at the same time.
///
/// # Errors
/// [`StoreError::Usage`] for settings or a cluster file that cannot work, and in a build
/// without the feature `fdb`; [`StoreError::Unavailable`] when the cluster does not answer.
#[cfg(feature = "fdb")]
pub async fn open(settings: &FdbSettings) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(store::FdbStore::open(settings).await?))
}

/// Refuses: this build has no FoundationDB.
///
/// # Errors
/// Always [`StoreError::Usage`].
#[cfg(not(feature = "fdb"))]
#[allow(clippy::unused_async, reason = "the same signature as with the feature")]
pub async fn open(settings: &FdbSettings) -> Result<Arc<dyn Store>, StoreError> {
    settings.check()?;
    Err(StoreError::Usage(
        "this build has no FoundationDB engine; install FoundationDB's client library \
         (libfdb_c 7.3) and libclang, then build with `cargo build --features fdb`, or choose \
         another storage engine"
            .to_owned(),
    ))
}

#[cfg(test)]
mod tests;
