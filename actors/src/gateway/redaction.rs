//! Redaction in the gateway: a request is looked through beside the runtime's threads and within a
//! budget of time; its answer is restored as it comes.

mod metrics;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use headwater_gateway::redaction::{
    AnswerRedaction, Entity, RedactError, RedactionPolicy, RedactionSession, Redactor,
    redact_request,
};
use headwater_models::chat::{ChatRequest, Message, Part, Role};

use super::handle::{GatewayHandle, Shared};
use super::nouns::GatewayError;
use crate::mutants::{Mutant, planted};
use crate::runtime::Runtime;

pub use metrics::RedactionMetrics;

/// The standard budget: what most clients do not notice before the first part of an answer.
pub const REDACTION_BUDGET_MS: u64 = 30;

/// Where the work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offload {
    /// On a thread of tokio's that may block.
    Blocking,
    /// Right here: for worlds that have no threads. No budget ends it.
    Inline,
}

/// What was done with a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RedactionReport {
    /// Its time was up: it went on as it came, and is to be looked through later.
    pub skipped: bool,
    /// How often each entity was replaced.
    pub replaced: BTreeMap<&'static str, u64>,
}

/// A request as it may go on, and what its answer needs.
pub(super) struct Redacted {
    pub(super) request: ChatRequest,
    /// None when the answer goes on as it comes.
    pub(super) answer: Option<AnswerRedaction>,
    pub(super) report: RedactionReport,
}

/// Looks requests through; cheap to clone.
#[derive(Clone)]
pub struct Redaction {
    redactor: Arc<Redactor>,
    budget_ms: u64,
    offload: Offload,
    metrics: RedactionMetrics,
}

type Done = Result<(ChatRequest, RedactionSession), RedactError>;

impl Redaction {
    pub fn new(
        redactor: Arc<Redactor>,
        budget_ms: u64,
        offload: Offload,
        metrics: RedactionMetrics,
    ) -> Redaction {
        Redaction { redactor, budget_ms, offload, metrics }
    }

    /// The request without what the policy's rules are about. When its time is up it goes on as it
    /// came, unless the policy must hold.
    async fn request(
        &self,
        runtime: &Runtime,
        policy: &Arc<RedactionPolicy>,
        request: ChatRequest,
    ) -> Result<Redacted, GatewayError> {
        if !policy.request {
            let session = RedactionSession::new(Arc::clone(policy));
            return Ok(self.ready(request, &session));
        }
        let began_ms = runtime.now_ms();
        let request = Arc::new(request);
        let done = self.look_through(runtime, policy, &request).await;
        self.metrics.looked_through(runtime.now_ms().saturating_sub(began_ms));
        match done {
            Ok((redacted, session)) => Ok(self.ready(redacted, &session)),
            Err(RedactError::Blocked { entity }) => {
                self.metrics.blocked(entity);
                Err(GatewayError::PersonalData { entity: entity.name() })
            }
            Err(RedactError::Stopped | RedactError::Failed { .. }) if policy.must_hold() => {
                self.metrics.refused();
                Err(GatewayError::NotRedacted { budget_ms: self.budget_ms })
            }
            Err(RedactError::Stopped | RedactError::Failed { .. }) => {
                self.metrics.skipped();
                let report = RedactionReport { skipped: true, ..RedactionReport::default() };
                let session = RedactionSession::new(Arc::clone(policy));
                let request = Arc::try_unwrap(request).unwrap_or_else(|shared| (*shared).clone());
                Ok(Redacted { report, ..self.ready(request, &session) })
            }
        }
    }

    fn ready(&self, request: ChatRequest, session: &RedactionSession) -> Redacted {
        let answer = AnswerRedaction::new(&self.redactor, session);
        let replaced = session.counts().iter().map(|(entity, count)| (entity.name(), *count));
        let report = RedactionReport { skipped: false, replaced: replaced.collect() };
        self.metrics.replaced(session.counts());
        Redacted { request, answer: (!answer.is_idle()).then_some(answer), report }
    }

