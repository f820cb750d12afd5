//! A prompt on its way into a chat: its secrets, whoever watches its answer, and a shadow beside
//! it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_core::Stream;
use headwater_prompts::{Rendered, RenderedMessage, Role, Stage, ToolSchema};
use headwater_secrets::{SecretError, SecretName, SecretSource, SecretValue};
use serde_json::{Map, Value};

use super::handle::PromptsHandle;
use super::keys::{Mark, Of, PromptKey};
use super::live::Live;
use super::nouns::{Chosen, PromptError, Ready, Resolved};
use crate::gateway::{
    Ask, CacheWish, Caller, ChatRequest, GatewayError, GatewayHandle, Message, Observed,
    OutputFormat, Part, PromptUse, Role as Speaker, Tool, Watcher,
};

/// Shadows and judgings of live answers of one node that are under way at a time; more are not
/// begun.
const SHADOWS: usize = 8;
/// What records call the route of an eval, and of its judge.
pub(super) const EVAL_ROUTE: &str = "/v1/prompts/eval";
/// What records call a shadow's route.
const SHADOW_ROUTE: &str = "/v1/prompts/shadow";

/// What a shadow is made of.
#[derive(Debug, Clone)]
pub struct ShadowAsk {
    /// As production is asked.
    pub request: ChatRequest,
    /// Messages of the request that the prompt made, from its first on.
    pub own_messages: usize,
    pub variables: Map<String, Value>,
    pub caller: Caller,
}

/// A candidate that is asked, too.
struct Shadow {
    prompt: PromptKey,
    promotion: u64,
    production: u64,
    candidate: Arc<Ready>,
}

impl PromptsHandle {
    /// From now on secrets come from here. Set once, as the others are.
    pub fn take_secrets_from(&self, source: Arc<dyn SecretSource>) {
        let _ = self.shared.secrets.set(source);
    }

    /// What the gateway has to know of a resolved prompt; `ask` is called for a shadow, and for an
    /// answer that will be judged.
    ///
    /// # Errors
    /// [`PromptError::Secret`] when a secret of it cannot be had.
    pub async fn use_of(
        &self,
        prompt: &PromptKey,
        resolved: &Resolved,
        ask: impl FnOnce() -> ShadowAsk,
    ) -> Result<PromptUse, PromptError> {
        let ready = &resolved.ready;
        let label = format!("{}@{}", prompt.name, ready.number);
        let mut used = PromptUse { label, ..PromptUse::default() };
        let put = self.put_secrets(prompt, ready, &mut used).await;
        put.inspect_err(|_| self.note_failure(prompt, resolved))?;
        let (shadow, is_judged) =
            (self.shadow_of(prompt, resolved), self.is_judged(prompt, resolved));
        let asked = (shadow.is_some() || is_judged).then(ask);
        let live = asked.as_ref().filter(|_| is_judged).map(|ask| Live {
            prompt: prompt.clone(),
            version: ready.number,
            since: resolved.since,
            question: question_of(&ask.request),
        });
        let shadow = shadow.zip(asked);
        if let Some(mark) = mark_of(prompt, resolved) {
            let (this, wants_text) = (self.clone(), shadow.is_some() || live.is_some());
            let after = Mutex::new((shadow, live));
            let hear = move |observed: Observed| {
                this.observe(&mark, &observed, None);
                let mut after = after.lock().unwrap_or_else(PoisonError::into_inner);
                let (shadow, live) = (after.0.take(), after.1.take());
                let runtime = &this.shared.runtime;
                if let Some(live) = live {
                    let (this, observed) = (this.clone(), observed.clone());
                    runtime.spawn(async move { this.judge_live(live, observed).await });
                }
                if let Some((shadow, ask)) = shadow {
                    let this = this.clone();
                    runtime.spawn(async move { this.cast(shadow, ask, observed).await });
                }
            };
            used.watcher = Some(Watcher { wants_text, hear: Arc::new(hear) });
        }
        Ok(used)
    }

    /// A request for the version that came to nothing before any model was asked.
    pub fn note_failure(&self, prompt: &PromptKey, resolved: &Resolved) {
        if let Some(mark) = mark_of(prompt, resolved) {
            self.observe(&mark, &Observed::failed(), None);
        }
    }

    /// Reads the secrets that a version names, as its team may.
    pub(super) async fn put_secrets(
        &self,
        prompt: &PromptKey,
        ready: &Ready,
        used: &mut PromptUse,
    ) -> Result<(), PromptError> {
        for name in ready.compiled.secrets() {
            let value = self.secret(&prompt.team, name).await?;
            used.secrets.insert(name.clone(), value);
        }
        Ok(())
    }

