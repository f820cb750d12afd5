//! The store: a cluster and the platform's prefix on it.

use std::sync::Arc;

use async_trait::async_trait;
use foundationdb::Database;
use foundationdb::options::DatabaseOption;
use headwater_storage::{Store, StoreError, Transaction};

use crate::failure::{Phase, TIMEOUT_MS};
use crate::keys::KeySpace;
use crate::transaction::{FdbTransaction, refused};
use crate::{FdbSettings, directory, network};

/// A directory on a FoundationDB cluster.
pub(crate) struct FdbStore {
    database: Arc<Database>,
    keys: Arc<KeySpace>,
}

impl FdbStore {
    /// # Errors
    /// As [`crate::open`].
    pub(crate) async fn open(settings: &FdbSettings) -> Result<Self, StoreError> {
        let cluster_file = settings.check()?;
        if let Some(path) = cluster_file {
            // FoundationDB would tell this only by an answer that never comes.
            std::fs::File::open(path).map_err(|error| {
                StoreError::Usage(format!(
                    "the cluster file {path} cannot be read ({error}); give the path of a \
                     readable copy of the cluster's own file"
                ))
            })?;
        }
        network::start()?;
        let refuse = |error| refused(error, Phase::Read, 0);
        let database = Database::new(cluster_file).map_err(refuse)?;
        // Holds for every transaction of this database, the directory layer's included; they
        // would otherwise wait for ever.
        let timeout = DatabaseOption::TransactionTimeout(TIMEOUT_MS as i32);
        database.set_option(timeout).map_err(refuse)?;
        let prefix = directory::prefix(&database, &settings.directory).await?;
        let keys = Arc::new(KeySpace::new(&prefix)?);
        Ok(FdbStore { database: Arc::new(database), keys })
    }
}

#[async_trait]
impl Store for FdbStore {
    fn engine(&self) -> &'static str {
        "fdb"
    }

    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        let begun = FdbTransaction::begin(&self.database, &self.keys).await?;
        Ok(Box::new(begun))
    }
}
