//! One connection to the server: opened, and told from outside to stop.

use std::sync::Arc;
use std::time::Duration;

use headwater_backends::{BackendError, SecretHeader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_postgres::{CancelToken, Client, Config};

use crate::error::unconnected;
use crate::meter::{Meter, Metered};
use crate::settings::{SettingsError, SqlSettings};
use crate::tls::Connector;

/// Transactions read only unless somebody says otherwise, and text of times that hangs on nothing.
const PREPARE: &str = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY; \
                       SET TIME ZONE 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'iso_8601'; \
                       SET client_min_messages = 'error'";
/// The server is told to stop within so long, or by its own time limit.
const CANCEL: Duration = Duration::from_secs(5);

/// Opens connections to one database.
pub(crate) struct Dialer {
    settings: SqlSettings,
    connector: Connector,
}

/// One session of the server.
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) meter: Arc<Meter>,
    /// Whose password opened it: no other tenant's calls go over it.
    pub(crate) tenant: String,
    pub(crate) used: Instant,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    /// What the server still sends is read by nobody.
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Dialer {
    pub(crate) fn new(settings: SqlSettings) -> Result<Dialer, SettingsError> {
        settings.check()?;
        let connector = Connector::new(&settings.host, &settings.tls)?;
        Ok(Dialer { settings, connector })
    }

    pub(crate) fn settings(&self) -> &SqlSettings {
        &self.settings
    }

    /// A session that only reads; the first of the secrets is its password.
    pub(crate) async fn open(
        &self,
        tenant: &str,
        secrets: &[SecretHeader],
    ) -> Result<Connection, BackendError> {
        let within_ms = self.settings.connect_timeout_ms;
        match timeout(Duration::from_millis(within_ms), self.connect(tenant, secrets)).await {
            Ok(opened) => opened,
            Err(_) => Err(BackendError::Unsent {
                why: format!("no connection to the database within {within_ms} ms"),
            }),
        }
    }

    async fn connect(
        &self,
        tenant: &str,
        secrets: &[SecretHeader],
    ) -> Result<Connection, BackendError> {
        let SqlSettings { database, user, .. } = &self.settings;
        let mut config = Config::new();
        config.dbname(database).user(user).application_name("headwater");
        config.ssl_mode(self.connector.mode);
        if let Some(password) = secrets.first() {
            config.password(password.expose());
        }
        let meter = Arc::new(Meter::new());
        let stream = self.dial(&meter).await?;
        let (client, connection) = config
            .connect_raw(stream, self.connector.clone())
            .await
            .map_err(|error| unconnected(&error, secrets))?;
        let driver = tokio::spawn(async move {
            // Its end is told to the client's next question.
            let _ = connection.await;
        });
        let connection =
            Connection { client, meter, tenant: tenant.to_owned(), used: Instant::now(), driver };
        let prepared = connection.client.batch_execute(PREPARE).await;
        prepared.map_err(|error| unconnected(&error, secrets))?;
        Ok(connection)
    }

    async fn dial(&self, meter: &Arc<Meter>) -> Result<Metered, BackendError> {
        let failed = |error: std::io::Error| BackendError::Unsent {
            why: format!("no connection to the database: {error}"),
        };
        let SqlSettings { host, port, .. } = &self.settings;
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        Ok(Metered::new(stream, Arc::clone(meter)))
    }

    /// Has the server give up what it does in a session, as far as it can be reached.
    pub(crate) async fn cancel(&self, token: CancelToken) {
        let cancel = async {
            let stream = self.dial(&Arc::new(Meter::new())).await.ok()?;
            token.cancel_query_raw(stream, self.connector.clone()).await.ok()
        };
        let _ = timeout(CANCEL, cancel).await;
    }
}
