//! An answer on its way to its client, and the charge that goes with it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use headwater_gateway::redaction::AnswerRedaction;
use headwater_gateway::{Meter, Target, Used};
use headwater_models::chat::{ChatStream, Chunk};
use headwater_storage::audit::Outcome as AuditOutcome;
use headwater_tenancy::Amounts;

use super::audit::Trail;
use super::cache::{Lead, Replay};
use super::handle::Shared;
use super::health::Busy;
use super::nouns::{GatewayError, Served};
use super::prompt::Watching;
use super::tries::Call;
use crate::mutants::{Mutant, planted};
use crate::tenancy::Share;

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Whole,
    /// The backend broke off.
    Cut,
    /// The client left.
    Left,
    /// It said what the team's policy blocks.
    Withheld,
}

impl Outcome {
    pub(super) fn name(self) -> &'static str {
        match self {
            Outcome::Whole => "whole",
            Outcome::Cut => "cut",
            Outcome::Left => "left",
            Outcome::Withheld => "withheld",
        }
    }

    fn recorded(self) -> AuditOutcome {
        match self {
            Outcome::Whole => AuditOutcome::Whole,
            Outcome::Cut => AuditOutcome::Cut,
            Outcome::Left => AuditOutcome::Left,
            Outcome::Withheld => AuditOutcome::Blocked,
        }
    }
}

/// The share of an answer that has begun. However it ends, what was used is charged; dropped
/// early it was left by its client.
pub(super) struct Charge {
    shared: Arc<Shared>,
    /// None once it is charged.
    share: Option<Share>,
    meter: Meter,
    /// Nobody's when the answer was given before.
    target: Option<Target>,
    alias: String,
    began_ms: u64,
    _busy: Option<Busy>,
    /// Whether something was said; until then the try itself tells the breaker.
    has_begun: bool,
    /// None where nothing is recorded.
    trail: Option<Trail>,
    /// None when the request was no prompt.
    watching: Option<Watching>,
}

impl Charge {
    pub(super) fn new(
        shared: Arc<Shared>,
        mut share: Share,
        meter: Meter,
        call: &Call<'_>,
        mut trail: Option<Trail>,
    ) -> Charge {
        share.begin();
        if let Some(trail) = &mut trail {
            let Target { backend, model, .. } = call.target;
            trail.asks(call.begin.version, backend, model);
        }
        let (target, alias) = (Some(call.target.clone()), call.begin.alias.name.clone());
        let began_ms = call.begin.began_ms;
        let (share, _busy, has_begun) =
            (Some(share), Some(shared.healths.busy(call.target)), false);
        let watching = call.begin.prompt.cloned().map(Watching::new);
        Charge { shared, share, meter, target, alias, began_ms, _busy, has_begun, trail, watching }
    }

    /// Of an answer that was given before: nobody works for it.
    pub(super) fn of_replay(
        shared: Arc<Shared>,
        mut share: Share,
        served: &Served,
        began_ms: u64,
        mut trail: Option<Trail>,
    ) -> Charge {
        share.begin();
        if let Some(trail) = &mut trail {
            trail.asks(served.version, &served.backend, &served.model);
            trail.tell(|record| record.cache_hit = true);
        }
        let (meter, alias) = (Meter::new(0), served.asked.clone());
        let (share, target, _busy, has_begun) = (Some(share), None, None, true);
        // Nobody was asked, so there is nothing to watch.
        let watching = None;
        Charge { shared, share, meter, target, alias, began_ms, _busy, has_begun, trail, watching }
    }

    pub(super) fn see(&mut self, chunk: &Chunk) {
        self.has_begun = true;
        chunk.events.iter().for_each(|event| self.meter.see(event));
        if let Some(trail) = &mut self.trail {
            trail.see(chunk);
        }
        if let Some(watching) = &mut self.watching {
            watching.see(chunk);
        }
    }