    pub(super) async fn secret(&self, team: &str, name: &str) -> Result<SecretValue, PromptError> {
        let name =
            SecretName::new(name).map_err(|error| SecretError::Misconfigured(error.to_string()))?;
        match self.shared.secrets.get() {
            Some(source) => Ok(source.get(team, &name).await?),
            None => Err(SecretError::denied(team, &name).into()),
        }
    }

    /// The shadow of this request, when one is drawn.
    fn shadow_of(&self, prompt: &PromptKey, resolved: &Resolved) -> Option<Shadow> {
        let slot = self.slot(prompt)?;
        let promotion = slot.promotion.as_ref().filter(|one| one.stage == Stage::Shadow)?;
        let gate = promotion.gates.shadow.as_ref()?;
        let is_production = matches!(resolved.chosen, Chosen::Production);
        let draw = self.shared.runtime.environment().draw() % 1_000;
        let candidate = slot.ready.get(&promotion.version)?;
        (is_production && draw < u64::from(gate.per_mille)).then(|| Shadow {
            prompt: prompt.clone(),
            promotion: promotion.id,
            production: resolved.ready.number,
            candidate: Arc::clone(candidate),
        })
    }

    /// Asks the candidate what production was asked, and judges both. Its answer goes nowhere.
    async fn cast(&self, shadow: Shadow, ask: ShadowAsk, production: Observed) {
        let Shadow { prompt, promotion, candidate, .. } = shadow;
        let Some(gateway) = self.shared.gateway.get().cloned() else { return };
        let Ok(_permit) = self.shared.shadows.try_acquire() else { return };
        let gate = self.slot(&prompt).and_then(|slot| {
            let current = slot.promotion.as_ref().filter(|one| one.id == promotion)?;
            (current.stage == Stage::Shadow).then(|| current.gates.shadow.clone())?
        });
        let Some(gate) = gate else { return };
        let mark = |version, of| Mark { prompt: prompt.clone(), version, of };
        let own = mark(candidate.number, Of::Shadow(promotion));
        let beside = mark(shadow.production, Of::Shadow(promotion));
        let Some(request) = request_of(&candidate, &ask) else {
            // What production renders and the candidate does not is a failure of the candidate.
            self.observe(&beside, &production, None);
            return self.observe(&own, &Observed::failed(), None);
        };
        let label = format!("{}@{}", prompt.name, candidate.number);
        let mut used = PromptUse { label, ..PromptUse::default() };
        if self.put_secrets(&prompt, &candidate, &mut used).await.is_err() {
            return;
        }
        let asked =
            self.ask_model(&gateway, ask.caller.clone(), SHADOW_ROUTE, used, request.clone()).await;
        let observed = match asked {
            Ok(observed) => observed,
            // Who has no quota left for shadows casts none; it says nothing about the candidate.
            Err(GatewayError::OverQuota { .. } | GatewayError::Limited { .. }) => return,
            Err(_) => Observed::failed(),
        };
        let (mut own_score, mut production_score) = (None, None);
        if let Some(judge) = &gate.judge {
            let question = question_of(&request);
            let judged = |said: String| {
                let (expected, question) = (production.said.clone(), question.clone());
                let (judge, caller) = (judge.clone(), ask.caller.clone());
                async move { self.judge(&caller, &judge, &question, &said, &expected, "").await }
            };
            if !observed.failed {
                own_score =
                    judged(observed.said.clone()).await.ok().map(|judged| judged.score.value);
            }
            if !production.failed {
                production_score =
                    judged(production.said.clone()).await.ok().map(|judged| judged.score.value);
            }
        }
        self.observe(&beside, &production, production_score);
        self.observe(&own, &observed, own_score);
    }
}

/// How many shadows may be under way.
pub(super) fn shadow_permits() -> tokio::sync::Semaphore {
    tokio::sync::Semaphore::new(SHADOWS)
}

/// Whoever asks for the service itself, on the team's account.
pub(super) fn service(team: &str) -> Caller {
    Caller { tenant: team.to_owned(), ..Caller::default() }
}

