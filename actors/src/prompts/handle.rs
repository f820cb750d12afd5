//! The prompt service of this node: what requests ask, from memory, and what people change, in
//! the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use headwater_prompts::experiment::{Assignment, Request, bucket_of};
use headwater_prompts::scan::Scanner;
use headwater_prompts::{Bundle, Canary, Compiled, Problem, PromptDocument, is_prompt_name};
use headwater_secrets::SecretSource;
use headwater_storage::StoreError;
use headwater_storage::retry::{OperationId, Retry};
use moka::sync::Cache;
use tokio::sync::{Mutex, Semaphore};

use super::follow::{self, Name};
use super::keys::PromptKey;
use super::live::LiveMemory;
use super::metrics::PromptMetrics;
use super::nouns::{Chosen, PromptError, Ready, Resolved, Source, Wish};
use super::spread::Led;
use super::table::{Slot, Table};
use super::usage;
use super::watch::Observations;
use crate::embedding::Embedder;
use crate::gateway::GatewayHandle;
use crate::mutants::{Mutant, planted};
use crate::runtime::Runtime;

const HOUR_MS: u64 = 60 * 60 * 1000;

/// How closely the store is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromptSettings {
    /// How often the store is asked whether anything changed, in ms. A watch tells of changes
    /// sooner; this bounds what a lost watch can cost.
    pub refresh_ms: u64,
    /// From so long without a word from the store on, answers say that they are the last good
    /// ones, in ms.
    pub stale_ms: u64,
    /// Old versions that are kept for those who ask for one by its number.
    pub old_versions: u64,
    /// Whether events are written down for webhooks; on a node without any nobody takes them.
    pub tells: bool,
}

impl Default for PromptSettings {
    fn default() -> Self {
        PromptSettings { refresh_ms: 500, stale_ms: 5_000, old_versions: 2_000, tells: false }
    }
}

/// See the module; cheap to clone.
#[derive(Clone)]
pub struct PromptsHandle {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) runtime: Runtime,
    pub(super) retry: Retry,
    pub(super) settings: PromptSettings,
    pub(super) metrics: PromptMetrics,
    pub(super) scanner: Scanner,
    table: RwLock<Table>,
    /// By team and name: served where the store says nothing.
    fallbacks: BTreeMap<(String, String), Arc<Ready>>,
    old: Cache<(PromptKey, u64), Arc<Ready>>,
    /// When the table was last known to hold all there is, in ms of the monotonic clock, and one
    /// more; 0 when it never was.
    confirmed_ms: AtomicU64,
    /// What could not be read.
    stuck: std::sync::Mutex<BTreeSet<Name>>,
    /// One read of the store at a time.
    pub(super) reading: Mutex<()>,
    pub(super) observations: Observations,
    pub(super) live: LiveMemory,
    pub(super) led: Led,
    /// Unset, no prompt with secrets is served.
    pub(super) secrets: OnceLock<Arc<dyn SecretSource>>,
    /// Unset, there are no evals and no shadows.
    pub(super) gateway: OnceLock<GatewayHandle>,
    pub(super) embedder: OnceLock<Arc<dyn Embedder>>,
    pub(super) shadows: Semaphore,
}

impl Shared {
    pub(super) fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn table_mut(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stuck(&self) -> std::sync::MutexGuard<'_, BTreeSet<Name>> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table holds everything that was committed before this moment of the monotonic clock.
    pub(super) fn confirm(&self, at_ms: u64) {
        self.confirmed_ms.fetch_max(at_ms.saturating_add(1), Ordering::Release);
    }

    /// A new id for one write.
    pub(super) fn operation(&self) -> OperationId {
        let hour = u32::try_from(self.runtime.wall_ms() / HOUR_MS).unwrap_or(u32::MAX);
        OperationId::draw(hour, self.runtime.environment())
    }

    fn source(&self) -> Source {
        let confirmed = self.confirmed_ms.load(Ordering::Acquire);
        let age_ms = self.runtime.now_ms().saturating_sub(confirmed.saturating_sub(1));
        match confirmed > 0 && age_ms < self.settings.stale_ms {
            true => Source::Live,
            false => Source::LastGood,
        }
    }
}

/// A prompt that the node's own settings hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Fallback {
    pub team: String,
    pub name: String,
    pub document: PromptDocument,
}

