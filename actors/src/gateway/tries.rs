//! The tries of one chat: one target after the other, until one begins to answer.

use std::future::poll_fn;
use std::sync::Arc;

use headwater_gateway::{Alias, Attempts, Breaker, Meter, Step, Target};
use headwater_models::chat::{ChatError, ChatRequest, ChatStream, Chunk};
use headwater_tenancy::Standing;

use super::answer::{AnswerStream, Charge};
use super::audit::Trail;
use super::cache::Lead;
use super::failures::{RETRY_AFTER_MS, failure_of, kind_of, surface, worse};
use super::handle::{GatewayHandle, Shared};
use super::nouns::{Answer, Cached, GatewayError, Served};
use super::prompt::{Observed, PromptUse};
use super::redaction::RedactionReport;
use crate::tenancy::Share;

/// A target that was silent for so long when its client left has failed, in ms.
const SILENT_MS: u64 = 20_000;

impl GatewayHandle {
    /// Asks one target after the other, until one begins to answer.
    pub(super) async fn try_all(
        &self,
        begin: Begin<'_>,
        targets: &[&Target],
        request: ChatRequest,
        share: Share,
        lead: Option<Lead>,
        trail: &mut Option<Trail>,
    ) -> Result<Answer, GatewayError> {
        let Shared { runtime, settings, metrics, .. } = &*self.shared;
        let mut request = begin.filled(request);
        let mut attempts = Attempts::new(settings.retry, targets.len(), begin.began_ms);
        let (mut step, mut last) = (attempts.first(), None);
        let standing = share.standing();
        let mut share = Some(share);
        while let Step::Try { target: place, after_ms } = step {
            if after_ms > 0 {
                runtime.pause(after_ms).await;
            }
            let Some(target) = targets.get(place) else { break };
            let draw = runtime.environment().draw();
            let admitted = self.shared.breaker(target, |one, now_ms| {
                if one.admit(now_ms) { Ok(()) } else { Err(one.wait_ms(now_ms)) }
            });
            if let Err(wait_ms) = admitted {
                step = attempts.skipped(place, wait_ms, runtime.now_ms());
                continue;
            }
            request.model.clone_from(&target.model);
            let call = Call { begin, target, request: &request };
            let asked_ms = runtime.now_ms();
            let error = match self.attempt(&call, &mut share, trail).await {
                Ok((first, rest, mut charge)) => {
                    let now_ms = runtime.now_ms();
                    let first_ms = now_ms.saturating_sub(asked_ms);
                    self.shared.healths.begun(&begin.alias.name, target, first_ms, now_ms);
                    let served = self.served(&call, attempts.tries(), standing);
                    charge.serves(&served);
                    metrics.begun(&served, runtime.now_ms().saturating_sub(begin.began_ms));
                    let lead = lead.map(|lead| (lead, served.clone()));
                    return Ok(Answer {
                        served,
                        redaction: RedactionReport::default(),
                        chunks: AnswerStream::new(first, rest, charge, lead),
                    });
                }
                Err(error) => begin.hidden(error),
            };
            metrics.failed(&target.backend, &target.model, kind_of(&error));
            if !matches!(error, ChatError::Refused { .. }) {
                self.shared.healths.failed(&begin.alias.name, target);
            }
            // Its words are the operator's: they may name accounts and limits.
            tracing::debug!(backend = target.backend, model = target.model, %error, "a try failed");
            step = attempts.failed(place, failure_of(&error), runtime.now_ms(), draw);
            last = Some(worse(last, error));
            if let Some(trail) = trail {
                trail.tell(|record| record.retries = attempts.tries());
            }
        }
        begin.note_failure(last.as_ref(), runtime.now_ms());
        Err(surface(last, || self.soonest_ms(targets)))
    }

