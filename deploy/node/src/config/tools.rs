//! The settings of tools and of the sandboxes that their code runs in.

use std::path::PathBuf;

use headwater_actors::tools::sandbox::ImageName;
use headwater_actors::tools::{AgentsSettings, PoolSettings};
use headwater_backends_sql::{SqlSettings, Tls};
use headwater_secrets::SecretName;
use serde::Deserialize;

use super::{Nonsense, Settings};

/// A node renews a run's lease several times within it.
const LEASE_MS: std::ops::RangeInclusive<u64> = 1_000..=600_000;

/// An MCP server whose tools may be published here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct McpServerSection {
    /// As definitions name it, in `backend.mcp.server`.
    pub name: String,
    /// Streamable HTTP.
    pub url: String,
    /// The name of a secret of the calling team, sent as `Authorization: Bearer`.
    pub secret: Option<String>,
}

/// A PostgreSQL database that tools may read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseSection {
    /// As definitions name it, in `backend.database`.
    pub name: String,
    /// A name or an address, without a port.
    pub host: String,
    pub port: Option<u16>,
    /// As the server knows it.
    pub database: String,
    /// A role that may only `SELECT`, and no superuser.
    pub user: String,
    /// The name of a secret of the calling team, the role's password.
    pub secret: String,
    /// Whether the server's certificate is verified, or there is no TLS at all.
    #[serde(default)]
    pub tls: DatabaseTls,
    /// A PEM file of authorities that vouch for the server, beside those of Mozilla's list.
    pub ca_file: Option<PathBuf>,
    /// Connections of this node at once.
    pub connections_max: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseTls {
    #[default]
    Verify,
    Off,
}

impl DatabaseSection {
    pub(crate) fn settings(&self) -> SqlSettings {
        let own = SqlSettings::new(&self.name, &self.host, &self.database, &self.user);
        SqlSettings {
            port: self.port.unwrap_or(own.port),
            tls: match self.tls {
                DatabaseTls::Verify => Tls::Verify { ca_file: self.ca_file.clone() },
                DatabaseTls::Off => Tls::Off,
            },
            connections_max: self.connections_max.unwrap_or(own.connections_max),
            ..own
        }
    }
}

/// How many runs of agents go on, and for how long a silent node holds one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentsSection {
    /// Runs that go on at once on this node, and those of one team among them.
    pub runs_max: usize,
    pub team_runs_max: usize,
    /// Another node takes the runs of one over that has been silent for so long, in ms.
    pub lease_ms: u64,
}

impl AgentsSection {
    pub(crate) fn settings(self) -> AgentsSettings {
        let AgentsSection { runs_max, team_runs_max, lease_ms } = self;
        AgentsSettings { lease_ms, runs_max, team_runs_max }
    }
}

impl Default for AgentsSection {
    fn default() -> Self {
        let AgentsSettings { lease_ms, runs_max, team_runs_max } = AgentsSettings::default();
        AgentsSection { runs_max, team_runs_max, lease_ms }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ToolsSection {
    pub mcp_servers: Vec<McpServerSection>,
    pub databases: Vec<DatabaseSection>,
    /// Hosts, as `name:port`, that tools over HTTP may reach at private addresses. All others must
    /// be public.
    pub internal_hosts: Vec<String>,
    /// The encoder that compares tools with a question; the first of `embedding.models` without it.
    pub search_encoder: Option<String>,
    /// Most answers of read-only tools that are kept, in bytes.
    pub cache_bytes: u64,
    /// Calls that run at once on this node, and those of one team among them.
    pub calls_max: usize,
    pub team_calls_max: usize,
    pub agents: AgentsSection,
}

impl Default for ToolsSection {
    fn default() -> Self {
        let own = headwater_actors::tools::ToolsSettings::default();
        ToolsSection {
            mcp_servers: Vec::new(),
            databases: Vec::new(),
            internal_hosts: Vec::new(),
            search_encoder: None,
            cache_bytes: own.cache_bytes,
            calls_max: own.calls_max,
            team_calls_max: own.team_calls_max,
            agents: AgentsSection::default(),
        }
    }
}

/// An engine that runs code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxEngine {
    /// Namespaces, seccomp and landlock: for code of people who are trusted.
    Jail,
    /// A kernel in user space.
    Gvisor,
    /// A virtual machine for each slot, where KVM works.
    Firecracker,
    /// CPython in WebAssembly, in this process: no native packages but its own, no threads, no
    /// network. Only in a build with the feature `wasm`.
    Wasm,
}

/// Why `wasm` cannot be had in a build without it.
pub(crate) const NO_WASM: &str = "the engine `wasm` is not in this binary; build one with \
     `cargo build --release -p headwater-node --features wasm`, or name another engine";

/// How many slots a pool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolSection {
    /// Slots that wait for calls.
    pub warm_min: u32,
    pub slots_max: u32,
    pub queue_max: u32,
    pub team_queue_max: u32,
    pub team_running_max: u32,
    /// A slot beyond the warm ones that nobody needs is closed after so long, in ms.
    pub idle_ms: u64,
}

