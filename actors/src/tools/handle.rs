//! The tool service of this node: what calls ask, from memory, and the parts that a call passes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use headwater_backends::Backend;
use headwater_gateway::{Breaker, BreakerSettings};
use headwater_storage::retry::{Applied, BodyFuture, OperationId, Retry};
use headwater_storage::tuple::{self, Element};
use headwater_storage::{KeyRange, RangeRead, StoreError, Transaction};
use headwater_tenancy::Limit;
use headwater_tools::call::CallResult;
use headwater_tools::idempotency;
use headwater_tools::steps::LoopSettings;
use headwater_tools::{Definition, Grant, Registry, SearchIndex};
use moka::sync::Cache;

use super::meanings::Meanings;
use super::metrics::ToolsMetrics;
use super::sandbox::SandboxHandle;
use crate::embedding::Embedder;
use crate::gateway::{AuditHandle, GatewayHandle};
use crate::identity::IdentityHandle;
use crate::runtime::Runtime;
use crate::tenancy::TenancyHandle;

const HOUR_MS: u64 = 60 * 60 * 1000;
/// What has ended is forgotten so many at a time.
const ENDED_ROWS: usize = 200;
/// Breakers of so many versions are remembered.
const BREAKERS: usize = 10_000;

/// How the tool service waits and keeps.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolsSettings {
    pub idempotency: idempotency::Settings,
    pub loops: LoopSettings,
    /// Most answers of read-only tools that are kept, in bytes.
    pub cache_bytes: u64,
    /// Calls that run at once on this node; more are told to wait.
    pub calls_max: usize,
    /// Of one team.
    pub team_calls_max: usize,
    /// Whether events are written down for webhooks.
    pub tells: bool,
    pub agents: AgentsSettings,
}

/// How runs of agents are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentsSettings {
    /// For how long a node that runs one is believed to, in ms; another node takes it over then.
    pub lease_ms: u64,
    /// Runs that go on at once on this node; more are told to wait.
    pub runs_max: usize,
    /// Of one team.
    pub team_runs_max: usize,
}

impl Default for AgentsSettings {
    fn default() -> Self {
        AgentsSettings { lease_ms: 15_000, runs_max: 1_000, team_runs_max: 200 }
    }
}

impl Default for ToolsSettings {
    fn default() -> Self {
        ToolsSettings {
            idempotency: idempotency::Settings::default(),
            loops: LoopSettings { polling_repeats: 10, ..LoopSettings::default() },
            cache_bytes: 64 << 20,
            calls_max: 1_000,
            team_calls_max: 200,
            tells: false,
            agents: AgentsSettings::default(),
        }
    }
}

/// Finds what answers calls of a tool; the text says why nothing does.
pub type Backends = Arc<dyn Fn(&Definition) -> Result<Arc<dyn Backend>, String> + Send + Sync>;

/// An answer of a read-only tool.
#[derive(Debug, Clone)]
pub(super) struct KeptAnswer {
    pub(super) result: CallResult,
    pub(super) kept_ms: u64,
    pub(super) bytes: u32,
}

/// What this node serves: all tools and grants of one moment.
pub(super) struct Served {
    pub(super) registry: Registry,
    pub(super) grants: Vec<Grant>,
    pub(super) index: SearchIndex,
    pub(super) revision: u64,
}

/// See the module; cheap to clone.
#[derive(Clone)]
pub struct ToolsHandle {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) runtime: Runtime,
    pub(super) retry: Retry,
    pub(super) tenancy: TenancyHandle,
    pub(super) settings: ToolsSettings,
    pub(super) metrics: ToolsMetrics,
    /// This process, as rows name it.
    pub(super) holder: String,
    served: RwLock<Arc<Served>>,
    /// Whether the store was read at least once.
    is_known: AtomicBool,
    pub(super) backends: Backends,
    pub(super) cache: Cache<(String, String), Arc<KeptAnswer>>,
    breakers: Mutex<BTreeMap<String, Breaker>>,
    pub(super) running: Mutex<BTreeMap<String, usize>>,
    /// Runs of agents, by their teams.
    pub(super) runs: Mutex<BTreeMap<String, usize>>,
    /// Limits of tools' own quotas that stand in the books, by the books' name.
    pub(super) quotas: Mutex<BTreeMap<String, Vec<Limit>>>,
    /// Unset, tools that run code are refused.
    pub(super) sandbox: OnceLock<SandboxHandle>,
    /// Unset, nothing is recorded.
    pub(super) audit: OnceLock<AuditHandle>,
    /// Unset, a run goes on whatever becomes of the key that it was begun with.
    pub(super) identity: OnceLock<IdentityHandle>,
    /// Unset, there are no agents.
    pub(super) gateway: OnceLock<GatewayHandle>,
    /// Unset, tools are searched by their words alone.
    pub(super) meanings: OnceLock<Meanings>,
}