    /// One try that its breaker let pass: asks a target and waits for the first part. A client
    /// that leaves meanwhile is charged; a target that fails before it said anything costs nothing.
    async fn attempt(
        &self,
        call: &Call<'_>,
        share: &mut Option<Share>,
        trail: &mut Option<Trail>,
    ) -> Result<(Chunk, ChatStream, Charge), ChatError> {
        let Call { target, request, .. } = call;
        let asked_ms = self.shared.runtime.now_ms();
        let mut pass = Pass { shared: &self.shared, target, asked_ms, reported: false };
        let Some(backend) = self.shared.backends.get(&target.backend) else {
            return Err(ChatError::Misconfigured { status: 404 });
        };
        let Some(own) = share.take() else { return Err(ChatError::Misconfigured { status: 500 }) };
        // From here on the target may be at work, so a client that leaves pays.
        let meter = Meter::new(call.begin.input);
        let mut charge = Charge::new(Arc::clone(&self.shared), own, meter, call, trail.take());
        let opened = backend.model.chat(request).await;
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(error) => {
                (*share, *trail) = charge.take_back();
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
                (*share, *trail) = charge.take_back();
                Err(pass.failed(error))
            }
            None => {
                (*share, *trail) = charge.take_back();
                let reason = "the answer was empty".to_owned();
                Err(pass.failed(ChatError::Cut { reason }))
            }
        }
    }

    fn served(&self, call: &Call<'_>, retries: u32, standing: Vec<Standing>) -> Served {
        let Begin { version, alias, cache, .. } = call.begin;
        let Target { backend, model, .. } = call.target;
        let protocol = self.shared.backends.get(backend).and_then(|one| one.protocol);
        let (asked, backend, model) = (alias.name.clone(), backend.clone(), model.clone());
        Served { asked, backend, model, protocol, retries, standing, version, cache }
    }

    /// When the first of these may be asked again, in ms from now.
    fn soonest_ms(&self, targets: &[&Target]) -> u64 {
        let waits = targets
            .iter()
            .map(|target| self.shared.breaker(target, |one, now_ms| one.wait_ms(now_ms)));
        waits.min().unwrap_or(0).max(RETRY_AFTER_MS)
    }
}

/// What all tries of a request know.
#[derive(Clone, Copy)]
pub(super) struct Begin<'a> {
    pub(super) version: u64,
    pub(super) alias: &'a Alias,
    pub(super) cache: Cached,
    /// Estimated tokens of the input.
    pub(super) input: u64,
    pub(super) began_ms: u64,
    pub(super) prompt: Option<&'a PromptUse>,
}

impl Begin<'_> {
    /// The request as models get it.
    fn filled(&self, request: ChatRequest) -> ChatRequest {
        match self.prompt {
            Some(prompt) => prompt.fill(request),
            None => request,
        }
    }

    /// What a provider says without what only models get.
    fn hidden(&self, error: ChatError) -> ChatError {
        match self.prompt {
            Some(prompt) => prompt.hide_in(error),
            None => error,
        }
    }

    /// No try began. Where nobody could be asked nothing is known of the prompt.
    fn note_failure(&self, last: Option<&ChatError>, now_ms: u64) {
        let is_known = !matches!(last, None | Some(ChatError::Limited { .. }));
        if let Some(prompt) = self.prompt.filter(|_| is_known) {
            let latency_ms = now_ms.saturating_sub(self.began_ms);
            prompt.hear(Observed { latency_ms, ..Observed::failed() });
        }
    }
}

/// What one try knows.
pub(super) struct Call<'a> {
    pub(super) begin: Begin<'a>,
    pub(super) target: &'a Target,
    /// Under the target's own name of the model.
    pub(super) request: &'a ChatRequest,
}

/// A request that a breaker let pass, until its answer begins. Dropped without a report its client
/// left.
struct Pass<'a> {
    shared: &'a Shared,
    target: &'a Target,
    asked_ms: u64,
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
        if self.reported {
            return;
        }
        let silent_ms = self.shared.runtime.now_ms().saturating_sub(self.asked_ms);
        // A target that says nothing until its clients lose patience is not well.
        if silent_ms >= SILENT_MS {
            self.shared.breaker(self.target, |one, now_ms| one.report(now_ms, false));
        } else {
            self.shared.breaker(self.target, Breaker::give_back);
        }
    }
}
