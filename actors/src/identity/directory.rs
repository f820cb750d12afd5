//! The directory of this node: what requests ask, without a word to the store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use headwater_storage::retry::Retry;
use tokio::sync::Mutex;

use super::metrics::IdentityMetrics;
use super::nouns::{Key, KeyRefusal, Stale};
use super::secret::SecretBits;
use super::table::Table;
use crate::mutants::{Mutant, planted};
use crate::runtime::Runtime;

/// How closely the store is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdentitySettings {
    /// How often the store is asked whether anything changed, in ms. A watch tells of changes
    /// sooner; this bounds what a lost watch can cost.
    pub refresh_ms: u64,
    /// For how long this node vouches for keys without hearing from the store, in ms. A key that
    /// was revoked elsewhere is refused here after this time, whatever is broken between.
    pub stale_ms: u64,
}

impl Default for IdentitySettings {
    fn default() -> Self {
        IdentitySettings { refresh_ms: 500, stale_ms: 60_000 }
    }
}

/// Virtual keys and revoked tokens of this node; cheap to clone.
#[derive(Clone)]
pub struct IdentityHandle {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) runtime: Runtime,
    pub(super) retry: Retry,
    pub(super) secret_bits: SecretBits,
    pub(super) settings: IdentitySettings,
    pub(super) metrics: IdentityMetrics,
    table: RwLock<Table>,
    /// When the table was last known to hold all there is, in ms of the monotonic clock, and one
    /// more; 0 when it never was.
    confirmed_ms: AtomicU64,
    /// One read of the store at a time.
    pub(super) reading: Mutex<()>,
}

impl Shared {
    pub(super) fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn table_mut(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table holds everything that was committed before this moment of the monotonic clock.
    pub(super) fn confirm(&self, at_ms: u64) {
        self.confirmed_ms.fetch_max(at_ms.saturating_add(1), Ordering::Release);
    }

    /// Whether this node may still vouch for what it holds.
    pub(super) fn fresh(&self) -> Result<(), Stale> {
        let confirmed = self.confirmed_ms.load(Ordering::Acquire);
        let age_ms = confirmed
            .checked_sub(1)
            .map(|confirmed_ms| self.runtime.now_ms().saturating_sub(confirmed_ms));
        match age_ms {
            Some(age_ms) if age_ms < self.settings.stale_ms => Ok(()),
            Some(_) if planted(Mutant::StaleKeysServed) => Ok(()),
            since_ms => Err(Stale { since_ms }),
        }
    }
}

impl IdentityHandle {
    /// Holds nothing yet and refuses every key: run [`IdentityHandle::run`].
    pub fn new(
        runtime: Runtime,
        retry: Retry,
        secret_bits: SecretBits,
        settings: IdentitySettings,
        metrics: IdentityMetrics,
    ) -> IdentityHandle {
        let shared = Shared {
            runtime,
            retry,
            secret_bits,
            settings,
            metrics,
            table: RwLock::default(),
            confirmed_ms: AtomicU64::new(0),
            reading: Mutex::new(()),
        };
        IdentityHandle { shared: Arc::new(shared) }
    }

    /// The key of this text, from memory.
    ///
    /// # Errors
    /// [`KeyRefusal`]; [`KeyRefusal::Stale`] when this node has not heard from the store for
    /// [`IdentitySettings::stale_ms`].
    pub fn find(&self, text: &str) -> Result<Arc<Key>, KeyRefusal> {
        let Shared { runtime, metrics, .. } = &*self.shared;
        // Looked at before the table: the table is at least as new as what was confirmed.
        let fresh = self.shared.fresh().map_err(KeyRefusal::Stale);
        let found = fresh.and_then(|()| self.shared.table().find(text, runtime.wall_ms()));
        found.inspect_err(|refusal| {
            metrics.refused(match refusal {
                KeyRefusal::Malformed => "malformed",
                KeyRefusal::Unknown => "unknown",
                KeyRefusal::Expired => "expired",
                KeyRefusal::Stale(_) => "stale",
            });
        })
    }

    /// Whether this node has heard from the store lately enough to know who is good.
    pub fn vouches(&self) -> bool {
        self.shared.fresh().is_ok()
    }

    /// Whether the key with this id is neither revoked nor expired, from memory: for work that goes
    /// on after the request that brought the key.
    ///
    /// # Errors
    /// [`Stale`], as for whole keys.
    pub fn stands(&self, id: &str) -> Result<bool, Stale> {
        self.shared.fresh()?;
        Ok(self.shared.table().stands(id, self.shared.runtime.wall_ms()))
    }

    /// Whether the token with this `jti` of this issuer was revoked, from memory.
    ///
    /// # Errors
    /// [`Stale`], as for keys: a node that cannot know does not say no.
    pub fn is_token_revoked(&self, issuer: &str, id: &str) -> Result<bool, Stale> {
        self.shared.fresh()?;
        Ok(self.shared.table().is_token_revoked(issuer, id))
    }
}