impl PromptsHandle {
    /// Serves its fallbacks alone until [`PromptsHandle::follow`] runs.
    ///
    /// # Errors
    /// The first fallback that cannot be compiled.
    pub fn new(
        runtime: Runtime,
        retry: Retry,
        settings: PromptSettings,
        scanner: Scanner,
        fallbacks: Vec<Fallback>,
        metrics: PromptMetrics,
    ) -> Result<PromptsHandle, Problem> {
        let compile = |Fallback { team, name, document }| {
            if !is_prompt_name(&name) {
                let rule = headwater_prompts::NAME_RULE;
                return Err(Problem::new(format!("fallbacks.{name}"), format!("must be {rule}")));
            }
            let bundle = Bundle { document: document.clone(), partials: BTreeMap::new() };
            let compiled = Compiled::new(&bundle).map_err(|problem| {
                Problem::new(format!("fallbacks.{name}.{}", problem.field), problem.problem)
            })?;
            let sha256 = document.sha256();
            Ok(((team, name), Arc::new(Ready { number: 0, sha256, document, compiled })))
        };
        let fallbacks = fallbacks.into_iter().map(compile).collect::<Result<_, Problem>>()?;
        let shared = Shared {
            runtime,
            retry,
            settings,
            metrics,
            scanner,
            table: RwLock::default(),
            fallbacks,
            old: Cache::new(settings.old_versions),
            confirmed_ms: AtomicU64::new(0),
            stuck: std::sync::Mutex::default(),
            reading: Mutex::new(()),
            observations: Observations::default(),
            live: LiveMemory::default(),
            led: Led::default(),
            secrets: OnceLock::new(),
            gateway: OnceLock::new(),
            embedder: OnceLock::new(),
            shadows: usage::shadow_permits(),
        };
        Ok(PromptsHandle { shared: Arc::new(shared) })
    }

    pub(super) fn slot(&self, prompt: &PromptKey) -> Option<Arc<Slot>> {
        self.shared.table().slot(&prompt.team, &prompt.name).cloned()
    }

    /// The version that serves a wish; from memory, unless it is asked for an old version.
    ///
    /// # Errors
    /// [`PromptError::UnknownPrompt`], [`PromptError::NothingServed`], [`PromptError::Unknown`]
    /// for a version that is not there, and the store's for an old one.
    pub async fn resolve(&self, prompt: &PromptKey, wish: &Wish) -> Result<Resolved, PromptError> {
        let source = self.shared.source();
        let Some(slot) = self.slot(prompt) else {
            let PromptKey { team, name } = prompt.clone();
            let unknown = PromptError::UnknownPrompt { team, name };
            return match wish.version {
                Some(_) => Err(unknown),
                None => self.fall_back(prompt, || unknown),
            };
        };
        let moves = slot.head.moves;
        if let Some(number) = wish.version {
            let ready = match slot.ready.get(&number) {
                Some(ready) => Arc::clone(ready),
                None => self.old_version(prompt, number).await?,
            };
            return Ok(Resolved { ready, chosen: Chosen::Version, source, moves, since: 0 });
        }
        let served = choose(prompt, &slot, wish, self.shared.runtime.wall_ms());
        match served {
            Some((ready, chosen)) => {
                let since = match chosen {
                    Chosen::Production => slot.head.production_since,
                    Chosen::Canary => slot.head.canary_since,
                    _ => 0,
                };
                Ok(Resolved { ready, chosen, source, moves, since })
            }
            None => {
                let pointer = if wish.is_staging { "staging" } else { "production" };
                let name = prompt.name.clone();
                self.fall_back(prompt, || PromptError::NothingServed { name, pointer })
            }
        }
    }