    async fn look_through(
        &self,
        runtime: &Runtime,
        policy: &Arc<RedactionPolicy>,
        request: &Arc<ChatRequest>,
    ) -> Done {
        let late = Arc::new(AtomicBool::new(false));
        let work = {
            let (redactor, late) = (Arc::clone(&self.redactor), Arc::clone(&late));
            let (policy, request) = (Arc::clone(policy), Arc::clone(request));
            move || redact(&redactor, policy, &request, &|| late.load(Ordering::Relaxed))
        };
        match self.offload {
            Offload::Inline => work(),
            Offload::Blocking => {
                let working = tokio::task::spawn_blocking(work);
                let done = runtime.within(self.budget_ms, working).await;
                late.store(true, Ordering::Relaxed);
                match done {
                    Some(Ok(done)) => done,
                    Some(Err(_)) => {
                        Err(RedactError::Failed { reason: "its thread has ended".to_owned() })
                    }
                    None => Err(RedactError::Stopped),
                }
            }
        }
    }

    /// An answer said what its policy blocks.
    fn withheld(&self, error: &RedactError) -> GatewayError {
        match error {
            RedactError::Blocked { entity } => {
                self.metrics.blocked(*entity);
                GatewayError::PersonalData { entity: entity.name() }
            }
            RedactError::Stopped | RedactError::Failed { .. } => {
                self.metrics.refused();
                GatewayError::NotRedacted { budget_ms: self.budget_ms }
            }
        }
    }
}

impl Shared {
    /// The request as it may go on.
    pub(super) async fn redact(
        &self,
        policy: &Arc<RedactionPolicy>,
        request: ChatRequest,
    ) -> Result<Redacted, GatewayError> {
        match self.redaction.get() {
            Some(redaction) => redaction.request(&self.runtime, policy, request).await,
            None if policy.must_hold() => Err(GatewayError::NotRedacted { budget_ms: 0 }),
            None => {
                let report = RedactionReport { skipped: true, ..RedactionReport::default() };
                Ok(Redacted { request, answer: None, report })
            }
        }
    }

    /// Counts what was replaced in an answer.
    pub(super) fn answered(&self, answer: &AnswerRedaction) {
        if let Some(redaction) = self.redaction.get() {
            redaction.metrics.replaced(&answer.counts());
        }
    }

    /// What the client is told of an answer that must not go on.
    pub(super) fn withheld(&self, error: &RedactError) -> GatewayError {
        match self.redaction.get() {
            Some(redaction) => redaction.withheld(error),
            None => GatewayError::NotRedacted { budget_ms: 0 },
        }
    }
}

impl GatewayHandle {
    /// Texts without what the team's policy keeps from models, for whoever keeps them.
    ///
    /// # Errors
    /// [`GatewayError::PersonalData`] for what the policy blocks, and [`GatewayError::NotRedacted`]
    /// when they could not be looked through in time: they must not be kept then.
    pub(crate) async fn redact_texts(
        &self,
        team: &str,
        texts: Vec<String>,
    ) -> Result<Vec<String>, GatewayError> {
        let live = self.shared.live();
        let Some(policy) = live.config.redaction.of(team) else { return Ok(texts) };
        let messages = texts.into_iter().map(|text| Message::text(Role::User, text)).collect();
        let request = ChatRequest::new(String::new(), messages);
        let Redacted { request, report, .. } = self.shared.redact(policy, request).await?;
        if report.skipped {
            let budget_ms = self.shared.redaction.get().map_or(0, |redaction| redaction.budget_ms);
            return Err(GatewayError::NotRedacted { budget_ms });
        }
        let text = |message: Message| match message.parts.into_iter().next() {
            Some(Part::Text(text)) => text,
            _ => String::new(),
        };
        Ok(request.messages.into_iter().map(text).collect())
    }
}

fn redact(
    redactor: &Redactor,
    policy: Arc<RedactionPolicy>,
    request: &ChatRequest,
    stop: &dyn Fn() -> bool,
) -> Done {
    let mut session = RedactionSession::new(policy);
    let mut redacted = request.clone();
    redact_request(redactor, &mut session, &mut redacted, stop)?;
    if planted(Mutant::LastMessageNotRedacted)
        && let (Some(last), Some(own)) = (redacted.messages.last_mut(), request.messages.last())
    {
        last.clone_from(own);
    }
    Ok((redacted, session))
}

/// Names of all entities, for counters that must be there before anything is found.
fn entities() -> impl Iterator<Item = &'static str> {
    Entity::ALL.into_iter().map(Entity::name)
}