    /// Who answers, after how many tries.
    pub(super) fn serves(&mut self, served: &Served) {
        if let Some(trail) = &mut self.trail {
            trail.tell(|record| record.retries = served.retries);
        }
    }

    /// The backend said nothing: another one may use the share.
    pub(super) fn take_back(mut self) -> (Option<Share>, Option<Trail>) {
        let mut share = self.share.take();
        if let Some(share) = &mut share
            && !planted(Mutant::FailedTryCharged)
        {
            share.stop();
        }
        let mut trail = self.trail.take();
        if let Some(trail) = &mut trail {
            trail.fails();
        }
        (share, trail)
    }

    /// Charges what was used; resolves once that is written down.
    fn settle(&mut self, outcome: Outcome) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let Some(share) = self.share.take() else { return Box::pin(async {}) };
        let Some(target) = &self.target else {
            if let Some(trail) = &mut self.trail {
                trail.end(outcome.recorded());
            }
            let tokens = if planted(Mutant::KeptAnswerCharged) { 1 } else { 0 };
            return Box::pin(share.settle(Amounts { requests: 1, tokens, micro_usd: 0 }));
        };
        let used = self.meter.used();
        let Used { usage, is_estimated } = used;
        let micro_usd = target.price.cost(&usage);
        if let Some(trail) = &mut self.trail {
            trail.used(&used, micro_usd);
            trail.end(outcome.recorded());
        }
        let tokens = usage.input.saturating_add(usage.output);
        let took_ms = self.shared.runtime.now_ms().saturating_sub(self.began_ms);
        if let Some(watching) = &mut self.watching
            && outcome != Outcome::Left
        {
            watching.end(outcome == Outcome::Cut, took_ms, micro_usd);
        }
        let Target { backend, model, .. } = target;
        let metrics = &self.shared.metrics;
        metrics.ended(&self.alias, backend, model, outcome.name(), took_ms);
        metrics.used(&self.alias, backend, model, &usage, micro_usd, is_estimated);
        match outcome {
            // Whatever it says, it answers.
            Outcome::Whole | Outcome::Withheld => {
                self.shared.breaker(target, |one, now| one.report(now, true));
            }
            Outcome::Cut => {
                self.shared.healths.broke_off(&self.alias, target);
                self.shared.breaker(target, |one, now| one.report(now, false));
            }
            Outcome::Left if !self.has_begun => {}
            Outcome::Left => self.shared.breaker(target, |one, now| one.give_back(now)),
        }
        Box::pin(share.settle(Amounts { requests: 1, tokens, micro_usd }))
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if planted(Mutant::LeaverPaysNothing)
            && let Some(share) = self.share.take()
        {
            return share.give_back();
        }
        if planted(Mutant::LeaverPaysAll) {
            // A share that has begun charges itself whole.
            return drop(self.share.take());
        }
        if self.share.is_some() {
            let settled = self.settle(Outcome::Left);
            self.shared.runtime.spawn(settled);
        }
    }
}

enum State {
    First(Chunk),
    Running,
    /// What the stream gives once the charge is written down.
    Settling(Pin<Box<dyn Future<Output = ()> + Send>>, Option<GatewayError>),
    Ended,
}

/// The parts of an answer, as they come. It ends with none only when the answer is whole.
pub struct AnswerStream {
    state: State,
    /// Ahead of the charge, so that the backend's work is cancelled first. None once it ended.
    chunks: Option<ChatStream>,
    charge: Charge,
    /// Keeps the answer when it is whole.
    lead: Option<(Lead, Served)>,
    /// What becomes of its texts; none when they go on as they come. What is kept is kept before.
    redaction: Option<Box<AnswerRedaction>>,
}

