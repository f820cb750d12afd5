//! Names to addresses.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Semaphore;

/// A name was not found, or nobody could be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name was not found")]
pub struct ResolveError;

/// Gives the addresses of a name. The caller keeps the deadline and checks the addresses.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// All addresses of a host name (lower case, no dot at its end).
    ///
    /// # Errors
    /// [`ResolveError`] when there are none.
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError>;
}

/// The system's resolver, at most so many names at once.
#[derive(Debug)]
pub struct SystemResolver {
    at_once: Arc<Semaphore>,
}

impl SystemResolver {
    /// Each name in work holds a thread, even after its asker has given up.
    #[must_use]
    pub fn new(names_at_once: usize) -> Self {
        Self { at_once: Arc::new(Semaphore::new(names_at_once.max(1))) }
    }
}

#[async_trait]
impl Resolve for SystemResolver {
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let permit = Arc::clone(&self.at_once).acquire_owned().await.map_err(|_| ResolveError)?;
        // The dot keeps the host's search domains out of it.
        let absolute = format!("{host}.");
        let work = tokio::spawn(async move {
            let found = tokio::net::lookup_host((absolute.as_str(), 0)).await;
            drop(permit);
            found.map(|all| all.map(|address| address.ip()).collect::<Vec<_>>())
        });
        match work.await {
            Ok(Ok(found)) if !found.is_empty() => Ok(found),
            _ => Err(ResolveError),
        }
    }
}
