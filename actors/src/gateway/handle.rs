//! One chat from its admission to the first part of its answer: reserve, choose, try, try again.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_gateway::{
    Alias, Attempts, Breaker, Failure, GatewayConfig, GatewayProblem, GatewaySettings, Meter,
    Price, Step, Target, input_tokens, order,
};
use headwater_models::chat::{ChatError, ChatModel, ChatRequest, ChatStream, Chunk, Protocol};
use headwater_tenancy::Amounts;

use super::answer::{AnswerStream, Charge};
use super::metrics::GatewayMetrics;
use super::nouns::{Answer, Ask, GatewayError, Served, ServedModel};
use crate::runtime::Runtime;
use crate::tenancy::{Share, TenancyHandle};

/// What a client is told when no target says for how long it is busy, in ms.
const RETRY_AFTER_MS: u64 = 1_000;

/// The code of a refusal by a target that lacks something which others may have.
const UNSUPPORTED: &str = "unsupported_parameter";

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
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) runtime: Runtime,
    tenancy: TenancyHandle,
    backends: BTreeMap<String, Backend>,
    config: GatewayConfig,
    settings: GatewaySettings,
    pub(super) metrics: GatewayMetrics,
    /// By backend and model.
    breakers: Mutex<BTreeMap<(String, String), Breaker>>,
}

impl Shared {
    fn breakers(&self) -> MutexGuard<'_, BTreeMap<(String, String), Breaker>> {
        self.breakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does this with a target's breaker.
    pub(super) fn breaker<T>(
        &self,
        target: &Target,
        act: impl FnOnce(&mut Breaker, u64) -> T,
    ) -> T {
        let now_ms = self.runtime.now_ms();
        let mut breakers = self.breakers();
        let key = (target.backend.clone(), target.model.clone());
        let breaker = breakers.entry(key).or_insert_with(|| Breaker::new(self.settings.breaker));
        let was_closed = breaker.is_closed();
        let done = act(breaker, now_ms);
        if was_closed != breaker.is_closed() {
            self.metrics.breaker(&target.backend, &target.model, breaker.is_closed());
        }
        done
    }
}

impl GatewayHandle {
    /// # Errors
    /// When the configuration leads nowhere; see [`GatewayConfig::check`].
    pub fn new(
        runtime: Runtime,
        tenancy: TenancyHandle,
        backends: Vec<Backend>,
        config: GatewayConfig,
        settings: GatewaySettings,
        metrics: GatewayMetrics,
    ) -> Result<GatewayHandle, GatewayProblem> {
        let names: BTreeSet<String> = backends.iter().map(|one| one.name.clone()).collect();
        config.check(&names)?;
        let backends = backends.into_iter().map(|one| (one.name.clone(), one)).collect();
        let breakers = Mutex::default();
        let shared = Shared { runtime, tenancy, backends, config, settings, metrics, breakers };
        Ok(GatewayHandle { shared: Arc::new(shared) })
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
        let aliases = self.shared.config.aliases.iter();
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
        let Shared { runtime, tenancy, config, settings, metrics, .. } = &*self.shared;
        let began_ms = runtime.now_ms();
        let Ask { tenant, key, mut request } = ask;
        let Some(alias) = config.alias(&request.model) else {
            let known = config.aliases.iter().map(|alias| alias.name.clone()).collect();
            return Err(GatewayError::UnknownModel { model: request.model, known });
        };
        let input = input_tokens(&request);
        let estimate = estimate(alias, &request, input);
        let share = tenancy.reserve(&tenant, &alias.name, estimate).await;
        let share = share.map_err(|refusal| {
            metrics.refused(&alias.name, "over_quota");
            GatewayError::OverQuota { refusal, estimate }
        })?;
        let order = order(alias, &key);
        let targets: Vec<&Target> = order.iter().filter_map(|place| alias.target(*place)).collect();
        let mut attempts = Attempts::new(settings.retry, targets.len(), began_ms);
        let (mut step, mut last) = (attempts.first(), None);
        let mut share = Some(share);
        while let Step::Try { target: place, after_ms } = step {
            if after_ms > 0 {
                runtime.pause(after_ms).await;
            }
            let Some(target) = targets.get(place) else { break };
            let draw = runtime.environment().draw();
            if !self.shared.breaker(target, Breaker::admit) {
                let wait_ms = self.shared.breaker(target, |one, now_ms| one.wait_ms(now_ms));
                step = attempts.skipped(place, wait_ms, runtime.now_ms());
                continue;
            }
            request.model.clone_from(&target.model);
            let call = Call { alias, target, request: &request, input, began_ms };
            let error = match self.attempt(&call, &mut share).await {
                Ok((first, rest, charge)) => {
                    let retries = attempts.tries();
                    let served = self.served(&call, retries);
                    metrics.begun(&served, runtime.now_ms().saturating_sub(began_ms));
                    return Ok(Answer { served, chunks: AnswerStream::new(first, rest, charge) });
                }
                Err(error) => error,
            };
            metrics.failed(&target.backend, &target.model, kind_of(&error));
            // Its words are the operator's: they may name accounts and limits.
            tracing::debug!(backend = target.backend, model = target.model, %error, "a try failed");
            step = attempts.failed(place, failure_of(&error), runtime.now_ms(), draw);
            last = Some(worse(last, error));
        }
        let error = surface(last, || self.soonest_ms(&targets));
        metrics.refused(&alias.name, name_of(&error));
        Err(error)
    }

