//! The runner: finds out what promotions wait for. One node at a time runs them, by a lease; what
//! it finds out is taken only by the stage that it belongs to, so a runner that was slow, or two of
//! them, double nothing. What it holds in memory may be lost at any time.

mod nights;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_prompts::sequential::{Evidence, Guard, Health, Limits, Metric, Watched};
use headwater_prompts::{Input, Promotion, Stage};

use super::evals::{Eval, EvalAsk};
use super::handle::PromptsHandle;
use super::keys::{Mark, Of, PromptKey};
use super::nouns::PromptError;
use super::table::Slot;
use super::usage::service;
use crate::cluster::{Claim, Leases};

/// Whoever has this lease looks at shadows, canaries and guards, and ends experiments.
const LEASE: &[u8] = b"prompts";
/// Whoever has this one runs evals; a node without a gateway never does.
const EVAL_LEASE: &[u8] = b"prompt-evals";
/// Runs of an eval that may be stopped before its gate is not passed.
const EVAL_RUNS: u32 = 6;
/// Requests without which a version before is no measure.
const LEAST_SEEN: u64 = 10;
/// Without a measure, a version that fails more often than this is taken back.
const FAILS_MOSTLY: f64 = 0.5;
/// How often it looks, in ms.
const LOOK_MS: u64 = 500;
/// Chance that the guard takes a version back that is no worse.
const ALPHA: f64 = 0.01;

/// What a look at two versions says.
enum Look {
    Passed(String),
    Failed(String),
    /// Not yet.
    Open,
}

/// What an eval is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Job {
    /// The promotion with this id, in this stage.
    Gate(u64, Stage),
    /// The night of this day.
    Night(u64),
}

type Runs = BTreeMap<(PromptKey, Job), Run>;

#[derive(Debug, Default, Clone, Copy)]
struct Run {
    is_running: bool,
    stopped: u32,
}

/// See the module; cheap to clone.
#[derive(Clone)]
pub struct PromotionRunner {
    prompts: PromptsHandle,
    leases: Leases,
    /// Evals that this process has under way, or that were stopped, with how often.
    running: Arc<Mutex<Runs>>,
    /// Whether this process helps with a run of another one.
    helping: Arc<AtomicBool>,
}

impl PromotionRunner {
    pub fn new(prompts: PromptsHandle, leases: Leases) -> PromotionRunner {
        PromotionRunner { prompts, leases, running: Arc::default(), helping: Arc::default() }
    }

    /// Writes down what this node observed, and runs promotions while it has the lease, until the
    /// node ends.
    pub async fn run(self) {
        let runtime = self.prompts.shared.runtime.clone();
        let mut looked_ms = None;
        loop {
            if let Err(error) = self.prompts.write_observations().await {
                tracing::debug!(%error, "what was observed of prompts is written later");
            }
            let evaluates = self.prompts.shared.gateway.get().is_some();
            if evaluates {
                self.begin_help();
            }
            if evaluates && self.has(EVAL_LEASE).await {
                self.begin_evals();
                self.begin_nights(&mut looked_ms).await;
            }
            if self.has(LEASE).await {
                self.look().await;
            }
            runtime.pause(LOOK_MS).await;
        }
    }

    async fn has(&self, lease: &[u8]) -> bool {
        match self.leases.epoch(lease) {
            Some(_) => true,
            None => matches!(self.leases.claim(lease).await, Claim::Mine { .. }),
        }
    }

    /// Helps with evals that other nodes lead, one batch at a time.
    fn begin_help(&self) {
        if self.helping.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = self.clone();
        self.prompts.shared.runtime.spawn(async move {
            if let Err(error) = this.prompts.help().await {
                tracing::debug!(%error, "an eval of another node is helped with later");
            }
            this.helping.store(false, Ordering::Release);
        });
    }

    fn begin_evals(&self) {
        for (prompt, slot) in self.prompts.in_progress() {
            let waiting =
                |one: &&Promotion| matches!(one.stage, Stage::FastEval | Stage::Regression);
            if let Some(promotion) = slot.promotion.as_ref().filter(waiting) {
                self.begin_eval(&prompt, promotion);
            }
        }
    }

    /// Looks at every promotion in progress, and at experiments that have reached their end.
    pub async fn look(&self) {
        if let Err(error) = self.prompts.expire_experiments().await {
            tracing::debug!(%error, "experiments that have reached their end are ended later");
        }
        for (prompt, slot) in self.prompts.in_progress() {
            let Some(promotion) = &slot.promotion else { continue };
            let looked = match promotion.stage {
                Stage::Shadow => self.shadow(&prompt, &slot, promotion).await,
                Stage::Canary | Stage::Guard => self.guard(&prompt, &slot, promotion).await,
                _ => Ok(()),
            };
            if let Err(error) = looked {
                let PromptKey { team, name } = &prompt;
                tracing::debug!(team, name, %error, "a promotion was not looked at");
            }
        }
    }

