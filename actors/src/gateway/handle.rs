//! One chat from its admission on: look for what is kept, reserve, and hand over to the tries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use headwater_gateway::{
    Alias, AnswerKey, Breaker, Choice, GatewayConfig, GatewayProblem, GatewaySettings, Price,
    Target, input_tokens, order, prefix_key,
};
use headwater_models::chat::{ChatModel, ChatRequest, Protocol};
use headwater_tenancy::Amounts;

use super::answer::{AnswerStream, Charge};
use super::cache::{AnswerCache, Look, Replay};
use super::document::ConfigDocument;
use super::failures::{RETRY_AFTER_MS, name_of, surface};
use super::health::{Condemned, Healths};
use super::metrics::GatewayMetrics;
use super::nouns::{Answer, Ask, Cached, GatewayError, Served, ServedModel};
use super::tries::Begin;
use crate::runtime::Runtime;
use crate::tenancy::{Share, TenancyHandle};

/// Whoever answers chats.
#[derive(Clone)]
pub struct Backend {
    pub name: String,
    /// What it speaks; none for a model on this node.
    pub protocol: Option<Protocol>,
    pub model: Arc<dyn ChatModel>,
}

/// The gateway of this node; cheap to clone.
#[derive(Clone)]
pub struct GatewayHandle {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) runtime: Runtime,
    tenancy: TenancyHandle,
    pub(super) backends: BTreeMap<String, Backend>,
    live: RwLock<Arc<Live>>,
    /// Names that no alias may have.
    taken: BTreeSet<String>,
    pub(super) settings: GatewaySettings,
    pub(super) metrics: GatewayMetrics,
    cache: Option<Arc<AnswerCache>>,
    pub(super) healths: Healths,
}

/// What is served until another version takes its place.
struct Live {
    version: u64,
    config: GatewayConfig,
}

impl Shared {
    fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Does this with a target's breaker.
    pub(super) fn breaker<T>(
        &self,
        target: &Target,
        act: impl FnOnce(&mut Breaker, u64) -> T,
    ) -> T {
        let now_ms = self.runtime.now_ms();
        let (done, was, is) = self.healths.breaker(target, |breaker| act(breaker, now_ms));
        if was != is {
            self.metrics.breaker(&target.backend, &target.model, is);
        }
        done
    }
}

impl GatewayHandle {
    /// `config` is version 0. No alias may have one of the names `taken`.
    ///
    /// # Errors
    /// When the configuration leads nowhere; see [`GatewayConfig::check`].
    pub fn new(
        runtime: Runtime,
        tenancy: TenancyHandle,
        backends: Vec<Backend>,
        config: GatewayConfig,
        taken: BTreeSet<String>,
        settings: GatewaySettings,
        metrics: GatewayMetrics,
    ) -> Result<GatewayHandle, GatewayProblem> {
        let names: BTreeSet<String> = backends.iter().map(|one| one.name.clone()).collect();
        config.check(&names, &taken)?;
        let backends = backends.into_iter().map(|one| (one.name.clone(), one)).collect();
        let healths = Healths::new(settings.breaker, &config);
        let live = RwLock::new(Arc::new(Live { version: 0, config }));
        let cache = AnswerCache::new(settings.cache_bytes);
        let shared =
            Shared { runtime, tenancy, backends, live, taken, settings, metrics, cache, healths };
        Ok(GatewayHandle { shared: Arc::new(shared) })
    }

    /// What a document says, if this node can serve it.
    ///
    /// # Errors
    /// The first problem.
    pub fn check(&self, document: &ConfigDocument) -> Result<GatewayConfig, GatewayProblem> {
        let config = document.config()?;
        let names = self.shared.backends.keys().cloned().collect();
        config.check(&names, &self.shared.taken)?;
        Ok(config)
    }

    /// Serves this from now on, unless a later version is served already; requests that have
    /// begun end as they began.
    pub(super) fn serve(&self, version: u64, config: GatewayConfig) {
        let mut live = self.shared.live.write().unwrap_or_else(PoisonError::into_inner);
        if live.version >= version {
            return;
        }
        self.shared.healths.serve(&config);
        self.shared.metrics.version(version);
        *live = Arc::new(Live { version, config });
    }

    /// Notes a version that cannot be served here.
    pub(super) fn refuse_version(&self) {
        self.shared.metrics.version_refused();
    }

    pub(super) fn canary_taken_back(&self) {
        self.shared.metrics.canary_taken_back();
    }

    /// Canaries that are to be taken back.
    pub(super) fn condemned(&self) -> Vec<Condemned> {
        self.shared.healths.condemned()
    }

    /// Of what is served; 0 for the node's own settings.
    pub fn version(&self) -> u64 {
        self.shared.live().version
    }