impl PoolSection {
    fn of(pool: &PoolSettings) -> PoolSection {
        PoolSection {
            warm_min: pool.warm_min,
            slots_max: pool.slots_max,
            queue_max: pool.queue_max,
            team_queue_max: pool.tenant_queue_max,
            team_running_max: pool.tenant_running_max,
            idle_ms: pool.idle_ms,
        }
    }

    pub(crate) fn settings(&self) -> PoolSettings {
        PoolSettings {
            warm_min: self.warm_min,
            slots_max: self.slots_max,
            queue_max: self.queue_max,
            tenant_queue_max: self.team_queue_max,
            tenant_running_max: self.team_running_max,
            idle_ms: self.idle_ms,
            ..PoolSettings::default()
        }
    }
}

impl Default for PoolSection {
    fn default() -> Self {
        PoolSection::of(&PoolSettings::default())
    }
}

/// Where Firecracker's parts are, and how its machines are held.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FirecrackerSection {
    /// The programs, of one release.
    pub firecracker: PathBuf,
    pub jailer: PathBuf,
    /// The kernel of guests, such as a `vmlinux` built with a configuration of that release.
    pub kernel: PathBuf,
    /// The first user and group id of machines; each has one of the 2^16 behind it.
    pub first_id: u32,
    /// The cgroup below which machines get theirs, relative to each hierarchy's root.
    pub cgroup_parent: String,
    /// A network namespace for machines; they have no network device in any case.
    pub netns: Option<PathBuf>,
    /// The longest that the first machine of a size may take to boot, in ms.
    pub boot_ms: u64,
    /// The longest that a slot may take to be restored, in ms.
    pub start_ms: u64,
}

impl Default for FirecrackerSection {
    fn default() -> Self {
        let own = headwater_sandbox_firecracker::Settings::new("");
        FirecrackerSection {
            firecracker: own.firecracker,
            jailer: own.jailer,
            kernel: own.kernel,
            first_id: own.first_id,
            cgroup_parent: own.cgroup_parent,
            netns: own.netns,
            boot_ms: own.boot_ms,
            start_ms: own.start_ms,
        }
    }
}

/// Without engines the node runs no code.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxSection {
    /// In the order in which they are taken; each is probed when the node starts, and one that
    /// does not hold a guest is left out.
    pub engines: Vec<SandboxEngine>,
    /// Images, as `headwater sandbox image` makes them; `images` in the data folder by default.
    pub images: Option<PathBuf>,
    /// The image of calls that name none: `python`, or that of `wasm` where there is no other engine.
    pub image: Option<String>,
    /// The image that the engine `wasm` runs where a call's own is made for native code, as
    /// `headwater sandbox image make --wheel` makes it; without it such calls are refused there.
    pub wasm_image: Option<String>,
    /// The program `runsc`.
    pub runsc: PathBuf,
    pub firecracker: FirecrackerSection,
    /// Whether tools whose definitions name hosts get a way out to them.
    pub egress: bool,
    pub small: PoolSection,
    pub large: PoolSection,
    /// Sessions of one team at a time.
    pub sessions_max: usize,
    /// A session that nobody uses ends after so long, in ms.
    pub session_idle_ms: u64,
}

