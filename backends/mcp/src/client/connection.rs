//! Connecting to a server, and hearing of its changes.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use headwater_backends::{BackendError, Egress, SecretHeaders};
use reqwest::redirect::Policy;
use reqwest::{Proxy, Url};
use rmcp::model::{
    ClientCapabilities, ClientConfig, Implementation, ProtocolVersion, SubscriptionFilter,
};
use rmcp::service::{
    ClientCacheConfig, ClientInitializeError, ClientLifecycleMode, ClientServiceExt,
    NotificationContext, RunningService,
};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use rmcp::{ClientHandler, Peer, RoleClient};
use tokio::process::Command;
use tokio::task::JoinHandle;

use super::transport::{GuardedHttp, GuardedNames, host, permit};
use super::{ClientSettings, Place, SettingsError, failure};

/// Requests of one server under way at once.
const REQUESTS_MAX: usize = 256;

/// A connection that was made. Dropping it closes it.
pub(super) struct Connection {
    service: RunningService<RoleClient, Client>,
    number: u64,
    changes: Arc<AtomicU64>,
    listening: Option<JoinHandle<()>>,
}

impl Connection {
    pub(super) fn peer(&self) -> &Peer<RoleClient> {
        self.service.peer()
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.service.is_closed() && !self.service.peer().is_transport_closed()
    }

    /// How often the server has told that its tools have changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Another one for each connection of this server.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}

/// What we are to a server: nobody whom it could ask anything.
struct Client {
    changes: Arc<AtomicU64>,
}

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        let own = Implementation::new("headwater", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), own)
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }
}

/// Makes connections to one server.
pub(super) struct Connector {
    way: Way,
    message_bytes_max: usize,
    made: AtomicU64,
}

enum Way {
    Http(GuardedHttp),
    Command(Place),
}

impl Connector {
    pub(super) fn new(
        settings: &ClientSettings,
        headers: SecretHeaders,
        egress: Egress,
    ) -> Result<Connector, SettingsError> {
        let way = match &settings.place {
            Place::Command { program, .. } if program.is_empty() => {
                let why = "is empty; name a program".to_owned();
                return Err(SettingsError { field: "program", why });
            }
            Place::Command { .. } => Way::Command(settings.place.clone()),
            Place::Http { url } => Way::Http(guarded(settings, url, headers, egress)?),
        };
        let message_bytes_max = settings.message_bytes_max;
        Ok(Connector { way, message_bytes_max, made: AtomicU64::new(0) })
    }

    /// The server's host and port, where it has one.
    pub(super) fn host(&self) -> Option<(&str, u16)> {
        match &self.way {
            Way::Http(http) => Some(host(&http.url)),
            Way::Command(_) => None,
        }
    }

    pub(super) async fn connect(&self) -> Result<Connection, BackendError> {
        let changes = Arc::new(AtomicU64::new(0));
        let service = match &self.way {
            Way::Http(http) => {
                permit(&http.egress, &http.url, http.proxied)?;
                self.connect_http(http, &changes).await
            }
            Way::Command(place) => connect_command(place, &changes).await?,
        };
        let service = service.map_err(|error| failure::of_connecting(&error))?;
        let peer = service.peer().clone();
        // What is kept is kept by us, with the digests.
        peer.set_response_cache_config(ClientCacheConfig::disabled()).await;
        let listening = listen(peer, changes.clone());
        let number = self.made.fetch_add(1, Ordering::AcqRel);
        Ok(Connection { service, number, changes, listening })
    }

    /// The current revision first; servers that know only the handshake get it, those that do not
    /// even refuse properly get it on a connection of its own.
    async fn connect_http(
        &self,
        http: &GuardedHttp,
        changes: &Arc<AtomicU64>,
    ) -> Result<RunningService<RoleClient, Client>, ClientInitializeError> {
        let serve = async |mode| {
            let config = StreamableHttpClientTransportConfig::with_uri(http.url.as_str())
                .max_concurrent_requests(REQUESTS_MAX)
                .max_sse_event_size(self.message_bytes_max)
                .max_json_response_size(self.message_bytes_max);
            let transport = StreamableHttpClientTransport::with_client(http.clone(), config);
            Client { changes: changes.clone() }.serve_with_lifecycle(transport, mode).await
        };
        match serve(either()).await {
            Ok(service) => Ok(service),
            Err(error) if is_final(&error) => Err(error),
            Err(_) => serve(ClientLifecycleMode::Initialize).await,
        }
    }
}

/// Whether the older handshake could not help either.
fn is_final(error: &ClientInitializeError) -> bool {
    matches!(
        failure::of_connecting(error),
        BackendError::Busy { .. } | BackendError::TimedOut { .. }
    ) || matches!(error, ClientInitializeError::LegacyFallbackFailed { .. })
        || error.is_authorization_required()
}

fn either() -> ClientLifecycleMode {
    ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
    }
}

async fn connect_command(
    place: &Place,
    changes: &Arc<AtomicU64>,
) -> Result<Result<RunningService<RoleClient, Client>, ClientInitializeError>, BackendError> {
    let Place::Command { program, arguments, environment } = place else {
        return Err(BackendError::Unsent { why: "the server is no program".to_owned() });
    };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(environment).kill_on_drop(true);
    let (transport, _) = TokioChildProcess::builder(command)
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| BackendError::Unsent {
            why: format!("the program `{program}` did not start: {}", error.kind()),
        })?;
    let client = Client { changes: changes.clone() };
    Ok(client.serve_with_lifecycle(transport, either()).await)
}

/// Hears of changes as the current revision tells them; the older ones tell them unasked.
fn listen(peer: Peer<RoleClient>, changes: Arc<AtomicU64>) -> Option<JoinHandle<()>> {
    let info = peer.peer_info()?;
    let tells = info.capabilities.tools.as_ref().and_then(|tools| tools.list_changed);
    if info.protocol_version.has_initialize() || tells != Some(true) {
        return None;
    }
    Some(tokio::spawn(async move {
        let filter = SubscriptionFilter::builder().tools_list_changed().build();
        let Ok(mut subscription) = peer.listen(filter).await else { return };
        while let Ok(Some(_)) = subscription.next().await {
            changes.fetch_add(1, Ordering::AcqRel);
        }
        // Nobody tells of changes any more: what is kept is read anew once.
        changes.fetch_add(1, Ordering::AcqRel);
    }))
}

fn guarded(
    settings: &ClientSettings,
    url: &str,
    headers: SecretHeaders,
    egress: Egress,
) -> Result<GuardedHttp, SettingsError> {
    let wrong = |field, why: &str| SettingsError { field, why: why.to_owned() };
    let url = Url::parse(url).map_err(|_| wrong("url", "is none; give https://host/mcp"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(wrong("url", "has another scheme or no host; give https://host/mcp"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("url", "holds a password; give it as a secret header"));
    }
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("headwater/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_millis(settings.connect_timeout_ms))
        .tcp_nodelay(true)
        // A redirect would carry secrets to another host.
        .redirect(Policy::none())
        .no_proxy()
        .dns_resolver(GuardedNames { egress: egress.clone() });
    if let Some(proxy) = &settings.proxy {
        let proxy = Proxy::all(proxy)
            .map_err(|_| wrong("proxy", "is no address; give it as http://127.0.0.1:3128"))?;
        builder = builder.proxy(proxy);
    }
    let http = builder.build().map_err(|_| wrong("url", "no client could be made for it"))?;
    Ok(GuardedHttp { http, headers, egress, url, proxied: settings.proxy.is_some() })
}