    /// The names that clients may ask for.
    pub fn models(&self) -> Vec<ServedModel> {
        let backends = |alias: &Alias| {
            let mut names: Vec<String> = Vec::new();
            for target in alias.all() {
                if !names.contains(&target.backend) {
                    names.push(target.backend.clone());
                }
            }
            names
        };
        let live = self.shared.live();
        let aliases = live.config.aliases.iter();
        aliases.map(|one| ServedModel { name: one.name.clone(), backends: backends(one) }).collect()
    }

    /// An upper estimate of the input's tokens.
    pub fn estimate_input(&self, request: &ChatRequest) -> u64 {
        input_tokens(request)
    }

    /// Begins an answer: returns with its first part. What the answer may use is reserved before
    /// anybody is asked, and what it has used is charged when it ends, breaks off, or is dropped.
    ///
    /// # Errors
    /// See [`GatewayError`]; nothing is charged then.
    pub async fn chat(&self, ask: Ask) -> Result<Answer, GatewayError> {
        let live = self.shared.live();
        let Some(alias) = live.config.alias(&ask.request.model) else {
            let known = live.config.aliases.iter().map(|alias| alias.name.clone()).collect();
            return Err(GatewayError::UnknownModel { model: ask.request.model, known });
        };
        let answer = self.answer(&live, alias, ask).await;
        answer.inspect_err(|error| self.shared.metrics.refused(&alias.name, name_of(error)))
    }

    async fn answer(&self, live: &Live, alias: &Alias, ask: Ask) -> Result<Answer, GatewayError> {
        let began_ms = self.shared.runtime.now_ms();
        let order = order(alias, &self.key(alias, &ask), |target| {
            self.shared.healths.standing(target, began_ms)
        });
        let targets: Vec<&Target> = order.iter().filter_map(|place| alias.target(*place)).collect();
        let Some(first) = targets.first() else {
            return Err(surface(None, || RETRY_AFTER_MS));
        };
        let look = self.look(alias, first, &ask).await;
        let (lead, cache) = match look {
            Some(Look::Hit(kept)) => {
                // Nobody works for it: it is one request of no tokens.
                let once = Amounts { requests: 1, ..Amounts::default() };
                let share = self.reserve(alias, &ask, once).await?;
                let cache = Cached::Hit { age_ms: kept.age_ms(began_ms) };
                let served =
                    Served { retries: 0, version: live.version, cache, ..kept.served.clone() };
                self.shared.metrics.replayed(&alias.name);
                let charge = Charge::of_replay(Arc::clone(&self.shared), share, &served, began_ms);
                let chunks = AnswerStream::replay(Replay::new(kept), charge);
                return Ok(Answer { served, chunks });
            }
            Some(_) if ask.cache.only => return Err(GatewayError::NotCached),
            Some(Look::Lead(lead)) => (Some(lead), Cached::Miss),
            Some(Look::Aside) => (None, Cached::Miss),
            None if ask.cache.only => return Err(GatewayError::NotCached),
            None => (None, Cached::Off),
        };
        let input = input_tokens(&ask.request);
        let share = self.reserve(alias, &ask, estimate(alias, &ask.request, input)).await?;
        let Ask { request, .. } = ask;
        let begin = Begin { version: live.version, alias, cache, input, began_ms };
        self.try_all(begin, &targets, request, share, lead).await
    }

    /// What the choice of a target hangs on.
    fn key(&self, alias: &Alias, ask: &Ask) -> String {
        match alias.choice {
            Choice::Prefix => prefix_key(&ask.request),
            _ if alias.sticky => ask.key.clone(),
            _ => self.shared.runtime.environment().draw().to_string(),
        }
    }

    /// None when no answer to this may be one that was given before.
    async fn look(&self, alias: &Alias, first: &Target, ask: &Ask) -> Option<Look> {
        let Shared { runtime, cache, .. } = &*self.shared;
        let cache = cache.as_ref().filter(|_| alias.cache_ttl_ms > 0)?;
        if !ask.cache.covers(&ask.request) {
            return None;
        }
        let key = AnswerKey::of(&ask.caller.tenant, &alias.name, first, &ask.request);
        Some(cache.look(runtime, key, ask.cache, alias.cache_ttl_ms).await)
    }

    async fn reserve(
        &self,
        alias: &Alias,
        ask: &Ask,
        estimate: Amounts,
    ) -> Result<Share, GatewayError> {
        let share = self.shared.tenancy.reserve(&ask.caller.tenant, &alias.name, estimate).await;
        share.map_err(|refusal| GatewayError::OverQuota { refusal, estimate })
    }
}

/// What a request may use at most, at the dearest target.
fn estimate(alias: &Alias, request: &ChatRequest, input: u64) -> Amounts {
    let each = request.max_tokens.unwrap_or(alias.output_tokens);
    let output = each.saturating_mul(u64::from(request.choices));
    let bound = |price: &Price| price.bound(input, output);
    let micro_usd = alias.all().map(|target| bound(&target.price)).max().unwrap_or(0);
    Amounts { requests: 1, tokens: input.saturating_add(output), micro_usd }
}