/// A place among the runs of agents that go on at once on this node.
pub(super) struct Running {
    pub(super) shared: Arc<Shared>,
    pub(super) team: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut runs = self.shared.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = runs.get_mut(&self.team) {
            *count -= 1;
            if *count == 0 {
                runs.remove(&self.team);
            }
        }
    }
}

/// A row of something that a team has.
pub(super) struct TeamRow {
    pub(super) team: String,
    pub(super) id: String,
    pub(super) row: Vec<u8>,
}

/// Something of a team that has ended.
pub(super) struct Ended {
    pub(super) ended_ms: u64,
    pub(super) team: String,
    pub(super) id: String,
}

impl Shared {
    pub(super) fn served(&self) -> Arc<Served> {
        Arc::clone(&self.served.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether what is served is what the store has, or had at some time.
    pub(super) fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Acquire)
    }

    pub(super) fn serve(&self, served: Served) {
        let count = served.registry.defaults(self.runtime.wall_ms()).count();
        let mut held = self.served.write().unwrap_or_else(PoisonError::into_inner);
        // Of two reads at once the later one may have begun first.
        if served.revision >= held.revision {
            *held = Arc::new(served);
            self.is_known.store(true, Ordering::Release);
            self.metrics.tools(count);
        }
    }

    /// A new id for one write.
    pub(super) fn operation(&self) -> OperationId {
        let hour = u32::try_from(self.runtime.wall_ms() / HOUR_MS).unwrap_or(u32::MAX);
        OperationId::draw(hour, self.runtime.environment())
    }

    /// Runs a transaction that writes, once whatever goes wrong: a late try that commits after others
    /// have changed what it wrote undoes nothing.
    ///
    /// # Errors
    /// As [`Retry::write`].
    pub(super) async fn write_once<T: Send>(
        &self,
        body: impl for<'t> FnMut(&'t mut dyn Transaction) -> BodyFuture<'t, T> + Send,
    ) -> Result<T, StoreError> {
        match self.retry.write(self.operation(), body).await? {
            Applied::Now(done) => Ok(done),
            // No id is drawn twice.
            Applied::Earlier => Err(StoreError::CommitUnknown),
        }
    }

    /// The next rows of a range whose keys end with a team and an id, and leaves the range behind
    /// them. None at its end.
    ///
    /// # Errors
    /// The store's; when a row's key cannot be read.
    pub(super) async fn next_rows(
        &self,
        range: &mut KeyRange,
        limit: usize,
    ) -> Result<Option<Vec<TeamRow>>, StoreError> {
        let read = self.retry.read(|transaction| {
            let read = RangeRead::all(range.clone()).limit(limit).snapshot();
            Box::pin(async move { transaction.range(read).await })
        });
        let page = read.await?;
        let Some((last, _)) = page.last() else { return Ok(None) };
        range.begin = KeyRange::of_key(last).end;
        let mut rows = Vec::with_capacity(page.len());
        for (key, row) in page {
            let mut elements = tuple::unpack(&key)?;
            if let (Some(Element::Text(id)), Some(Element::Text(team))) =
                (elements.pop(), elements.pop())
            {
                rows.push(TeamRow { team, id, row });
            }
        }
        Ok(Some(rows))
    }

    /// The first of a range whose keys end with when something ended, its team and its id.
    ///
    /// # Errors
    /// The store's; when a key cannot be read.
    pub(super) async fn ended(&self, range: KeyRange) -> Result<Vec<Ended>, StoreError> {
        let read = self.retry.read(|transaction| {
            let read = RangeRead::all(range.clone()).limit(ENDED_ROWS).snapshot();
            Box::pin(async move { transaction.range(read).await })
        });
        let mut all = Vec::new();
        for (key, _) in read.await? {
            let mut elements = tuple::unpack(&key)?;
            if let (
                Some(Element::Text(id)),
                Some(Element::Text(team)),
                Some(Element::Integer(ended)),
            ) = (elements.pop(), elements.pop(), elements.pop())
            {
                all.push(Ended { ended_ms: u64::try_from(ended).unwrap_or_default(), team, id });
            }
        }
        Ok(all)
    }

    /// Drawn anew for each use.
    pub(super) fn draw_id(&self, kind: &str) -> String {
        format!("{kind}-{:032x}", self.runtime.draw())
    }

    /// Does this with a version's breaker.
    pub(super) fn breaker<T>(
        &self,
        definition: &Definition,
        version: &str,
        act: impl FnOnce(&mut Breaker, u64) -> T,
    ) -> T {
        let now_ms = self.runtime.now_ms();
        let mut all = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= BREAKERS && !all.contains_key(version) {
            all.retain(|_, breaker| !breaker.is_closed());
        }
        let breaker = all.entry(version.to_owned()).or_insert_with(|| {
            Breaker::new(BreakerSettings {
                failures: definition.breaker.failures,
                open_ms: definition.breaker.open_ms,
                ..BreakerSettings::default()
            })
        });
        act(breaker, now_ms)
    }
}

