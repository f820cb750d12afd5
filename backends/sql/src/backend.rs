//! A tool that reads one database with the statements that the model writes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use headwater_backends::{
    Answer, Backend, BackendError, Content, Invocation, Listed, Reached, SecretHeaders,
};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::ask::Ask;
use crate::pool::Pool;
use crate::session::Session;
use crate::settings::{SettingsError, SqlSettings};
use crate::statement::Bounds;

/// No sum with the clock overflows.
const LONGEST_SPAN: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Connections of one database, shared by its tools; cheap to clone.
#[derive(Clone)]
pub struct SqlDatabase {
    pool: Arc<Pool>,
    password: SecretHeaders,
}

/// Reads: arguments are `sql` and, where it has `$1`, `parameters`. It lists no tools.
///
/// An answer has `columns` (`name` and `type` of each), `rows` (lists in the order of columns),
/// `row_count`, and `truncated`, which says that there were more rows. Numbers that a double does
/// not hold come as text, times as ISO 8601, bytes as Base64.
#[derive(Clone)]
pub struct SqlBackend {
    database: SqlDatabase,
    rows_max: u32,
}

impl SqlDatabase {
    /// Connects to nobody yet. The first secret that `password` gives for a call is the role's
    /// password, and none where it gives none; connections are never shared between tenants.
    ///
    /// # Errors
    /// The field that is wrong, and what to give instead.
    pub fn new(
        settings: SqlSettings,
        password: SecretHeaders,
    ) -> Result<SqlDatabase, SettingsError> {
        Ok(SqlDatabase { pool: Pool::new(settings)?, password })
    }

    #[cfg(test)]
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// A tool that gives at most so many rows.
    pub fn backend(&self, rows_max: u32) -> SqlBackend {
        SqlBackend { database: self.clone(), rows_max }
    }
}

impl SqlBackend {
    /// Rows of one answer where nobody says how many.
    pub const ROWS_MAX: u32 = 1_000;

    /// JSON Schema of the arguments.
    pub fn input_schema() -> Value {
        Ask::schema()
    }

    /// The call, from the password on.
    async fn read(&self, invocation: &Invocation, ask: Ask<'_>) -> Result<Answer, BackendError> {
        let after_ms = invocation.deadline_ms;
        let deadline = Instant::now() + Duration::from_millis(after_ms).min(LONGEST_SPAN);
        let bytes_max = invocation.output_bytes_max;
        let bounds = Bounds { rows_max: self.rows_max, bytes_max, after_ms, deadline };
        let SqlDatabase { pool, password } = &self.database;
        let unsent = |_| BackendError::TimedOut { after_ms, sent: false };
        let secrets = timeout_at(deadline, password(Some(invocation))).await.map_err(unsent)??;
        let session = Session::begin(pool, &invocation.tenant, &secrets, bounds);
        let mut session = timeout_at(deadline, session).await.map_err(unsent)??;
        let told = timeout_at(deadline, session.read(ask))
            .await
            .map_err(|_| BackendError::TimedOut { after_ms, sent: true })??;
        let (bytes_out, bytes_in) = session.bytes();
        let content = Content::Json(told);
        if content.bytes_len() > bytes_max {
            return Err(BackendError::TooLarge { bytes_max });
        }
        let settings = pool.dialer.settings();
        let reached =
            vec![Reached { host: settings.host.clone(), port: settings.port, bytes_out, bytes_in }];
        Ok(Answer { content, is_error: false, bytes_in, bytes_out, reached })
    }
}

#[async_trait]
impl Backend for SqlBackend {
    async fn call(&self, invocation: &Invocation) -> Result<Answer, BackendError> {
        let ask = Ask::read(&invocation.arguments)?;
        self.read(invocation, ask).await
    }

    async fn list(&self) -> Result<Vec<Listed>, BackendError> {
        Ok(Vec::new())
    }
}
