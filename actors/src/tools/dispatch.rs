//! The one path of every call: permission, arguments, kept answers, breaker, quotas, the rows of
//! its id and session, the tool, its output, and the record of it all.

use std::sync::{Arc, PoisonError};

use headwater_storage::retry::OperationId;
use headwater_tenancy::{Amounts, Payer, Unit};
use headwater_tools::call::{CallResult, Charge, Ending, Refusal, sha256_of_value};
use headwater_tools::idempotency;

use super::audit::{self, CallTrail};
use super::begin::Start;
use super::finish::Finished;
use super::handle::{KeptAnswer, Shared, ToolsHandle};
use super::nouns::{Called, ToolAsk, ToolCaller};
use super::ready::Ready;
use super::run::Ran;
use crate::runtime::Runtime;
use crate::tenancy::{Refusal as OverQuota, Share};

/// A call that is over is written down for so long, in ms.
const SETTLE_MS: u64 = 10 * 60_000;
/// The pause between two tries of that, in ms.
const SETTLE_AGAIN_MS: u64 = 1_000;

/// A place among the calls that run at once.
struct Turn {
    shared: Arc<Shared>,
    team: String,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut running = self.shared.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = running.get_mut(&self.team) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.team);
            }
        }
    }
}

impl ToolsHandle {
    /// Makes a call, from its permission to its record. A call that changes something goes on to
    /// its end when whoever asked has gone.
    pub async fn call(&self, caller: ToolCaller, ask: ToolAsk) -> Called {
        let mut trail = CallTrail::begin(self.shared.audit.get(), &caller, &ask);
        let id = ask.id.clone().unwrap_or_default();
        let ready = match self.ready(&caller, &ask) {
            Ok(ready) => ready,
            Err(refusal) => {
                self.shared.metrics.refused(refusal.code());
                trail.refused(&refusal);
                let tool = ask.tool.to_string();
                let ending = Err(refusal);
                return Called { id, tool, definition_sha256: None, ending, warning: None };
            }
        };
        trail.ready(&ready);
        let called = |ending: Ending, warning: Option<String>| Called {
            id: ready.call.id.clone(),
            tool: ready.version.clone(),
            definition_sha256: Some(ready.call.tool.definition_sha256.clone()),
            ending,
            warning,
        };
        if !ready.has_row() {
            let (ending, warning) = self.go(ready.clone(), trail).await;
            return called(ending, warning);
        }
        // Its end is written down whoever listens.
        let (reply, answer) = tokio::sync::oneshot::channel();
        let (handle, going) = (self.clone(), ready.clone());
        self.shared.runtime.spawn(async move {
            let done = handle.go(going, trail).await;
            let _ = reply.send(done);
        });
        match answer.await {
            Ok((ending, warning)) => called(ending, warning),
            Err(_) => {
                let why = "this node is going away".to_owned();
                called(Err(Refusal::OutcomeUnknown { id: ready.call.id.clone(), why }), None)
            }
        }
    }

    async fn go(&self, ready: Ready, mut trail: CallTrail) -> (Ending, Option<String>) {
        let began_ms = self.shared.runtime.now_ms();
        let gone = self.start(&ready, &mut trail).await;
        let (ending, warning) = match gone {
            Err(refusal) => (Err(refusal), None),
            Ok(Going::Kept(result)) => (Ok(result), None),
            Ok(Going::Run { epoch, share, turn }) => {
                let run = self.run(&ready, epoch, began_ms, share, &mut trail).await;
                drop(turn);
                run
            }
        };
        let took_ms = self.shared.runtime.now_ms().saturating_sub(began_ms);
        self.shared.metrics.called(&ready.version, &ending, took_ms);
        trail.end(&ready, &ending);
        (ending, warning)
    }

    /// Everything that may refuse the call, or answer it without the tool.
    async fn start(&self, ready: &Ready, trail: &mut CallTrail) -> Result<Going, Refusal> {
        if let Some(kept) = self.kept(ready, ready.definition.cache.map(|cache| cache.ttl_seconds))
        {
            return self.count_kept(ready, kept, true).await;
        }
        let turn = self.turn(ready)?;
        let admitted = self.shared.breaker(&ready.definition, &ready.version, |breaker, now_ms| {
            breaker.admit(now_ms).then_some(()).ok_or_else(|| breaker.wait_ms(now_ms))
        });
        if let Err(wait_ms) = admitted {
            let seconds = ready.definition.fallback.map(|fallback| fallback.cached_for_seconds);
            if let Some(kept) = self.kept(ready, seconds) {
                return self.count_kept(ready, kept, false).await;
            }
            let (tool, retry_after_ms) = (ready.version.clone(), wait_ms.max(1));
            return Err(Refusal::BreakerOpen { tool, retry_after_ms });
        }
        let passed = self.pass(ready, trail).await;
        match passed {
            Ok(Passed::Run { epoch, share }) => Ok(Going::Run { epoch, share, turn }),
            Ok(Passed::Answer(result)) => {
                self.not_asked(ready);
                Ok(Going::Kept(result))
            }
            Err(refusal) => {
                self.not_asked(ready);
                Err(refusal)
            }
        }
    }

