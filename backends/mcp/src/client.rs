//! Servers of others as backends.

mod connection;
mod failure;
mod list;
mod read;
mod transport;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use headwater_backends::{
    Answer, Backend, BackendError, Egress, Invocation, Listed, Reached, SecretHeader, SecretHeaders,
};
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CancelledNotificationParam, ClientRequest, RequestId,
    RequestMetaObject, RequestParamsMeta, ServerResult,
};
use rmcp::service::PeerRequestOptions;
use rmcp::{Peer, RoleClient};
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::CALL_KEY;
use crate::DRY_RUN_KEY;
use connection::{Connection, Connector};
use list::Kept;
use transport::CallHeaders;

/// No sum with the clock overflows.
const LONGEST_SPAN: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Where a server is.
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    /// Streamable HTTP: `https://host/mcp`.
    Http { url: String },
    /// A program of this machine that speaks over its standard input and output.
    Command {
        program: String,
        arguments: Vec<String>,
        /// All that the program sees of the environment.
        environment: BTreeMap<String, String>,
    },
}

/// Settings of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSettings {
    pub place: Place,
    /// Longest time to connect and to agree on a revision, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Longest time for a list of all pages, in milliseconds.
    pub list_timeout_ms: u64,
    /// How long a list is believed, in milliseconds, when the server tells of no change.
    pub list_fresh_ms: u64,
    /// Most tools that are read; a server that tells more is refused.
    pub tools_max: usize,
    /// Longest message of the server over HTTP, in bytes.
    pub message_bytes_max: usize,
    /// An HTTP proxy, such as `http://127.0.0.1:3128`; none without it.
    pub proxy: Option<String>,
    /// The server changes nothing where `_meta` says so at [`DRY_RUN_KEY`]. Without it a dry run
    /// is refused.
    pub dry_run: bool,
}

impl ClientSettings {
    /// A server over streamable HTTP, with the usual limits.
    pub fn http(url: impl Into<String>) -> ClientSettings {
        ClientSettings::new(Place::Http { url: url.into() })
    }

    /// With the usual limits.
    pub fn new(place: Place) -> ClientSettings {
        ClientSettings {
            place,
            connect_timeout_ms: 10_000,
            list_timeout_ms: 30_000,
            list_fresh_ms: 300_000,
            tools_max: 2_000,
            message_bytes_max: 16 << 20,
            proxy: None,
            dry_run: false,
        }
    }
}

/// Why settings are no good: the field, and what to give instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct SettingsError {
    pub field: &'static str,
    pub why: String,
}

/// One server as a backend. It connects when it is first asked, and again when it has lost its
/// connection. Cheap to clone.
#[derive(Clone)]
pub struct McpBackend {
    shared: Arc<Shared>,
}

struct Shared {
    settings: ClientSettings,
    connector: Connector,
    headers: SecretHeaders,
    /// Held while connecting, so that many calls make one connection.
    connection: Mutex<Option<Arc<Connection>>>,
    kept: Mutex<Option<Kept>>,
}

impl McpBackend {
    /// Connects to nobody yet.
    ///
    /// # Errors
    /// When the address or the proxy is none.
    pub fn new(
        settings: ClientSettings,
        headers: SecretHeaders,
        egress: Egress,
    ) -> Result<McpBackend, SettingsError> {
        let connector = Connector::new(&settings, headers.clone(), egress)?;
        let shared = Shared {
            settings,
            connector,
            headers,
            connection: Mutex::new(None),
            kept: Mutex::new(None),
        };
        Ok(McpBackend { shared: Arc::new(shared) })
    }

    /// Closes the connection; the next call opens another one.
    pub async fn close(&self) {
        *self.shared.connection.lock().await = None;
    }

    /// The connection, made now where there is none.
    async fn connected(&self, deadline: Instant) -> Result<Arc<Connection>, BackendError> {
        let shared = &self.shared;
        let span_ms = shared.settings.connect_timeout_ms;
        let until = deadline.min(Instant::now() + span(span_ms));
        let timed_out = |_| BackendError::TimedOut { after_ms: span_ms, sent: false };
        let mut held = timeout_at(until, shared.connection.lock()).await.map_err(timed_out)?;
        if let Some(connection) = held.as_ref().filter(|one| one.is_alive()) {
            return Ok(connection.clone());
        }
        *held = None;
        let made = timeout_at(until, shared.connector.connect()).await.map_err(timed_out)??;
        let made = Arc::new(made);
        *held = Some(made.clone());
        Ok(made)
    }

