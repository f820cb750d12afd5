//! Sandboxes of this node: which engine may run what, and a pool of slots for each engine, image
//! and tier.

mod guard;
mod metrics;
mod pool;
mod sessions;
mod slot;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The port's nouns that whoever asks for sandboxes meets.
pub use headwater_sandbox::{
    Abilities, Channel, Ended, Engine, FileEntry, GuestFile, GuestPath, Image, ImageName,
    Isolation, Usage, WayOut,
};
use headwater_sandbox::{EngineError, Execution, Limits, Listener, Outcome};
use headwater_tools::call::Refusal;
use headwater_tools::pool::PoolSettings;
use headwater_tools::{Egress, Room, Tier};
use serde_json::{Value, json};

pub use metrics::SandboxMetrics;
pub use sessions::SandboxSession;

use super::run::Said;
use crate::runtime::Runtime;
use pool::{PoolHandle, PoolKey};

/// Bytes of a program's standard error that its caller is told when it failed.
const ERROR_BYTES: usize = 4_000;

/// A way out that stays open until this is dropped.
pub trait OpenWay: Send + Sync {
    fn way_out(&self) -> WayOut;
}

/// Opens a way out for a team's tool; the text says why there is none.
pub type Ways =
    Arc<dyn Fn(&str, &str, &[Egress]) -> Result<Box<dyn OpenWay>, String> + Send + Sync>;

/// Finds an image by its name; the text says why there is none.
pub type Images = Arc<dyn Fn(&ImageName) -> Result<Image, String> + Send + Sync>;

/// What this node runs code with.
#[derive(Clone)]
pub struct SandboxParts {
    /// Engines whose probe went well, in the order in which they are taken.
    pub engines: Vec<Arc<dyn Engine>>,
    pub images: Images,
    /// None: no tool gets a way out.
    pub ways: Option<Ways>,
    /// The image of calls that name none.
    pub image: ImageName,
    pub small: PoolSettings,
    pub large: PoolSettings,
    /// Sessions of one team at a time.
    pub sessions_max: usize,
    /// A session that is not used ends after so long, in ms.
    pub session_idle_ms: u64,
}

/// See the module; cheap to clone.
#[derive(Clone)]
pub struct SandboxHandle {
    shared: Arc<Shared>,
}

struct Shared {
    runtime: Runtime,
    parts: SandboxParts,
    metrics: SandboxMetrics,
    pools: Mutex<BTreeMap<PoolKey, PoolHandle>>,
    sessions: sessions::Sessions,
}

/// Code to run, and what must hold of where it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct SandboxAsk {
    pub team: String,
    pub image: Option<ImageName>,
    pub room: Room,
    pub source: String,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub input: Vec<u8>,
    pub files: Vec<GuestFile>,
    pub collect: Vec<GuestPath>,
    /// Longest time from here to the end, in ms; the tier's own limit holds beside it.
    pub within_ms: u64,
}

/// Code that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct SandboxDone {
    pub outcome: Outcome,
    pub engine: &'static str,
    pub isolation: Isolation,
}

/// A tool's code.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CodeAsk {
    pub(super) image: Option<ImageName>,
    pub(super) source: String,
    pub(super) input: Vec<u8>,
    /// The standard output is JSON, and it is the answer.
    pub(super) is_json: bool,
    pub(super) egress: Vec<Egress>,
}

/// What code used, for the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CodeUse {
    pub(super) ended: String,
    pub(super) memory_peak_bytes: u64,
    pub(super) cpu_us: u64,
}

/// A tool's code that has ended.
pub(super) struct CodeDone {
    outcome: Outcome,
    output: Vec<u8>,
    error: Vec<u8>,
    is_json: bool,
    pub(super) used: CodeUse,
}

/// The word for how code ended, such as `exit 0`.
#[must_use]
pub fn ended_word(ended: Ended) -> String {
    match ended {
        Ended::Exit(status) => format!("exit {status}"),
        Ended::Signal(signal) => format!("signal {signal}"),
        Ended::WallTime => "wall_time".to_owned(),
        Ended::CpuTime => "cpu_time".to_owned(),
        Ended::Memory => "memory".to_owned(),
        Ended::Output => "output".to_owned(),
        Ended::Violation => "violation".to_owned(),
    }
}