    /// One try that its breaker let pass: asks a target and waits for the first part. A client
    /// that leaves meanwhile is charged; a target that fails before it said anything costs nothing.
    async fn attempt(
        &self,
        call: &Call<'_>,
        share: &mut Option<Share>,
    ) -> Result<(Chunk, ChatStream, Charge), ChatError> {
        let Call { target, request, .. } = call;
        let mut pass = Pass { shared: &self.shared, target, reported: false };
        let Some(backend) = self.shared.backends.get(&target.backend) else {
            return Err(ChatError::Misconfigured { status: 404 });
        };
        let Some(own) = share.take() else { return Err(ChatError::Misconfigured { status: 500 }) };
        // From here on the target may be at work, so a client that leaves pays.
        let meter = Meter::new(call.input);
        let mut charge = Charge::new(Arc::clone(&self.shared), own, meter, call);
        let opened = backend.model.chat(request).await;
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(error) => {
                *share = charge.take_back();
                return Err(pass.failed(error));
            }
        };
        match poll_fn(|context| stream.as_mut().poll_next(context)).await {
            Some(Ok(first)) => {
                pass.reported = true;
                charge.see(&first);
                Ok((first, stream, charge))
            }
            Some(Err(error)) => {
                *share = charge.take_back();
                Err(pass.failed(error))
            }
            None => {
                *share = charge.take_back();
                let reason = "the answer was empty".to_owned();
                Err(pass.failed(ChatError::Cut { reason }))
            }
        }
    }

    fn served(&self, call: &Call<'_>, retries: u32) -> Served {
        let Target { backend, model, .. } = call.target;
        let protocol = self.shared.backends.get(backend).and_then(|one| one.protocol);
        let asked = call.alias.name.clone();
        Served { asked, backend: backend.clone(), model: model.clone(), protocol, retries }
    }

    /// When the first of these may be asked again, in ms from now.
    fn soonest_ms(&self, targets: &[&Target]) -> u64 {
        let waits = targets
            .iter()
            .map(|target| self.shared.breaker(target, |one, now_ms| one.wait_ms(now_ms)));
        waits.min().unwrap_or(0).max(RETRY_AFTER_MS)
    }
}

/// What one try knows.
pub(super) struct Call<'a> {
    pub(super) alias: &'a Alias,
    pub(super) target: &'a Target,
    /// Under the target's own name of the model.
    pub(super) request: &'a ChatRequest,
    /// Estimated tokens of the input.
    pub(super) input: u64,
    pub(super) began_ms: u64,
}

/// A request that a breaker let pass. Dropped without a report its client left.
struct Pass<'a> {
    shared: &'a Shared,
    target: &'a Target,
    reported: bool,
}

