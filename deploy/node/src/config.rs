//! The node's settings: one TOML file, overridden by the environment, then by flags.
//! Without any of them a node serves on loopback with its data in the user's folder.

mod audit;
mod auth;
mod cluster;
mod embedding;
mod gateway;
mod notices;
mod overlay;
mod places;
mod prompts;
mod retrieval;
mod telemetry;
#[cfg(test)]
mod tests;
mod tools;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;

pub use audit::{AuditContent, AuditSection};
pub use auth::{AuthSettings, IssuerSection, SignatureName};
pub use cluster::{ClusterSettings, TenancySection};
pub use embedding::{EmbeddingSection, ModelSettings, SourceSettings};
pub use gateway::{BackendProtocol, BackendSettings, GatewaySection};
pub use notices::{NoticesSection, WebhookSection};
pub use overlay::{ConfigSource, load};
pub use places::data_dir;
pub use prompts::{FallbackFile, PromptsSection, RuleFile, SecretsSection};
pub(crate) use retrieval::HOLD_LATE_MS;
pub use retrieval::{IngestSection, VectorEngine, VectorsSection};
pub use telemetry::TelemetrySection;
#[cfg(not(feature = "wasm"))]
pub(crate) use tools::NO_WASM;
pub use tools::{
    DatabaseSection, DatabaseTls, FirecrackerSection, McpServerSection, PoolSection, SandboxEngine,
    SandboxSection, ToolsSection,
};

/// Everything that can be set. Each section and key may be left out.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the store, the weights and the keys live; the user's data folder by default.
    pub data_dir: Option<PathBuf>,
    pub server: ServerSettings,
    pub auth: AuthSettings,
    pub storage: StorageSettings,
    pub cluster: ClusterSettings,
    pub tenancy: TenancySection,
    pub notices: NoticesSection,
    pub log: LogSettings,
    pub embedding: EmbeddingSection,
    pub vectors: VectorsSection,
    pub ingest: IngestSection,
    pub gateway: GatewaySection,
    pub prompts: PromptsSection,
    pub secrets: SecretsSection,
    pub tools: ToolsSection,
    pub sandbox: SandboxSection,
    pub audit: AuditSection,
    pub telemetry: TelemetrySection,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Threads that read and write HTTP; the device threads are apart.
    pub threads: usize,
    pub body_limit_bytes: usize,
    pub body_timeout_ms: u64,
    /// Answers from this size on are sent compressed (gzip) to clients that take it; none is by
    /// default, and no stream ever is. Requests may come compressed in any case.
    pub gzip_above_bytes: Option<usize>,
    /// Longest time that running requests get after SIGTERM, in ms.
    pub drain_timeout_ms: u64,
    /// HTTPS in place of HTTP.
    pub tls: Option<TlsFiles>,
    /// HTTP/3 beside it, on the UDP port of the same number.
    pub http3: bool,
}

/// A certificate; both files are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// PEM: the node's own certificate, and the others up to the root.
    pub certificate: PathBuf,
    /// PEM: its key.
    pub key: PathBuf,
}

/// The engine that keeps the node's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// A durable store on this node's disk.
    Embedded,
    /// A FoundationDB cluster.
    Fdb,
    /// The store of another node, which has `storage.serve` set.
    Cluster,
    /// Nothing outlives the process; for trials.
    Memory,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageSettings {
    pub engine: Engine,
    /// The embedded engine's file; `store.redb` in the data folder by default.
    pub path: Option<PathBuf>,
    /// Whether the embedded engine waits for the disk at every commit.
    pub fsync: bool,
    /// FoundationDB's cluster file; the client's default without it.
    pub cluster_file: Option<PathBuf>,
    /// Name of this platform's directory in FoundationDB.
    pub cluster_name: String,
    /// Offer this node's store to the cluster: one point of failure, for development.
    pub serve: bool,
    /// The node whose store this one uses, with engine `cluster`.
    pub node: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `human` on a terminal, `json` elsewhere.
    Auto,
    Human,
    Json,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    pub format: LogFormat,
    /// A level, or `tracing` directives such as `info,headwater_actors=debug`.
    pub level: String,
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Default for ServerSettings {
    fn default() -> Self {
        ServerSettings {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            threads: cores(),
            body_limit_bytes: 16 << 20,
            body_timeout_ms: 30_000,
            gzip_above_bytes: None,
            drain_timeout_ms: 30_000,
            tls: None,
            http3: false,
        }
    }
}

impl Default for StorageSettings {
    fn default() -> Self {
        StorageSettings {
            engine: Engine::Embedded,
            path: None,
            fsync: true,
            cluster_file: None,
            cluster_name: "default".to_owned(),
            serve: false,
            node: None,
        }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        LogSettings { format: LogFormat::Auto, level: "info".to_owned() }
    }
}

/// A setting that parses and still makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nonsense {
    /// Path of the key, for example `["server", "listen"]`; list places as digits.
    pub(crate) key: Vec<String>,
    pub(crate) problem: String,
}

impl Settings {
    /// Checks what types cannot say.
    pub(crate) fn check(&self) -> Result<(), Nonsense> {
        let fail = |key: &str, problem: String| {
            Err(Nonsense { key: key.split('.').map(str::to_owned).collect(), problem })
        };
        if !self.server.listen.ip().is_loopback() && self.auth.is_open() {
            let address = self.server.listen;
            return fail(
                "server.listen",
                format!(
                    "{address} is not loopback and no key is configured, so everyone could use \
                     the node; set auth.key_file (make one with `headwater token --new-key \
                     FILE`) or auth.issuers, or listen on 127.0.0.1"
                ),
            );
        }
        let counts = [
            ("server.threads", self.server.threads),
            ("server.body_limit_bytes", self.server.body_limit_bytes),
        ];
        for (key, value) in counts {
            if value == 0 {
                return fail(key, "is 0; it must be at least 1".to_owned());
            }
        }
        if self.server.http3 && self.server.tls.is_none() {
            let problem = "needs server.tls: there is no HTTP/3 without a certificate".to_owned();
            return fail("server.http3", problem);
        }
        self.check_auth()?;
        self.check_cluster()?;
        self.check_notices()?;
        self.check_embedding()?;
        self.check_retrieval()?;
        self.check_gateway()?;
        self.check_prompts()?;
        self.check_tools()?;
        self.check_audit()?;
        self.check_telemetry()
    }
}