impl AnswerStream {
    pub(super) fn new(
        first: Chunk,
        chunks: ChatStream,
        charge: Charge,
        lead: Option<(Lead, Served)>,
    ) -> AnswerStream {
        let (state, chunks) = (State::Running, Some(chunks));
        let mut answer = AnswerStream { state, chunks, charge, lead, redaction: None };
        answer.keep(&first);
        answer.state = State::First(first);
        answer
    }

    /// An answer that was given before.
    pub(super) fn replay(replay: Replay, charge: Charge) -> AnswerStream {
        let chunks: Option<ChatStream> = Some(Box::pin(replay));
        AnswerStream { state: State::Running, chunks, charge, lead: None, redaction: None }
    }

    fn keep(&mut self, chunk: &Chunk) {
        if let Some((lead, _)) = &mut self.lead
            && !lead.see(chunk)
        {
            self.lead = None;
        }
    }

    /// From its first part on.
    pub(super) fn redact(&mut self, redaction: Option<AnswerRedaction>) {
        self.redaction = redaction.map(Box::new);
    }

    /// The chunk as its client may see it; none when that must not be, and the answer ends.
    fn seen(&mut self, chunk: Chunk) -> Option<Chunk> {
        let Some(redaction) = &mut self.redaction else { return Some(chunk) };
        match redaction.chunk(chunk) {
            Ok(chunk) => Some(chunk),
            Err(error) => {
                (self.chunks, self.lead) = (None, None);
                self.count_redactions();
                let told = self.charge.shared.withheld(&error);
                self.state = State::Settling(self.charge.settle(Outcome::Withheld), Some(told));
                None
            }
        }
    }

    /// Counts what was replaced in what was said, once.
    fn count_redactions(&mut self) {
        if let Some(redaction) = self.redaction.take() {
            self.charge.shared.answered(&redaction);
        }
    }

    fn end(&mut self, problem: Option<String>) {
        self.chunks = None;
        self.count_redactions();
        // A backend that ends without a word about why has broken off, too.
        let problem = problem.or_else(|| {
            let reason = "the backend ended it before it was complete".to_owned();
            (!self.charge.meter.is_whole()).then_some(reason)
        });
        let problem = problem.map(|mut reason| {
            if let Some(watching) = &self.charge.watching {
                watching.prompt().hide(&mut reason);
            }
            reason
        });
        let problem = problem.filter(|_| !planted(Mutant::CutLooksWhole));
        let outcome = if problem.is_none() { Outcome::Whole } else { Outcome::Cut };
        if let Some((lead, served)) = self.lead.take()
            && (outcome == Outcome::Whole || planted(Mutant::CutAnswerKept))
        {
            lead.finish(served, self.charge.shared.runtime.now_ms());
        }
        let told = problem.map(|reason| GatewayError::Cut { reason });
        self.state = State::Settling(self.charge.settle(outcome), told);
    }
}

impl Stream for AnswerStream {
    type Item = Result<Chunk, GatewayError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::First(first) => {
                    let first = std::mem::take(first);
                    this.state = State::Running;
                    if let Some(first) = this.seen(first) {
                        return Poll::Ready(Some(Ok(first)));
                    }
                }
                State::Running => {
                    let Some(chunks) = &mut this.chunks else {
                        this.state = State::Ended;
                        continue;
                    };
                    match chunks.as_mut().poll_next(context) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Some(Ok(chunk))) => {
                            this.charge.see(&chunk);
                            this.keep(&chunk);
                            if let Some(chunk) = this.seen(chunk) {
                                return Poll::Ready(Some(Ok(chunk)));
                            }
                        }
                        Poll::Ready(Some(Err(error))) => this.end(Some(error.to_string())),
                        Poll::Ready(None) => this.end(None),
                    }
                }
                State::Settling(settled, told) => {
                    if settled.as_mut().poll(context).is_pending() {
                        return Poll::Pending;
                    }
                    let told = told.take();
                    this.state = State::Ended;
                    return Poll::Ready(told.map(Err));
                }
                State::Ended => return Poll::Ready(None),
            }
        }
    }
}