    fn begin_eval(&self, prompt: &PromptKey, promotion: &Promotion) {
        let key = (prompt.clone(), Job::Gate(promotion.id, promotion.stage));
        let Some(run) = self.take(&key) else { return };
        let (this, prompt, promotion) = (self.clone(), prompt.clone(), promotion.clone());
        let runtime = self.prompts.shared.runtime.clone();
        self.prompts.shared.runtime.spawn(async move {
            match this.eval(&prompt, &promotion, run.stopped + 1 >= EVAL_RUNS).await {
                Ok(()) => {
                    this.lock().remove(&key);
                }
                Err(why) => {
                    let PromptKey { team, name } = &prompt;
                    tracing::warn!(team, name, why, "an eval of a promotion is tried again");
                    runtime.pause(LOOK_MS << (run.stopped + 2).min(7)).await;
                    let stopped = run.stopped + 1;
                    this.lock().insert(key, Run { is_running: false, stopped });
                }
            }
        });
    }

    /// Notes that a job is under way here; none when it is already.
    fn take(&self, key: &(PromptKey, Job)) -> Option<Run> {
        let mut running = self.lock();
        let run = running.entry(key.clone()).or_default();
        if run.is_running {
            return None;
        }
        run.is_running = true;
        Some(*run)
    }