/// What the caller should know of a limit that ended its code.
#[must_use]
pub fn ended_text(ended: Ended, limits: &Limits) -> Option<String> {
    let mib = |bytes: u64| bytes >> 20;
    Some(match ended {
        Ended::Exit(_) => return None,
        Ended::Signal(signal) => format!("the program died of signal {signal}"),
        Ended::WallTime => format!("the program ran longer than {} ms", limits.wall_ms),
        Ended::CpuTime => {
            format!("the program used more than {} ms of processor time", limits.cpu_ms)
        }
        Ended::Memory => format!(
            "the program used more than {} MiB of memory; use less, or the tier large",
            mib(limits.memory_bytes)
        ),
        Ended::Output => format!(
            "the program wrote more than {} bytes; write less, or into a file",
            limits.output_bytes
        ),
        Ended::Violation => "the program asked for what no guest may do".to_owned(),
    })
}

impl SandboxHandle {
    pub fn new(runtime: Runtime, parts: SandboxParts, metrics: SandboxMetrics) -> SandboxHandle {
        let shared = Shared {
            runtime,
            parts,
            metrics,
            pools: Mutex::default(),
            sessions: sessions::Sessions::default(),
        };
        SandboxHandle { shared: Arc::new(shared) }
    }

    /// What this node can run code with, the first choice first.
    pub fn engines(&self) -> Vec<Abilities> {
        self.shared.parts.engines.iter().map(|engine| engine.abilities()).collect()
    }

    /// Starts the slots that are held warm for the default image, so that the first call finds one.
    pub fn warm(&self) {
        for engine in &self.shared.parts.engines {
            let name = &self.shared.parts.image;
            match self.image(Some(name)) {
                Ok(image) => drop(self.pool(engine, image, (Tier::Small, false), None)),
                Err(why) => tracing::warn!(image = %name, why, "no slots are held warm"),
            }
        }
    }

    /// The first engine that isolates at least so well. A weaker one is never taken.
    fn engine(
        &self,
        isolation: Isolation,
        can: impl Fn(&Abilities) -> bool,
    ) -> Result<&Arc<dyn Engine>, String> {
        let engines = &self.shared.parts.engines;
        let fits = |engine: &&Arc<dyn Engine>| {
            let abilities = engine.abilities();
            abilities.isolation >= isolation && can(&abilities)
        };
        engines.iter().find(fits).ok_or_else(|| {
            let have: Vec<String> = self
                .engines()
                .iter()
                .map(|one| format!("{} ({})", one.name, one.isolation.word()))
                .collect();
            let have = if have.is_empty() { "none".to_owned() } else { have.join(", ") };
            format!("it needs an engine of the class {}; this node has {have}", isolation.word())
        })
    }

    fn image(&self, name: Option<&ImageName>) -> Result<Image, String> {
        let parts = &self.shared.parts;
        (parts.images)(name.unwrap_or(&parts.image))
    }

    fn pool(
        &self,
        engine: &Arc<dyn Engine>,
        image: Image,
        (tier, is_session): (Tier, bool),
        way: Option<(&str, &str, &[Egress])>,
    ) -> PoolHandle {
        let Shared { runtime, parts, metrics, pools, .. } = &*self.shared;
        let key = PoolKey {
            engine: engine.abilities().name,
            image: image.name.clone(),
            digest: image.digest.clone(),
            tier,
            is_session,
            way: way.map(|(team, tool, _)| (team.to_owned(), tool.to_owned())),
        };
        let mut pools = pools.lock().unwrap_or_else(PoisonError::into_inner);
        let start = |key: &PoolKey| {
            let settings = match tier {
                Tier::Small => parts.small.clone(),
                Tier::Large => parts.large.clone(),
            };
            let ways = parts.ways.clone().zip(way.map(|(_, _, egress)| egress.to_vec()));
            pool::start(runtime, key.clone(), settings, Arc::clone(engine), image, ways, metrics)
        };
        let found = pools.get(&key).filter(|pool| pool.is_alive()).cloned();
        found.unwrap_or_else(|| {
            let pool = start(&key);
            pools.insert(key, pool.clone());
            pool
        })
    }

    /// Runs code once, in a slot that holds nothing of any other call.
    ///
    /// # Errors
    /// [`Refusal`]: nothing ran, unless it says that it may have.
    pub async fn run(
        &self,
        ask: SandboxAsk,
        listener: &mut dyn Listener,
    ) -> Result<SandboxDone, Refusal> {
        self.run_as("sandbox", ask, &[], listener).await
    }