    /// The breaker let a call pass that the tool has never seen.
    fn not_asked(&self, ready: &Ready) {
        self.shared.breaker(&ready.definition, &ready.version, |breaker, now_ms| {
            breaker.give_back(now_ms);
        });
    }

    /// Quotas, then the rows of the store.
    async fn pass(&self, ready: &Ready, trail: &mut CallTrail) -> Result<Passed, Refusal> {
        let share = match self.reserve(ready).await {
            Ok(share) => share,
            Err(refusal) => {
                // What was made before costs nothing more.
                let before = self.made_before(ready).await;
                return before.unwrap_or(Err(refusal)).map(Passed::Answer);
            }
        };
        if share.is_unverified() {
            trail.flag(audit::QUOTA_UNPROVEN);
        }
        match self.begin(ready).await {
            Ok(Start::Run { epoch }) => Ok(Passed::Run { epoch, share }),
            Ok(Start::Answer(result)) => {
                share.give_back();
                Ok(Passed::Answer(result))
            }
            Err(refusal) => {
                share.give_back();
                Err(refusal)
            }
        }
    }

    /// Reserves one request and the tool's price, from the team's limits and the tool's own.
    async fn reserve(&self, ready: &Ready) -> Result<Share, Refusal> {
        let caller = &ready.caller;
        let payer = Payer {
            team: &caller.team,
            project: caller.project.as_deref(),
            user: caller.user.as_deref(),
        };
        let estimate = Amounts { requests: 1, tokens: 0, micro_usd: ready.price() };
        let model = format!("tool:{}", ready.definition.name);
        let shared = &self.shared;
        let refused = |refusal| over_quota(ready, refusal);
        let mut share = shared.tenancy.reserve(payer, &model, estimate).await.map_err(refused)?;
        if let Some(subject) = self.quota_of(ready).await? {
            let also = shared.tenancy.reserve_also(&mut share, &subject, &model, estimate).await;
            also.map_err(refused)?;
        }
        Ok(share)
    }

    /// Asks the tool, and sees to it that what came of it is written down.
    async fn run(
        &self,
        ready: &Ready,
        epoch: u64,
        began_ms: u64,
        mut share: Share,
        trail: &mut CallTrail,
    ) -> (Ending, Option<String>) {
        let Shared { runtime, .. } = &*self.shared;
        share.begin();
        let Ran { answer, used } = self.ask_tool(ready, epoch).await;
        trail.used(&used);
        let took_ms = runtime.now_ms().saturating_sub(began_ms);
        let ending = match answer {
            Ok(answer) => self.judged(ready, answer, took_ms).await,
            Err(refusal) => Err(refusal),
        };
        let is_ill = ending.as_ref().is_err_and(Refusal::is_illness);
        self.shared.breaker(&ready.definition, &ready.version, |breaker, now_ms| {
            breaker.report(now_ms, !is_ill);
        });
        if let Ok(result) = &ending {
            self.keep(ready, result);
        }
        let charge = Charge::of(&ending, ready.price(), 0);
        let end = End {
            operation: self.shared.operation(),
            ending: ending.clone(),
            took_ms,
            charge,
            is_doubtful: used.is_doubtful,
        };
        let warning = match self.finish(ready, epoch, &end).await {
            Ok(Finished::Written(warning)) => warning,
            Ok(Finished::Stale) => {
                // Whoever took the call over charges it and tells what it came to.
                share.give_back();
                let (id, retry_after_ms) = (ready.call.id.clone(), 1_000);
                return (Err(Refusal::InProgress { id, retry_after_ms }), None);
            }
            Err(error) => {
                tracing::warn!(call = ready.call.id, %error, "a call's end is written down later");
                self.finish_later(ready.clone(), epoch, end, Some(share));
                return (ending, None);
            }
        };
        share.settle(end.amounts()).await;
        (ending, warning)
    }

    /// Writes the end down once the store is there again; then it is charged.
    fn finish_later(&self, ready: Ready, epoch: u64, end: End, share: Option<Share>) {
        let handle = self.clone();
        let runtime: Runtime = self.shared.runtime.clone();
        self.shared.runtime.spawn(async move {
            let until_ms = runtime.now_ms() + SETTLE_MS;
            while runtime.now_ms() < until_ms {
                runtime.pause(SETTLE_AGAIN_MS).await;
                match handle.finish(&ready, epoch, &end).await {
                    Err(_) => continue,
                    Ok(Finished::Written(_)) => break,
                    Ok(Finished::Stale) => {
                        share.into_iter().for_each(Share::give_back);
                        return;
                    }
                }
            }
            if let Some(share) = share {
                share.settle(end.amounts()).await;
            }
            if runtime.now_ms() < until_ms {
                return;
            }
            tracing::error!(call = ready.call.id, "a call's end could not be written down");
        });
    }