    fn lock(&self) -> MutexGuard<'_, Runs> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn eval(
        &self,
        prompt: &PromptKey,
        promotion: &Promotion,
        is_last: bool,
    ) -> Result<(), String> {
        let gates = &promotion.gates;
        let Some(set) = &gates.golden_set else { return Ok(()) };
        let is_fast = promotion.stage == Stage::FastEval;
        let ask = EvalAsk {
            version: promotion.version,
            golden_set: set.clone(),
            baseline: None,
            limit: is_fast.then_some(gates.fast_cases as usize),
            budget_micro_usd: None,
            by: promotion.by.clone(),
            caller: service(&prompt.team),
            keeps_stopped: false,
            night: None,
        };
        let outcome = self.gate_eval(prompt, ask).await;
        let (is_passed, detail) = match outcome {
            // Cases that were asked are kept; the rest is asked at the next run.
            Ok(Eval { stopped: Some(why), .. }) if is_last => (false, why),
            Ok(Eval { stopped: Some(why), .. }) => return Err(why),
            Ok(eval) => {
                let score = eval.score.unwrap_or(0.0);
                let detail = format!(
                    "{score:.3} of {:.3} over {} cases (eval {})",
                    gates.min_score, eval.cases, eval.id
                );
                (score >= gates.min_score, detail)
            }
            Err(PromptError::Unknown { what }) => (false, format!("{what} is not there")),
            Err(PromptError::Invalid(problem)) => (false, problem.to_string()),
            Err(error) if is_last && !matches!(error, PromptError::Store(_)) => {
                (false, error.to_string())
            }
            Err(error) => return Err(error.to_string()),
        };
        let given = self.give(prompt, promotion, is_passed, detail).await;
        given.map_err(|error| error.to_string())
    }

    /// An eval by judges that may decide.
    async fn gate_eval(&self, prompt: &PromptKey, ask: EvalAsk) -> Result<Eval, PromptError> {
        let set = ask.golden_set.clone();
        self.prompts.must_gate(prompt, &set).await?;
        let eval = self.prompts.run_eval(prompt, ask).await?;
        // They may have changed since it began.
        if eval.is_unchecked {
            self.prompts.must_gate(prompt, &set).await?;
        }
        Ok(eval)
    }

    /// Tells the promotion what was found out; one that has gone on since is left alone.
    async fn give(
        &self,
        prompt: &PromptKey,
        promotion: &Promotion,
        is_passed: bool,
        detail: String,
    ) -> Result<(), PromptError> {
        let input = Input::Gate { is_passed, detail };
        match self.prompts.take(prompt, promotion.id, Some(promotion.changes), input).await {
            Ok(_) | Err(PromptError::Conflict(_) | PromptError::Unknown { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn shadow(
        &self,
        prompt: &PromptKey,
        slot: &Slot,
        promotion: &Promotion,
    ) -> Result<(), PromptError> {
        let Some(gate) = &promotion.gates.shadow else { return Ok(()) };
        let of = Of::Shadow(promotion.id);
        // It may be another one than when the promotion began.
        let Some(production) = slot.head.production else { return Ok(()) };
        let old = self.prompts.watched(&mark(prompt, production, of)).await?;
        let new = self.prompts.watched(&mark(prompt, promotion.version, of)).await?;
        let (seen, asked) = (old.watched.errors.count, new.watched.errors.count);
        let is_enough = asked >= u64::from(gate.samples) && seen >= LEAST_SEEN;
        let guard = Guard { alpha: ALPHA, ..Guard::default() };
        let look = match guard.look(&old.watched, &new.watched) {
            Health::Worse { metric, evidence } => Look::Failed(worse(metric, &evidence)),
            _ if is_enough => {
                Look::Passed(format!("no worse than version {production} over {asked} requests"))
            }
            _ if new.micro_usd > gate.budget_micro_usd => Look::Failed(format!(
                "its budget of {} micro-USD is used up after {asked} of {} requests; raise it",
                gate.budget_micro_usd, gate.samples
            )),
            _ => Look::Open,
        };
        self.tell(prompt, promotion, look).await
    }

    /// The canary beside production, or the promoted version against the one before it.
    async fn guard(
        &self,
        prompt: &PromptKey,
        slot: &Slot,
        promotion: &Promotion,
    ) -> Result<(), PromptError> {
        let gates = &promotion.gates;
        let measure = match (&gates.live_judge, &gates.golden_set) {
            (Some(_), Some(set)) => self.prompts.measure(&prompt.team, set).await?,
            _ => None,
        };
        let measure = measure.as_ref();
        let own = (promotion.version, promotion.epoch);
        let new = self.prompts.served(prompt, own, measure).await?;
        let before = match promotion.stage {
            Stage::Canary => slot.head.production.map(|one| (one, slot.head.production_since)),
            _ => promotion.from.map(|one| (one, promotion.from_since)),
        };
        let old = match before {
            Some(before) => self.prompts.served(prompt, before, measure).await?,
            None => Watched::default(),
        };
        let now_ms = self.prompts.shared.runtime.wall_ms();
        let is_over = now_ms >= promotion.entered_ms.saturating_add(gates.guard_ms);
        let (seen, asked) = (old.errors.count, new.errors.count);
        let fails_mostly = asked >= LEAST_SEEN && new.errors.rate() > FAILS_MOSTLY;
        let look = match guard_after().look(&old, &new) {
            Health::Worse { metric, evidence } => Look::Failed(worse(metric, &evidence)),
            _ if seen < LEAST_SEEN && fails_mostly => Look::Failed(format!(
                "error rate {:.1} %, with nothing to compare with",
                new.errors.rate() * 100.0
            )),
            _ if is_over && seen < LEAST_SEEN => {
                Look::Passed(format!("{asked} requests, with nothing to compare with"))
            }
            _ if is_over => Look::Passed(format!(
                "no worse over {asked} requests{}",
                gates.live_judge.map(|_| judged(&old, &new)).unwrap_or_default()
            )),
            _ => Look::Open,
        };
        self.tell(prompt, promotion, look).await
    }

    async fn tell(
        &self,
        prompt: &PromptKey,
        promotion: &Promotion,
        look: Look,
    ) -> Result<(), PromptError> {
        match look {
            Look::Passed(detail) => self.give(prompt, promotion, true, detail).await,
            Look::Failed(detail) => self.give(prompt, promotion, false, detail).await,
            Look::Open => Ok(()),
        }
    }
}

fn mark(prompt: &PromptKey, version: u64, of: Of) -> Mark {
    Mark { prompt: prompt.clone(), version, of }
}

/// Traffic from before is of another time of day, so that what is compared with it may differ by
/// more before it counts.
fn guard_after() -> Guard {
    let margins = Limits {
        error_rate: 0.02,
        latency_ratio: 1.5,
        judge_score: 0.02,
        bad_answers: 0.02,
        cost_ratio: 1.25,
    };
    let limits = Limits {
        error_rate: 0.1,
        latency_ratio: 2.0,
        judge_score: 0.1,
        bad_answers: 0.1,
        cost_ratio: 2.0,
    };
    Guard { alpha: ALPHA, margins, limits, ..Guard::default() }
}

/// What a judge made of the answers of both versions, for whoever reads how a watch ended.
fn judged(old: &Watched, new: &Watched) -> String {
    let (before, now) = (old.bad.count, new.bad.count);
    if before < LEAST_SEEN || now < LEAST_SEEN {
        return format!(
            "; too few judged answers to compare, {now} against {before} of the version before"
        );
    }
    let (score, was) = (new.judge_score.mean, old.judge_score.mean);
    format!("; judge score {score:.3} over {now} answers against {was:.3} over {before}")
}

fn worse(metric: Metric, evidence: &Evidence) -> String {
    let Evidence { old, new, .. } = evidence;
    match metric {
        Metric::ErrorRate => {
            format!("error rate {:.1} % against {:.1} %", new * 100.0, old * 100.0)
        }
        Metric::Latency => format!("latency {new:.0} ms against {old:.0} ms"),
        Metric::JudgeScore => format!("judge score {new:.3} against {old:.3}"),
        Metric::BadAnswers => {
            format!("bad answers {:.1} % against {:.1} %", new * 100.0, old * 100.0)
        }
        Metric::Cost => format!("cost {new:.0} against {old:.0} micro-USD a request"),
    }
}