impl Default for SandboxSection {
    fn default() -> Self {
        let large = PoolSettings { warm_min: 0, slots_max: 2, ..PoolSettings::default() };
        SandboxSection {
            engines: Vec::new(),
            images: None,
            image: None,
            wasm_image: None,
            runsc: PathBuf::from("/usr/bin/runsc"),
            firecracker: FirecrackerSection::default(),
            egress: false,
            small: PoolSection::default(),
            large: PoolSection::of(&large),
            sessions_max: 20,
            session_idle_ms: 30 * 60 * 1_000,
        }
    }
}

impl SandboxSection {
    pub(crate) fn default_image(&self) -> &str {
        let of_wasm = match self.engines.as_slice() {
            [SandboxEngine::Wasm] => self.wasm_image.as_deref(),
            _ => None,
        };
        self.image.as_deref().or(of_wasm).unwrap_or("python")
    }
}

impl Settings {
    /// Checks what types cannot say of tools and sandboxes.
    pub(super) fn check_tools(&self) -> Result<(), Nonsense> {
        let fail = |key: &[&str], problem: String| {
            let key = key.iter().map(ToString::to_string).collect();
            Err(Nonsense { key, problem })
        };
        for (place, server) in self.tools.mcp_servers.iter().enumerate() {
            let place = place.to_string();
            let twice = self.tools.mcp_servers.iter().filter(|one| one.name == server.name);
            if server.name.is_empty() || twice.count() > 1 {
                let problem = "must be a name that no other server has".to_owned();
                return fail(&["tools", "mcp_servers", &place, "name"], problem);
            }
            if !server.url.starts_with("http://") && !server.url.starts_with("https://") {
                let problem = "must begin with http:// or https://".to_owned();
                return fail(&["tools", "mcp_servers", &place, "url"], problem);
            }
        }
        if !LEASE_MS.contains(&self.tools.agents.lease_ms) {
            let problem = "must be from 1000 to 600000, in ms".to_owned();
            return fail(&["tools", "agents", "lease_ms"], problem);
        }
        let encoders = self.encoder_names();
        if let Some(encoder) = &self.tools.search_encoder
            && !encoders.is_empty()
            && !encoders.contains(encoder)
        {
            let problem = "must be a name or an alias in embedding.models".to_owned();
            return fail(&["tools", "search_encoder"], problem);
        }
        self.check_databases()?;
        let own = &self.sandbox;
        let images = [("image", own.image.as_ref()), ("wasm_image", own.wasm_image.as_ref())];
        for (key, name) in images {
            if let Some(Err(error)) = name.map(ImageName::new) {
                return fail(&["sandbox", key], error.to_string());
            }
        }
        if own.engines.contains(&SandboxEngine::Wasm) && !cfg!(feature = "wasm") {
            return fail(&["sandbox", "engines"], NO_WASM.to_owned());
        }
        for (name, pool) in [("small", &self.sandbox.small), ("large", &self.sandbox.large)] {
            if let Err(problem) = pool.settings().check() {
                return fail(&["sandbox", name, &problem.field], problem.problem);
            }
        }
        Ok(())
    }

    /// What tools are searched by, beside their words.
    pub(crate) fn search_encoder(&self) -> Option<&str> {
        let first = self.embedding.models.first().map(|model| model.name.as_str());
        self.tools.search_encoder.as_deref().or(first)
    }

    fn check_databases(&self) -> Result<(), Nonsense> {
        let databases = &self.tools.databases;
        for (place, database) in databases.iter().enumerate() {
            let fail = |field: &str, problem: String| {
                let key = ["tools", "databases", &place.to_string(), field];
                Err(Nonsense { key: key.map(str::to_owned).to_vec(), problem })
            };
            let twice = databases.iter().filter(|one| one.name == database.name);
            if database.name.is_empty() || twice.count() > 1 {
                return fail("name", "must be a name that no other database has".to_owned());
            }
            if let Err(error) = SecretName::new(&database.secret) {
                return fail("secret", error.to_string());
            }
            if database.tls == DatabaseTls::Off && database.ca_file.is_some() {
                return fail("ca_file", "is for tls = \"verify\"; leave it out".to_owned());
            }
            if let Err(error) = database.settings().check() {
                return fail(&error.field, error.why);
            }
        }
        Ok(())
    }
}