impl PromptsHandle {
    /// Asks a model and waits for the whole answer.
    ///
    /// # Errors
    /// The gateway's, when no answer began.
    pub(super) async fn ask_model(
        &self,
        gateway: &GatewayHandle,
        caller: Caller,
        route: &'static str,
        used: PromptUse,
        request: ChatRequest,
    ) -> Result<Observed, GatewayError> {
        let (heard, hearing) = std::sync::mpsc::channel();
        let hear = move |observed: Observed| {
            let _ = heard.send(observed);
        };
        let watcher = Some(Watcher { wants_text: true, hear: Arc::new(hear) });
        let prompt = Some(PromptUse { watcher, ..used });
        let id = format!("{:032x}", self.shared.runtime.draw());
        let cache = CacheWish { no_store: true, ..CacheWish::default() };
        let key = caller.tenant.clone();
        let ask = Ask { id, caller, route, key, cache, trace_parent: None, prompt, request };
        let mut chunks = gateway.chat(ask).await?.chunks;
        let mut next = async || poll_fn(|context| Pin::new(&mut chunks).poll_next(context)).await;
        while let Some(Ok(_)) = next().await {}
        let unheard = || GatewayError::Cut { reason: "nobody heard its end".to_owned() };
        hearing.try_recv().map_err(|_| unheard())
    }
}

/// Whom a request's outcome counts for; nobody where it was not chosen by a pointer of users.
fn mark_of(prompt: &PromptKey, resolved: &Resolved) -> Option<Mark> {
    match &resolved.chosen {
        Chosen::Production | Chosen::Canary => Some(Mark {
            prompt: prompt.clone(),
            version: resolved.ready.number,
            of: Of::Served(resolved.since),
        }),
        _ => None,
    }
}

/// The request with the candidate in the place of production.
fn request_of(candidate: &Ready, ask: &ShadowAsk) -> Option<ChatRequest> {
    let rendered = candidate.compiled.render(&ask.variables).ok()?;
    let mut request = ask.request.clone();
    let rest = request.messages.split_off(ask.own_messages.min(request.messages.len()));
    request.messages = messages_of(rendered);
    request.messages.extend(rest);
    // The client's body holds production's words.
    (request.body, request.stream) = (None, false);
    apply_settings(candidate, &mut request);
    Some(request)
}

/// What a version says of the model goes before what is there.
pub(super) fn apply_settings(ready: &Ready, request: &mut ChatRequest) {
    let settings = &ready.document.model;
    if let Some(model) = &settings.model {
        request.model.clone_from(model);
    }
    request.max_tokens = settings.max_tokens.or(request.max_tokens);
    let sampling = &mut request.sampling;
    sampling.temperature = settings.temperature.or(sampling.temperature);
    sampling.top_p = settings.top_p.or(sampling.top_p);
    sampling.seed = settings.seed.or(sampling.seed);
    if !settings.stop.is_empty() {
        sampling.stop.clone_from(&settings.stop);
    }
    if !ready.document.tools.is_empty() {
        request.tools = ready.document.tools.iter().map(tool).collect();
    }
    if let Some(format) = &settings.response_format {
        request.format = format_of(format);
    }
}

fn tool(schema: &ToolSchema) -> Tool {
    Tool {
        name: schema.name.clone(),
        description: schema.description.clone(),
        parameters: Value::Object(schema.parameters.clone()),
        strict: None,
    }
}

/// OpenAI's field of this name.
fn format_of(format: &Map<String, Value>) -> OutputFormat {
    let told = format.get("json_schema");
    match (format.get("type").and_then(Value::as_str), told) {
        (Some("json_object"), _) => OutputFormat::JsonObject,
        (Some("json_schema"), Some(told)) => OutputFormat::JsonSchema {
            name: told["name"].as_str().unwrap_or("answer").to_owned(),
            schema: told["schema"].clone(),
            strict: told["strict"].as_bool(),
        },
        _ => OutputFormat::Text,
    }
}

/// What is rendered, as the gateway's messages.
pub(super) fn messages_of(rendered: Rendered) -> Vec<Message> {
    let message = |RenderedMessage { role, content }| {
        let role = match role {
            Role::System => Speaker::System,
            Role::User => Speaker::User,
            Role::Assistant => Speaker::Assistant,
        };
        Message::text(role, content)
    };
    match rendered {
        Rendered::Chat(messages) => messages.into_iter().map(message).collect(),
        Rendered::Text(text) => vec![Message::text(Speaker::User, text)],
    }
}

/// The last thing that a user says.
pub(super) fn question_of(request: &ChatRequest) -> String {
    let asked = request.messages.iter().rev().find(|one| one.role == Speaker::User);
    let texts =
        asked.into_iter().flat_map(|message| &message.parts).filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            _ => None,
        });
    texts.collect::<Vec<_>>().join("\n")
}