impl ToolsHandle {
    /// Knows no tool until [`ToolsHandle::refresh`] or [`ToolsHandle::follow`] has read them.
    pub fn new(
        runtime: Runtime,
        retry: Retry,
        tenancy: TenancyHandle,
        settings: ToolsSettings,
        backends: Backends,
        metrics: ToolsMetrics,
    ) -> ToolsHandle {
        let weigh = |_: &(String, String), one: &Arc<KeptAnswer>| one.bytes;
        let cache = Cache::builder().weigher(weigh).max_capacity(settings.cache_bytes).build();
        let holder = format!("{:032x}", runtime.draw());
        let served = Served {
            registry: Registry::default(),
            grants: Vec::new(),
            index: SearchIndex::default(),
            revision: 0,
        };
        let shared = Shared {
            runtime,
            retry,
            tenancy,
            settings,
            metrics,
            holder,
            served: RwLock::new(Arc::new(served)),
            is_known: AtomicBool::new(false),
            backends,
            cache,
            breakers: Mutex::default(),
            running: Mutex::default(),
            runs: Mutex::default(),
            quotas: Mutex::default(),
            sandbox: OnceLock::new(),
            identity: OnceLock::new(),
            audit: OnceLock::new(),
            gateway: OnceLock::new(),
            meanings: OnceLock::new(),
        };
        ToolsHandle { shared: Arc::new(shared) }
    }

    /// From now on code runs in these sandboxes. Set once; another one is passed over.
    pub fn run_code_in(&self, sandbox: SandboxHandle) {
        let _ = self.shared.sandbox.set(sandbox);
    }

    /// From now on there is a record of every call. Set once.
    pub fn record_to(&self, audit: AuditHandle) {
        let _ = self.shared.audit.set(audit);
    }

    /// From now on a run of an agent ends when its key does. Set once.
    pub fn end_with_keys_of(&self, identity: IdentityHandle) {
        let _ = self.shared.identity.set(identity);
    }

    /// From now on agents ask their models through this gateway. Set once.
    pub fn ask_through(&self, gateway: GatewayHandle) {
        let _ = self.shared.gateway.set(gateway);
    }

    /// From now on tools are searched by their meaning too, as this encoder of the embedder has it.
    /// Set once.
    pub fn compare_by(&self, embedder: Arc<dyn Embedder>, encoder: &str) {
        let _ = self.shared.meanings.set(Meanings::new(embedder, encoder.to_owned()));
    }

    /// Since 1970, in ms.
    pub fn now_ms(&self) -> u64 {
        self.shared.runtime.wall_ms()
    }

    pub fn sandbox(&self) -> Option<&SandboxHandle> {
        self.shared.sandbox.get()
    }

    /// Reads all tools and grants; until that went well once, calls are told to come again.
    ///
    /// # Errors
    /// The store's.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        self.catch_up().await
    }
}
