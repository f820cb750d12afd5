//! The proxy of a host: what all ways out share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_rustls::TlsConnector;

use crate::dial::{self, Dial, TcpDial};
use crate::event::Hears;
use crate::grant::{Grant, GrantError};
use crate::resolve::Resolve;
use crate::secret::SecretFor;
use crate::settings::{Settings, SettingsError};
use crate::way::OpenWay;

/// What the proxy works with.
#[derive(Clone)]
pub struct Parts {
    pub resolver: Arc<dyn Resolve>,
    pub secrets: Arc<dyn SecretFor>,
    pub events: Arc<dyn Hears>,
}

/// Why the proxy or a way could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Grant(#[from] GrantError),
    #[error("roots: {0}; give certificates of authorities in DER")]
    Roots(rustls::Error),
    #[error("folder {folder:?}: {cause}; choose a short path that this user may write")]
    Folder { folder: std::path::PathBuf, cause: std::io::Error },
}

pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) parts: Parts,
    pub(crate) dial: Arc<dyn Dial>,
    pub(crate) connector: TlsConnector,
    ways: AtomicU64,
}

impl Shared {
    /// A number for the folder of a way.
    pub(crate) fn next(&self) -> u64 {
        self.ways.fetch_add(1, Ordering::Relaxed)
    }
}

/// The only way out for sandboxed code and for the platform's own HTTP tools. Cheap to clone.
#[derive(Clone)]
pub struct Egress {
    shared: Arc<Shared>,
}

impl Egress {
    /// # Errors
    /// [`OpenError`] when a setting is out of its range or the folder cannot be made.
    pub fn open(settings: Settings, parts: Parts) -> Result<Self, OpenError> {
        Self::with_dial(settings, parts, Arc::new(TcpDial))
    }

    pub(crate) fn with_dial(
        settings: Settings,
        parts: Parts,
        dial: Arc<dyn Dial>,
    ) -> Result<Self, OpenError> {
        settings.check()?;
        let connector = dial::connector(&settings).map_err(OpenError::Roots)?;
        crate::way::make_folder(&settings.folder)?;
        let shared = Shared { settings, parts, dial, connector, ways: AtomicU64::new(0) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Opens a way for a grant, until the [`OpenWay`] is dropped. Called inside a tokio runtime.
    ///
    /// # Errors
    /// [`OpenError`] when the grant says what cannot be held, or a socket cannot be made.
    pub fn open_way(&self, grant: Grant) -> Result<OpenWay, OpenError> {
        grant.check()?;
        OpenWay::open(Arc::clone(&self.shared), grant)
    }
}
