//! One chat from its admission on: look for what is kept, reserve, and hand over to the tries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use headwater_gateway::{
    Alias, AnswerKey, Breaker, Choice, GatewayConfig, GatewayProblem, GatewaySettings, Target,
    input_tokens, order, prefix_key,
};
use headwater_models::chat::{ChatModel, ChatRequest, Protocol};
use headwater_storage::audit::Outcome as AuditOutcome;
use headwater_tenancy::Amounts;

use super::answer::{AnswerStream, Charge};
use super::audit::{AuditHandle, Trail};
use super::cache::{AnswerCache, Kept, Look, Replay};
use super::document::ConfigDocument;
use super::estimate::estimate;
use super::failures::{RETRY_AFTER_MS, name_of, outcome_of, surface};
use super::health::{Condemned, Healths};
use super::metrics::GatewayMetrics;
use super::near::{Near, NearQuestions};
use super::nouns::{Answer, Ask, Cached, GatewayError, Served, ServedModel};
use super::prompt::Observed;
use super::redaction::{Redacted, Redaction, RedactionReport};
use super::tries::Begin;
use crate::runtime::Runtime;
use crate::tenancy::{Share, TenancyHandle};

/// The request was let in during an outage, without its owner's word.
const QUOTA_UNPROVEN: &str = "quota_unproven";

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
    /// Unset, nothing is recorded.
    audit: OnceLock<AuditHandle>,
    pub(super) healths: Healths,
    pub(super) redaction: OnceLock<Redaction>,
    /// Unset, only equal questions are answered again.
    near: OnceLock<NearQuestions>,
}

/// What is served until another version takes its place.
pub(super) struct Live {
    version: u64,
    pub(super) config: GatewayConfig,
}

impl Shared {
    pub(super) fn live(&self) -> Arc<Live> {
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
        let (cache, audit) = (AnswerCache::new(settings.cache_bytes), OnceLock::new());
        let shared = Shared {
            runtime,
            tenancy,
            backends,
            live,
            taken,
            settings,
            metrics,
            cache,
            audit,
            healths,
            redaction: OnceLock::new(),
            near: OnceLock::new(),
        };
        Ok(GatewayHandle { shared: Arc::new(shared) })
    }

    /// From now on there is a record of every request. Set once; another one is passed over.
    pub fn record_to(&self, audit: AuditHandle) {
        let _ = self.shared.audit.set(audit);
    }

    /// Records a request that was refused before it came here.
    pub fn record_refusal(&self, ask: &Ask) {
        self.trail(ask).end(AuditOutcome::Blocked);
    }

    fn trail(&self, ask: &Ask) -> Trail {
        Trail::begin(self.shared.audit.get(), ask)
    }

    /// The same gateway; from now on it redacts as its configuration says. A second redaction is
    /// not taken.
    pub fn redacting(self, redaction: Redaction) -> GatewayHandle {
        let _ = self.shared.redaction.set(redaction);
        self
    }

    /// From now on it compares questions where an alias says so. Set once, as the others are.
    pub fn compare_by(&self, questions: NearQuestions) {
        let _ = self.shared.near.set(questions);
    }

