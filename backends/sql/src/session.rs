//! One call on one connection, which goes back to the pool only when its transaction has ended.

use std::sync::Arc;

use headwater_backends::{BackendError, SecretHeader};
use serde_json::Value;
use tokio::runtime::Handle;

use crate::ask::Ask;
use crate::pool::{Pool, Taken};
use crate::statement::{Bounds, Run};

/// Locks may outlive the transaction that took them.
const UNLOCK: &str = "SELECT pg_catalog.pg_advisory_unlock_all()";

/// Dropped before its end, its connection is closed and the server is told to stop.
pub(crate) struct Session<'a> {
    pool: Arc<Pool>,
    taken: Option<Taken>,
    run: Run<'a>,
}

impl<'a> Session<'a> {
    pub(crate) async fn begin(
        pool: &Arc<Pool>,
        tenant: &str,
        secrets: &'a [SecretHeader],
        bounds: Bounds,
    ) -> Result<Session<'a>, BackendError> {
        let taken = pool.take(tenant, secrets).await?;
        let meter = Arc::clone(&taken.connection.meter);
        let lock_ms = pool.dialer.settings().lock_timeout_ms;
        let run = Run::new(meter, secrets, bounds, lock_ms);
        Ok(Session { pool: Arc::clone(pool), taken: Some(taken), run })
    }

    /// The answer of one statement, as JSON. What the statement did is undone.
    pub(crate) async fn read(&mut self, ask: Ask<'_>) -> Result<Value, BackendError> {
        let Some(taken) = &mut self.taken else {
            return Err(BackendError::Unsent { why: "the session has ended".to_owned() });
        };
        let client = &mut taken.connection.client;
        let transaction = client.build_transaction().read_only(true).start().await;
        let transaction = transaction.map_err(|error| self.run.failed(&error))?;
        let told = self.run.read(&transaction, ask).await;
        // Of an answer that is too large most is still under way: the connection is given up.
        if matches!(told, Err(BackendError::TooLarge { .. }))
            || transaction.rollback().await.is_err()
        {
            return told;
        }
        if client.batch_execute(UNLOCK).await.is_ok()
            && let Some(taken) = self.taken.take()
        {
            self.pool.give_back(taken.connection);
        }
        told
    }

    /// Bytes to the server and from it.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        self.run.bytes()
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        let Some(Taken { connection, permit }) = self.taken.take() else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        let pool = Arc::clone(&self.pool);
        runtime.spawn(async move {
            if !connection.client.is_closed() {
                pool.dialer.cancel(connection.client.cancel_token()).await;
            }
            drop(connection);
            // Until here the server was still at work.
            drop(permit);
        });
    }
}