impl Pass<'_> {
    fn failed(&mut self, error: ChatError) -> ChatError {
        match error {
            // They say nothing about how the target is.
            ChatError::Refused { .. } | ChatError::Limited { .. } => {}
            _ => {
                self.reported = true;
                self.shared.breaker(self.target, |one, now_ms| one.report(now_ms, false));
            }
        }
        error
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if !self.reported {
            self.shared.breaker(self.target, Breaker::give_back);
        }
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

/// Whether this target has no equal of something that the request asks for: others may have it.
fn is_unsupported(error: &ChatError) -> bool {
    matches!(error, ChatError::Refused { code: Some(code), .. } if code == UNSUPPORTED)
}

fn failure_of(error: &ChatError) -> Failure {
    match error {
        ChatError::Refused { .. } if is_unsupported(error) => Failure::Misconfigured,
        ChatError::Refused { .. } => Failure::Refused,
        ChatError::Misconfigured { .. } => Failure::Misconfigured,
        ChatError::Limited { retry_after_ms, .. } => {
            Failure::Limited { retry_after_ms: *retry_after_ms }
        }
        ChatError::Unavailable { .. } | ChatError::TimedOut { .. } | ChatError::Cut { .. } => {
            Failure::Broken
        }
    }
}

fn kind_of(error: &ChatError) -> &'static str {
    match error {
        ChatError::Refused { .. } => "refused",
        ChatError::Misconfigured { .. } => "misconfigured",
        ChatError::Limited { .. } => "limited",
        ChatError::Unavailable { .. } => "unavailable",
        ChatError::TimedOut { .. } => "timed_out",
        ChatError::Cut { .. } => "cut",
    }
}

/// Which of two failures the client is told: what it can do something about comes first, and a
/// busy model before a broken one.
fn worse(before: Option<ChatError>, now: ChatError) -> ChatError {
    let rank = |error: &ChatError| match error {
        ChatError::Refused { .. } if is_unsupported(error) => 4,
        ChatError::Refused { .. } => 0,
        ChatError::Limited { .. } => 1,
        ChatError::TimedOut { .. } => 2,
        ChatError::Unavailable { .. } | ChatError::Cut { .. } => 3,
        ChatError::Misconfigured { .. } => 5,
    };
    let wait = |error: &ChatError| match error {
        ChatError::Limited { retry_after_ms, .. } => retry_after_ms.unwrap_or(RETRY_AFTER_MS),
        _ => 0,
    };
    let rank = |error: &ChatError| (rank(error), wait(error));
    match before {
        Some(before) if rank(&before) < rank(&now) => before,
        _ => now,
    }
}

fn surface(last: Option<ChatError>, soonest_ms: impl FnOnce() -> u64) -> GatewayError {
    match last {
        Some(ChatError::Refused { status, code, message }) => {
            GatewayError::Refused { status, code, message }
        }
        Some(ChatError::Limited { retry_after_ms, .. }) => {
            let retry_after_ms = retry_after_ms.unwrap_or(RETRY_AFTER_MS);
            GatewayError::Limited { retry_after_ms }
        }
        Some(ChatError::TimedOut { after_ms }) => GatewayError::TimedOut { after_ms },
        other => {
            let reason = match other {
                None => "each has failed often and is left alone for a while",
                Some(ChatError::Misconfigured { .. }) => {
                    "none is set up rightly; tell the operator"
                }
                Some(_) => "each has failed",
            };
            GatewayError::Unavailable { retry_after_ms: soonest_ms(), reason }
        }
    }
}

fn name_of(error: &GatewayError) -> &'static str {
    match error {
        GatewayError::UnknownModel { .. } => "unknown_model",
        GatewayError::OverQuota { .. } => "over_quota",
        GatewayError::Refused { .. } => "refused",
        GatewayError::Limited { .. } => "limited",
        GatewayError::Unavailable { .. } => "unavailable",
        GatewayError::TimedOut { .. } => "timed_out",
        GatewayError::Cut { .. } => "cut",
    }
}