    /// What a document says, if this node can serve it.
    ///
    /// # Errors
    /// The first problem.
    pub fn check(&self, document: &ConfigDocument) -> Result<GatewayConfig, GatewayProblem> {
        let config = document.config()?;
        let names = self.shared.backends.keys().cloned().collect();
        config.check(&names, &self.shared.taken)?;
        self.shared.near.get().map_or(Ok(()), |near| near.check(&config))?;
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

    /// Whether an alias of this name is served.
    pub fn has(&self, name: &str) -> bool {
        self.shared.live().config.alias(name).is_some()
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
    pub async fn chat(&self, mut ask: Ask) -> Result<Answer, GatewayError> {
        let live = self.shared.live();
        ask.request.traceparent = match self.shared.audit.get() {
            Some(audit) => audit.traceparent(&ask.id, ask.trace_parent),
            None => ask.trace_parent.map(|trace| trace.header()),
        };
        // With whoever may be the last to know of the request; dropped early its client left.
        let mut trail = Some(self.trail(&ask));
        let answer = match live.config.alias(&ask.request.model) {
            Some(alias) => {
                let answer = self.redacted(&live, alias, ask, &mut trail).await;
                answer.inspect_err(|error| self.shared.metrics.refused(&alias.name, name_of(error)))
            }
            None => {
                if let Some(prompt) = &ask.prompt {
                    prompt.hear(Observed::failed());
                }
                let known = live.config.aliases.iter().map(|alias| alias.name.clone()).collect();
                Err(GatewayError::UnknownModel { model: ask.request.model, known })
            }
        };
        if let (Err(error), Some(mut trail)) = (&answer, trail) {
            trail.tell(|record| record.config_version = Some(live.version));
            trail.end(outcome_of(error));
        }
        answer
    }

    /// What is kept, counted and reserved is what goes on; the answer is restored on its way out.
    async fn redacted(
        &self,
        live: &Live,
        alias: &Alias,
        ask: Ask,
        trail: &mut Option<Trail>,
    ) -> Result<Answer, GatewayError> {
        let policy = live.config.redaction.of(&ask.caller.tenant);
        let Some(policy) = policy else {
            trail.iter_mut().for_each(|trail| trail.keeps(&ask.caller, &ask.request));
            return self.answer(live, alias, ask, trail).await;
        };
        let Ask { request, .. } = ask;
        let Redacted { request, answer: redaction, report } =
            self.shared.redact(policy, request).await?;
        let ask = Ask { request, ..ask };
        for trail in trail.iter_mut() {
            trail.redacted(&report);
            // What nobody has looked through is not kept either; answers are seen before theirs.
            if !report.skipped && !policy.response {
                trail.keeps(&ask.caller, &ask.request);
            }
        }
        let mut answer = self.answer(live, alias, ask, trail).await?;
        answer.redaction = report;
        answer.chunks.redact(redaction);
        Ok(answer)
    }

    async fn answer(
        &self,
        live: &Live,
        alias: &Alias,
        ask: Ask,
        trail: &mut Option<Trail>,
    ) -> Result<Answer, GatewayError> {
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
                let cache = Cached::Hit { age_ms: kept.age_ms(began_ms) };
                return self.replay(live, alias, &ask, (kept, cache), trail).await;
            }
            Some(Look::Near(Near { kept, per_mille })) => {
                let cache = Cached::Near { age_ms: kept.age_ms(began_ms), per_mille };
                return self.replay(live, alias, &ask, (kept, cache), trail).await;
            }
            Some(_) if ask.cache.only => return Err(GatewayError::NotCached),
            Some(Look::Lead(lead)) => (Some(lead), Cached::Miss),
            Some(Look::Aside) => (None, Cached::Miss),
            None if ask.cache.only => return Err(GatewayError::NotCached),
            None => (None, Cached::Off),
        };
        let input = input_tokens(&ask.request);
        let share = self.reserve(alias, &ask, estimate(alias, &ask.request, input), trail).await?;
        let Ask { request, prompt, .. } = ask;
        // What a model says of secrets is not said to others.
        let lead = lead.filter(|_| prompt.as_ref().is_none_or(|one| one.secrets.is_empty()));
        let prompt = prompt.as_ref();
        let begin = Begin { version: live.version, alias, cache, input, began_ms, prompt };
        self.try_all(begin, &targets, request, share, lead, trail).await
    }

    /// An answer that was given before. Nobody works for it: it is one request of no tokens.
    async fn replay(
        &self,
        live: &Live,
        alias: &Alias,
        ask: &Ask,
        (kept, cache): (Arc<Kept>, Cached),
        trail: &mut Option<Trail>,
    ) -> Result<Answer, GatewayError> {
        let began_ms = self.shared.runtime.now_ms();
        let once = Amounts { requests: 1, ..Amounts::default() };
        let share = self.reserve(alias, ask, once, trail).await?;
        let (version, standing) = (live.version, share.standing());
        let served = Served { retries: 0, standing, version, cache, ..kept.served.clone() };
        self.shared.metrics.replayed(&alias.name);
        let shared = Arc::clone(&self.shared);
        let charge = Charge::of_replay(shared, share, &served, began_ms, trail.take());
        let chunks = AnswerStream::replay(Replay::new(kept), charge);
        Ok(Answer { served, redaction: RedactionReport::default(), chunks })
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
        let look = cache.look(runtime, key, ask.cache, alias.cache_ttl_ms).await;
        match (look, &alias.semantic, self.shared.near.get()) {
            (Look::Lead(lead), Some(semantic), Some(near)) => {
                let question = near.question(runtime, alias, semantic, first, ask).await;
                let Some(question) = question else { return Some(Look::Lead(lead)) };
                let times = (alias.cache_ttl_ms, runtime.now_ms());
                Some(lead.near(near, question, semantic.least_per_mille, ask.cache, times))
            }
            (look, ..) => Some(look),
        }
    }

    async fn reserve(
        &self,
        alias: &Alias,
        ask: &Ask,
        estimate: Amounts,
        trail: &mut Option<Trail>,
    ) -> Result<Share, GatewayError> {
        let share = self.shared.tenancy.reserve(ask.caller.payer(), &alias.name, estimate).await;
        let share = share.map_err(|refusal| GatewayError::OverQuota { refusal, estimate })?;
        if let Some(trail) = trail.as_mut().filter(|_| share.is_unverified()) {
            trail.flag(QUOTA_UNPROVEN);
        }
        Ok(share)
    }
}
