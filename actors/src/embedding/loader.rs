//! Loads models that the node's settings name, one call at a time for each.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::models::EmbeddingHandle;
use super::start::ServedModel;
use super::table::ChangeError;

/// A model on its way, or why it does not come.
pub type Opening = Pin<Box<dyn Future<Output = Result<ServedModel, String>> + Send>>;
type Open = dyn Fn(&str) -> Option<Opening> + Send + Sync;

/// Opens models by name; cheap to clone.
#[derive(Clone)]
pub struct ModelLoader {
    open: Arc<Open>,
    loading: Arc<Mutex<BTreeSet<String>>>,
}

impl ModelLoader {
    /// `open` brings a model's weights onto the machine and reads them; none for a name that the
    /// settings do not have.
    pub fn new(open: impl Fn(&str) -> Option<Opening> + Send + Sync + 'static) -> Self {
        ModelLoader { open: Arc::new(open), loading: Arc::default() }
    }

    /// Opens the model and serves it. It goes on when the returned future is dropped.
    ///
    /// # Errors
    /// [`ChangeError::UnknownModel`], [`ChangeError::NameTaken`] while it is served or loading,
    /// [`ChangeError::NotOpened`] with the reason, and those of [`EmbeddingHandle::load`].
    pub(super) async fn load(
        &self,
        models: &EmbeddingHandle,
        name: &str,
    ) -> Result<(), ChangeError> {
        if models.table().has(name) {
            return Err(ChangeError::NameTaken(name.to_owned()));
        }
        let unknown = || ChangeError::UnknownModel(name.to_owned());
        let opening = (self.open)(name).ok_or_else(unknown)?;
        if !self.loading().insert(name.to_owned()) {
            return Err(ChangeError::NameTaken(name.to_owned()));
        }
        let entry = Entry { loader: self.clone(), name: name.to_owned() };
        let models = models.clone();
        let task = tokio::spawn(async move {
            let opened = opening.await;
            let why = |why| ChangeError::NotOpened(entry.name.clone(), why);
            let loaded = models.load(opened.map_err(why)?).await;
            drop(entry);
            loaded
        });
        let panicked = || ChangeError::NotOpened(name.to_owned(), "its reader panicked".to_owned());
        task.await.unwrap_or_else(|_| Err(panicked()))
    }

    /// Whether the model's weights are being fetched or read.
    pub(super) fn is_loading(&self, name: &str) -> bool {
        self.loading().contains(name)
    }

    fn loading(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.loading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name that is being loaded, until this is dropped.
struct Entry {
    loader: ModelLoader,
    name: String,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.loader.loading().remove(&self.name);
    }
}