    async fn run_as(
        &self,
        tool: &str,
        ask: SandboxAsk,
        egress: &[Egress],
        listener: &mut dyn Listener,
    ) -> Result<SandboxDone, Refusal> {
        let refused = |why: String| Refusal::NoSandbox { tool: tool.to_owned(), why };
        let needs_way = !egress.is_empty();
        if needs_way && self.shared.parts.ways.is_none() {
            let why = "no tool gets a way out on this node; set sandbox.egress in its settings";
            return Err(refused(why.to_owned()));
        }
        let can = |abilities: &Abilities| !needs_way || abilities.egress;
        let engine = self.engine(ask.room.isolation, can).map_err(refused)?;
        let abilities = engine.abilities();
        let image = self.image(ask.image.as_ref()).map_err(refused)?;
        let way = needs_way.then_some((ask.team.as_str(), tool, egress));
        let pool = self.pool(engine, image, (ask.room.tier, false), way);
        let began_ms = self.shared.runtime.now_ms();
        let mut guard = pool.get(tool, &ask.team, ask.within_ms).await?;
        let waited_ms = self.shared.runtime.now_ms().saturating_sub(began_ms);
        let limits = limits_within(ask.room.tier, ask.within_ms.saturating_sub(waited_ms));
        let execution = Execution {
            source: ask.source,
            arguments: ask.arguments,
            environment: ask.environment,
            input: ask.input,
            files: ask.files,
            collect: ask.collect,
            limits,
        };
        let run = guard.run(&execution, listener).await;
        let outcome = run.map_err(|error| of_engine(tool, error))?;
        self.shared.metrics.ended(abilities.name, &outcome);
        Ok(SandboxDone { outcome, engine: abilities.name, isolation: abilities.isolation })
    }

    pub(super) async fn run_tool(
        &self,
        tool: &str,
        team: &str,
        room: Room,
        ask: CodeAsk,
        within_ms: u64,
    ) -> Result<CodeDone, Refusal> {
        let CodeAsk { image, source, input, is_json, egress } = ask;
        let asked = SandboxAsk {
            team: team.to_owned(),
            image,
            room,
            source,
            arguments: Vec::new(),
            environment: Vec::new(),
            input,
            files: Vec::new(),
            collect: Vec::new(),
            within_ms,
        };
        let (mut output, mut error) = (Vec::new(), Vec::new());
        let mut heard = |channel: Channel, bytes: &[u8]| match channel {
            Channel::Output => output.extend_from_slice(bytes),
            Channel::Error => error.extend_from_slice(bytes),
        };
        let done = self.run_as(tool, asked, &egress, &mut heard).await?;
        let used = CodeUse {
            ended: ended_word(done.outcome.ended),
            memory_peak_bytes: done.outcome.memory_peak_bytes,
            cpu_us: done.outcome.cpu_us,
        };
        Ok(CodeDone { outcome: done.outcome, output, error, is_json, used })
    }
}

impl CodeDone {
    /// What the tool says: its output where it ended well, else what went wrong.
    pub(super) fn said(self, tool: &str, tier: Tier) -> Result<Said, Refusal> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let failed = ended_text(self.outcome.ended, &tier.limits());
        let is_error = self.outcome.ended != Ended::Exit(0);
        if !self.is_json {
            let content = json!({
                "ended": self.used.ended,
                "output": text(&self.output),
                "error": text(&self.error),
                "reason": failed,
            });
            return Ok(Said { content, is_error });
        }
        if is_error {
            let from = self.error.len().saturating_sub(ERROR_BYTES);
            let content = json!({
                "ended": self.used.ended,
                "error": text(&self.error[from..]),
                "reason": failed,
            });
            return Ok(Said { content, is_error });
        }
        let content: Value = serde_json::from_slice(&self.output).map_err(|error| {
            let problem = format!("it is no JSON ({error}); print one JSON value and nothing else");
            Refusal::OutputInvalid { tool: tool.to_owned(), problem }
        })?;
        Ok(Said { content, is_error })
    }
}

fn limits_within(tier: Tier, within_ms: u64) -> Limits {
    let limits = tier.limits();
    let wall_ms = limits.wall_ms.min(within_ms.max(1));
    Limits { wall_ms, cpu_ms: limits.cpu_ms.min(wall_ms), ..limits }
}

/// What the caller is told of an engine's failure.
fn of_engine(tool: &str, error: EngineError) -> Refusal {
    let tool = tool.to_owned();
    match error {
        EngineError::Unable { .. } | EngineError::Unsupported { .. } => {
            Refusal::NoSandbox { tool, why: error.to_string() }
        }
        EngineError::Limit(error) => {
            Refusal::InvalidRequest { field: error.field.to_owned(), problem: error.to_string() }
        }
        EngineError::File { path, why } => {
            Refusal::InvalidRequest { field: format!("files.{path}"), problem: why }
        }
        EngineError::Busy { why } => Refusal::Unreachable { tool, why, retry_after_ms: 1_000 },
        // Code in a sandbox changes nothing outside but through its way out.
        EngineError::Lost { .. } | EngineError::Dirty { .. } => {
            Refusal::BackendFailed { tool, why: error.to_string() }
        }
    }
}