    async fn send(
        &self,
        connection: &Connection,
        invocation: &Invocation,
        secrets: Vec<SecretHeader>,
        deadline: Instant,
    ) -> Result<Answer, BackendError> {
        let arguments = match &invocation.arguments {
            Value::Object(arguments) => arguments.clone(),
            Value::Null => Map::new(),
            _ => {
                let why = "they are no JSON object; give one".to_owned();
                return Err(BackendError::Arguments { why });
            }
        };
        let bytes_out = invocation.arguments.to_string().len() as u64;
        let mut params = CallToolRequestParams::new(invocation.tool.clone());
        params.arguments = Some(arguments);
        params.set_meta(meta(invocation));
        let mut request = CallToolRequest::new(params);
        request.extensions.insert(CallHeaders(Arc::new(secrets.clone())));
        let request = ClientRequest::CallToolRequest(request);
        let peer = connection.peer();
        let options = PeerRequestOptions::no_options();
        let handle = peer
            .send_cancellable_request(request, options)
            .await
            .map_err(|error| failure::of_service(error, &secrets))?;
        let mut given_up = GivenUp { peer: peer.clone(), id: Some(handle.id.clone()) };
        let answer = timeout_at(deadline, handle.await_response()).await;
        let Ok(answer) = answer else {
            let after_ms = invocation.deadline_ms;
            return Err(BackendError::TimedOut { after_ms, sent: true });
        };
        given_up.id = None;
        let answer = answer.map_err(|error| failure::of_service(error, &secrets))?;
        let (content, is_error, bytes_in) = match answer {
            ServerResult::CallToolResult(result) => read::answer(result, &secrets),
            other => return Err(failure::unexpected(&other)),
        };
        if bytes_in > invocation.output_bytes_max {
            return Err(BackendError::TooLarge { bytes_max: invocation.output_bytes_max });
        }
        let reached = self.shared.connector.host().map(|(host, port)| {
            let host = host.to_owned();
            Reached { host, port, bytes_out, bytes_in }
        });
        let reached = reached.into_iter().collect();
        Ok(Answer { content, is_error, bytes_in, bytes_out, reached })
    }
}

fn meta(invocation: &Invocation) -> RequestMetaObject {
    let mut meta = RequestMetaObject::new();
    meta.insert(CALL_KEY.to_owned(), Value::String(invocation.call.clone()));
    if invocation.dry_run {
        meta.insert(DRY_RUN_KEY.to_owned(), Value::Bool(true));
    }
    meta
}

/// Tells the server that nobody waits any more.
struct GivenUp {
    peer: Peer<RoleClient>,
    id: Option<RequestId>,
}

impl Drop for GivenUp {
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let peer = self.peer.clone();
        let reason = Some("the caller waits no longer".to_owned());
        runtime.spawn(async move {
            // Bounded by the transport's own time for such messages.
            let _ = peer.notify_cancelled(CancelledNotificationParam::new(Some(id), reason)).await;
        });
    }
}

#[async_trait]
impl Backend for McpBackend {
    async fn call(&self, invocation: &Invocation) -> Result<Answer, BackendError> {
        let after_ms = invocation.deadline_ms;
        let deadline = Instant::now() + span(after_ms);
        if invocation.dry_run && !self.shared.settings.dry_run {
            let why = "the server is not known to have dry runs, and nothing was sent".to_owned();
            return Err(BackendError::Refused { why });
        }
        let secrets = timeout_at(deadline, (self.shared.headers)(Some(invocation)))
            .await
            .map_err(|_| BackendError::TimedOut { after_ms, sent: false })??;
        let connection = self.connected(deadline).await?;
        self.send(&connection, invocation, secrets, deadline).await
    }

    async fn list(&self) -> Result<Vec<Listed>, BackendError> {
        let settings = &self.shared.settings;
        let after_ms = settings.list_timeout_ms;
        let deadline = Instant::now() + span(after_ms);
        let timed_out = |_| BackendError::TimedOut { after_ms, sent: false };
        // Held while reading, so that many questions read one list.
        let mut kept = timeout_at(deadline, self.shared.kept.lock()).await.map_err(timed_out)?;
        let connection = self.connected(deadline).await?;
        if let Some(kept) = kept.as_ref().filter(|kept| kept.is_fresh(&connection)) {
            return Ok(kept.tools.clone());
        }
        let secrets =
            timeout_at(deadline, (self.shared.headers)(None)).await.map_err(timed_out)??;
        let read = list::read(&connection, settings, &secrets);
        let read = timeout_at(deadline, read).await.map_err(timed_out)??;
        let tools = read.tools.clone();
        *kept = Some(read);
        Ok(tools)
    }
}

fn span(ms: u64) -> Duration {
    Duration::from_millis(ms).min(LONGEST_SPAN)
}

/// An environment may hold secrets.
impl std::fmt::Debug for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Http { url } => write!(formatter, "Http({url})"),
            Place::Command { program, .. } => write!(formatter, "Command({program})"),
        }
    }
}

#[cfg(test)]
mod tests;
