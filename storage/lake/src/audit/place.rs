//! The object store that the lake lies in, with an end to every wait.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use headwater_storage::audit::AuditError;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    ObjectMeta, ObjectStore, ObjectStoreExt, ObjectStoreScheme, PutPayload, parse_url_opts,
};

use super::names;
use crate::objects::parse_root;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) root: Path,
    timeout_ms: u64,
}

impl Place {
    /// # Errors
    /// [`AuditError::Refused`] when the location is none that this build knows.
    pub(super) fn open(
        location: &str,
        options: &[(String, String)],
        timeout_ms: u64,
    ) -> Result<Place, AuditError> {
        let refused = |error: String| AuditError::Refused(error);
        let (url, scheme) = parse_root(location).map_err(|error| refused(error.to_string()))?;
        let wrong = |error: object_store::Error| refused(format!("{location}: {error}"));
        let (store, root) = parse_url_opts(&url, options.iter().cloned()).map_err(wrong)?;
        let store: Arc<dyn ObjectStore> = match scheme {
            // A segment is removed once its files are there, so they had better be on the disk.
            ObjectStoreScheme::Local => Arc::new(LocalFileSystem::new().with_fsync(true)),
            _ => Arc::from(store),
        };
        Ok(Place::of(store, root, timeout_ms))
    }

    pub(super) fn of(store: Arc<dyn ObjectStore>, root: Path, timeout_ms: u64) -> Place {
        Place { store, root, timeout_ms }
    }

    fn path(&self, below: &str) -> Path {
        names::path(&self.root, below)
    }

    async fn within<T>(
        &self,
        what: &str,
        work: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, AuditError> {
        let time = Duration::from_millis(self.timeout_ms);
        let away = |why: String| {
            // Its words are the operator's: they name places and accounts.
            tracing::debug!(what, why, "the lake's store did not do it");
            AuditError::Unavailable("the audit lake does not answer now; try again later".into())
        };
        match tokio::time::timeout(time, work).await {
            Ok(done) => done.map_err(|error| away(error.to_string())),
            Err(_) => Err(away(format!("no answer within {} ms", self.timeout_ms))),
        }
    }

    pub(super) async fn put(&self, below: String, bytes: Vec<u8>) -> Result<(), AuditError> {
        let (path, payload) = (self.path(&below), PutPayload::from(Bytes::from(bytes)));
        self.within("put", self.store.put(&path, payload)).await.map(|_| ())
    }

    /// A file that is gone already is well removed.
    pub(super) async fn remove(&self, path: &Path) -> Result<(), AuditError> {
        let remove = async {
            match self.store.delete(path).await {
                Err(object_store::Error::NotFound { .. }) => Ok(()),
                other => other,
            }
        };
        self.within("delete", remove).await
    }

    /// All objects in a folder below the lake's own, and in the folders therein.
    pub(super) async fn list(&self, below: &str) -> Result<Vec<ObjectMeta>, AuditError> {
        let folder = self.path(below);
        self.within("list", self.store.list(Some(&folder)).try_collect()).await
    }

    /// The folders right below the lake's own.
    pub(super) async fn folders(&self) -> Result<Vec<String>, AuditError> {
        let listed = self.within("list", self.store.list_with_delimiter(Some(&self.root))).await?;
        let last = |path: &Path| path.parts().next_back().map(|part| part.as_ref().to_owned());
        Ok(listed.common_prefixes.iter().filter_map(last).collect())
    }

    /// A path as it stands below the lake's own folder.
    pub(super) fn below(&self, path: &Path) -> Option<String> {
        let parts = path.prefix_match(&self.root)?;
        let parts: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
        Some(parts.join("/"))
    }
}