    /// Prompts with a promotion in progress.
    pub(super) fn in_progress(&self) -> Vec<(PromptKey, Arc<Slot>)> {
        let table = self.shared.table();
        let all = table.all().filter(|(_, slot)| slot.promotion.is_some());
        all.map(|(prompt, slot)| (prompt, Arc::clone(slot))).collect()
    }

    fn fall_back(
        &self,
        prompt: &PromptKey,
        error: impl FnOnce() -> PromptError,
    ) -> Result<Resolved, PromptError> {
        let key = (prompt.team.clone(), prompt.name.clone());
        let ready = self.shared.fallbacks.get(&key).cloned().ok_or_else(error)?;
        self.shared.metrics.fell_back();
        Ok(Resolved {
            ready,
            chosen: Chosen::Fallback,
            source: Source::Fallback,
            moves: 0,
            since: 0,
        })
    }

    /// A version that no pointer names.
    pub(super) async fn old_version(
        &self,
        prompt: &PromptKey,
        number: u64,
    ) -> Result<Arc<Ready>, PromptError> {
        let key = (prompt.clone(), number);
        if let Some(ready) = self.shared.old.get(&key) {
            return Ok(ready);
        }
        let read = self.shared.retry.read(|transaction| {
            let prompt = prompt.clone();
            Box::pin(async move { follow::version(transaction, &prompt, number).await })
        });
        let ready = read.await?.ok_or_else(|| PromptError::Unknown {
            what: format!("version {number} of the prompt '{}'", prompt.name),
        })?;
        let ready = Arc::new(ready);
        self.shared.old.insert(key, Arc::clone(&ready));
        Ok(ready)
    }

    /// Has this node hear of everything that was committed before the call, so that what it
    /// resolves next is not older.
    ///
    /// # Errors
    /// The store's.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        if planted(Mutant::RefreshDoesNotRead) {
            return Ok(());
        }
        self.catch_up(false).await.map(|_| ())
    }
}

/// The version in the slot that serves a wish. Whatever is chosen is of one moment.
fn choose(
    prompt: &PromptKey,
    slot: &Slot,
    wish: &Wish,
    now_ms: u64,
) -> Option<(Arc<Ready>, Chosen)> {
    let ready = |number: u64| match planted(Mutant::AnyVersionOfSlot) {
        true => slot.ready.values().next().cloned(),
        false => slot.ready.get(&number).cloned(),
    };
    if wish.is_staging {
        return Some((ready(slot.head.staging?)?, Chosen::Staging));
    }
    for experiment in &slot.head.experiments {
        if let Assignment::Inside(variant) = experiment.assign(&request_of(wish), now_ms) {
            let (experiment, name) = (experiment.name.clone(), variant.name.clone());
            let chosen = Chosen::Variant { experiment, variant: name };
            return Some((ready(u64::from(variant.version))?, chosen));
        }
    }
    if let Some(canary) = slot.head.canary.filter(|canary| gets_canary(prompt, canary, wish)) {
        return Some((ready(canary.version)?, Chosen::Canary));
    }
    Some((ready(slot.head.production?)?, Chosen::Production))
}

/// What experiments look at.
fn request_of(wish: &Wish) -> Request {
    let user =
        if planted(Mutant::VariantsDrawnAnew) { Some(&wish.request) } else { wish.user.as_ref() };
    Request {
        user: user.cloned().unwrap_or_default(),
        request: wish.request.clone(),
        attributes: wish.attributes.clone(),
    }
}

/// The same user gets the same answer for as long as the canary is the same.
fn gets_canary(prompt: &PromptKey, canary: &Canary, wish: &Wish) -> bool {
    let unit = wish.user.as_deref().unwrap_or(&wish.request);
    let salt = format!("canary:{}/{}:{}", prompt.team, prompt.name, canary.version);
    // The bucket counts ten thousandths.
    u32::from(bucket_of(&salt, unit)) < canary.per_mille * 10
}
