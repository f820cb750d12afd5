//! The settings of tools and of the sandboxes that their code runs in.

use std::path::PathBuf;

use headwater_actors::tools::PoolSettings;
use headwater_actors::tools::sandbox::ImageName;
use serde::Deserialize;

use super::{Nonsense, Settings};

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

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ToolsSection {
    pub mcp_servers: Vec<McpServerSection>,
    /// Hosts, as `name:port`, that tools over HTTP may reach at private addresses. All others must
    /// be public.
    pub internal_hosts: Vec<String>,
    /// Most answers of read-only tools that are kept, in bytes.
    pub cache_bytes: u64,
    /// Calls that run at once on this node, and those of one team among them.
    pub calls_max: usize,
    pub team_calls_max: usize,
}

impl Default for ToolsSection {
    fn default() -> Self {
        let own = headwater_actors::tools::ToolsSettings::default();
        ToolsSection {
            mcp_servers: Vec::new(),
            internal_hosts: Vec::new(),
            cache_bytes: own.cache_bytes,
            calls_max: own.calls_max,
            team_calls_max: own.team_calls_max,
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

/// Without engines the node runs no code.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxSection {
    /// In the order in which they are taken; each is probed when the node starts, and one that
    /// does not hold a guest is left out.
    pub engines: Vec<SandboxEngine>,
    /// Images, as `headwater sandbox image` makes them; `images` in the data folder by default.
    pub images: Option<PathBuf>,
    /// The image of calls that name none.
    pub image: String,
    /// The image that the engine `wasm` runs where a call's own is made for native code, as
    /// `headwater sandbox image make --wheel` makes it; without it such calls are refused there.
    pub wasm_image: Option<String>,
    /// The program `runsc`.
    pub runsc: PathBuf,
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
            image: "python".to_owned(),
            wasm_image: None,
            runsc: PathBuf::from("/usr/bin/runsc"),
            egress: false,
            small: PoolSection::default(),
            large: PoolSection::of(&large),
            sessions_max: 20,
            session_idle_ms: 30 * 60 * 1_000,
        }
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
        let own = &self.sandbox;
        let images = [("image", Some(&own.image)), ("wasm_image", own.wasm_image.as_ref())];
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
}
