//! Connections of one database: a bounded number, kept for the next call, opened with patience
//! where the server is down.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use headwater_backends::{BackendError, SecretHeader};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use crate::connection::{Connection, Dialer};
use crate::settings::{SettingsError, SqlSettings};

/// After a first failure nobody connects for so long; each further one doubles it.
const BACK_OFF_MIN: Duration = Duration::from_millis(250);
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

pub(crate) struct Pool {
    pub(crate) dialer: Dialer,
    room: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The one that was used last stands last.
    idle: Vec<Connection>,
    failures: u32,
    down_until: Option<Instant>,
    /// Somebody closes those that nobody needs.
    is_swept: bool,
}

/// A connection that a call has to itself.
pub(crate) struct Taken {
    pub(crate) connection: Connection,
    pub(crate) permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(crate) fn new(settings: SqlSettings) -> Result<Arc<Pool>, SettingsError> {
        let room = Arc::new(Semaphore::new(settings.connections_max));
        let dialer = Dialer::new(settings)?;
        Ok(Arc::new(Pool { dialer, room, state: Mutex::default() }))
    }

    /// Waits for room, for as long as the caller does.
    pub(crate) async fn take(
        &self,
        tenant: &str,
        secrets: &[SecretHeader],
    ) -> Result<Taken, BackendError> {
        let room = Arc::clone(&self.room).acquire_owned().await;
        let permit = room.map_err(|_| self.down("is not used any more", BACK_OFF_MAX))?;
        while let Some(connection) = self.idle_of(tenant) {
            // It may have ended while it waited.
            if connection.client.check_connection().await.is_ok() {
                return Ok(Taken { connection, permit });
            }
        }
        self.check_down()?;
        let opened = self.dialer.open(tenant, secrets).await;
        let mut state = self.state();
        match opened {
            Ok(connection) => {
                (state.failures, state.down_until) = (0, None);
                Ok(Taken { connection, permit })
            }
            Err(error) => {
                if matches!(error, BackendError::Unsent { .. } | BackendError::Busy { .. }) {
                    let wait = BACK_OFF_MIN * 2_u32.saturating_pow(state.failures.min(16));
                    state.failures = state.failures.saturating_add(1);
                    state.down_until = Some(Instant::now() + wait.min(BACK_OFF_MAX));
                    // They went to the same server.
                    state.idle.clear();
                }
                Err(error)
            }
        }
    }

    /// Keeps a connection for the next call; its transaction has ended.
    pub(crate) fn give_back(self: &Arc<Self>, mut connection: Connection) {
        connection.used = Instant::now();
        let mut state = self.state();
        state.idle.push(connection);
        if !std::mem::replace(&mut state.is_swept, true) {
            let idle = Duration::from_millis(self.dialer.settings().idle_ms);
            tokio::spawn(sweep(Arc::downgrade(self), idle));
        }
    }

    /// One of the tenant's own; where there is none, room is made for it.
    fn idle_of(&self, tenant: &str) -> Option<Connection> {
        let mut state = self.state();
        state.idle.retain(|connection| !connection.client.is_closed());
        if let Some(place) = state.idle.iter().rposition(|one| one.tenant == tenant) {
            return Some(state.idle.remove(place));
        }
        // Who asks has its permit already.
        let max = self.dialer.settings().connections_max;
        let taken = max.saturating_sub(self.room.available_permits());
        while !state.idle.is_empty() && state.idle.len() + taken > max {
            state.idle.remove(0);
        }
        None
    }

    fn check_down(&self) -> Result<(), BackendError> {
        let until = self.state().down_until;
        match until.map(|until| until.saturating_duration_since(Instant::now())) {
            Some(left) if !left.is_zero() => Err(self.down("was not reached a moment ago", left)),
            _ => Ok(()),
        }
    }

    fn down(&self, what: &str, left: Duration) -> BackendError {
        let why = format!("the database `{}` {what}", self.dialer.settings().name);
        let retry_after_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1);
        BackendError::Busy { why, retry_after_ms }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connections that wait for a call.
    #[cfg(test)]
    pub(crate) fn idle_count(&self) -> usize {
        self.state().idle.len()
    }
}

/// Closes connections that were not used for so long, until there are none or no pool.
async fn sweep(pool: Weak<Pool>, idle: Duration) {
    loop {
        sleep(idle).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut state = pool.state();
        state.idle.retain(|connection| connection.used.elapsed() < idle);
        if state.idle.is_empty() {
            state.is_swept = false;
            return;
        }
    }
}