    /// A place among the calls that run at once on this node.
    fn turn(&self, ready: &Ready) -> Result<Turn, Refusal> {
        let Shared { running, settings, .. } = &*self.shared;
        let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, own) = (
            running.values().sum::<usize>(),
            running.get(&ready.key.team).copied().unwrap_or_default(),
        );
        if all >= settings.calls_max || own >= settings.team_calls_max {
            let what = format!("tools of team {}", ready.key.team);
            return Err(Refusal::Overloaded { what, retry_after_ms: 1_000 });
        }
        *running.entry(ready.key.team.clone()).or_default() += 1;
        Ok(Turn { shared: Arc::clone(&self.shared), team: ready.key.team.clone() })
    }

    /// An answer that was given before and is not older than this.
    fn kept(&self, ready: &Ready, seconds: Option<u64>) -> Option<CallResult> {
        let seconds = seconds.filter(|_| ready.repeat == idempotency::Repeat::ReadOnly)?;
        let kept = self.shared.cache.get(&cache_key(ready))?;
        let age_ms = self.shared.runtime.now_ms().saturating_sub(kept.kept_ms);
        (age_ms < seconds * 1_000).then(|| kept.result.clone())
    }

    /// A kept answer counts as a call of its session, and costs nothing.
    async fn count_kept(
        &self,
        ready: &Ready,
        result: CallResult,
        is_cached: bool,
    ) -> Result<Going, Refusal> {
        let result = CallResult {
            is_cached,
            is_fallback: !is_cached,
            cost_microdollars: 0,
            duration_ms: 0,
            deprecation: ready.deprecation.clone(),
            ..result
        };
        if ready.call.session.is_some()
            && let Start::Run { epoch } = self.begin(ready).await?
        {
            let end = End::kept(self.shared.operation(), &result);
            if let Err(error) = self.finish(ready, epoch, &end).await {
                tracing::warn!(call = ready.call.id, %error, "a kept answer is counted later");
                self.finish_later(ready.clone(), epoch, end, None);
            }
        }
        Ok(Going::Kept(result))
    }

    fn keep(&self, ready: &Ready, result: &CallResult) {
        let keeps = ready.definition.cache.is_some() || ready.definition.fallback.is_some();
        if !keeps || result.is_error || result.is_dry_run {
            return;
        }
        let bytes = result.content.to_string().len();
        let bytes = u32::try_from(bytes + 512).unwrap_or(u32::MAX);
        let kept_ms = self.shared.runtime.now_ms();
        let kept = KeptAnswer { result: result.clone(), kept_ms, bytes };
        self.shared.cache.insert(cache_key(ready), Arc::new(kept));
    }
}

/// How a call ended, and what it counts for.
#[derive(Debug, Clone)]
pub(super) struct End {
    /// Writing it down is one operation, however often it is tried.
    pub(super) operation: OperationId,
    pub(super) ending: Ending,
    pub(super) took_ms: u64,
    pub(super) charge: Charge,
    /// Some try may have been done, whatever the last one came to.
    pub(super) is_doubtful: bool,
}

impl End {
    fn kept(operation: OperationId, result: &CallResult) -> End {
        let (ending, charge) = (Ok(result.clone()), Charge::default());
        End { operation, ending, took_ms: 0, charge, is_doubtful: false }
    }

    /// The tool has done it, or may have.
    pub(super) fn may_have_run(&self) -> bool {
        self.is_doubtful || self.ending.as_ref().map_or_else(Refusal::may_have_run, |_| true)
    }

    fn amounts(&self) -> Amounts {
        let requests = u64::from(self.may_have_run());
        Amounts { requests, tokens: 0, micro_usd: self.charge.microdollars }
    }
}

/// How a call goes on after everything that may refuse it.
enum Going {
    Kept(CallResult),
    Run { epoch: u64, share: Share, turn: Turn },
}

enum Passed {
    Answer(CallResult),
    Run { epoch: u64, share: Share },
}

/// A team, and what hangs on the definition and the arguments.
fn cache_key(ready: &Ready) -> (String, String) {
    let call = &ready.call;
    let of = sha256_of_value(&serde_json::json!([
        call.tool.definition_sha256,
        call.arguments_sha256,
        ready.caller.agent,
    ]));
    (ready.key.team.clone(), of)
}

fn over_quota(ready: &Ready, refusal: OverQuota) -> Refusal {
    let tool = ready.version.clone();
    match refusal {
        OverQuota::UsedUp { exhausted, retry_after_ms, .. }
            if exhausted.limit.unit == Unit::MicroUsd =>
        {
            Refusal::MoneyPerDay { tool, retry_after_ms }
        }
        OverQuota::UsedUp { retry_after_ms, .. } => {
            Refusal::CallsPerMinute { tool, retry_after_ms }
        }
        OverQuota::Unanswered { retry_after_ms } => Refusal::StorageDown { retry_after_ms },
        OverQuota::Overloaded { retry_after_ms } => {
            Refusal::Overloaded { what: tool, retry_after_ms }
        }
    }
}
