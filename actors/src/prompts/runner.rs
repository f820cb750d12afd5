//! The runner: finds out what promotions wait for. One node at a time runs them, by a lease; what
//! it finds out is taken only by the stage that it belongs to, so a runner that was slow, or two of
//! them, double nothing. What it holds in memory may be lost at any time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use headwater_prompts::sequential::{Evidence, Guard, Health, Limits, Metric, Watched};
use headwater_prompts::{Input, Promotion, Stage};

use super::evals::{Eval, EvalAsk};
use super::handle::PromptsHandle;
use super::keys::{Mark, Of, PromptKey};
use super::nouns::PromptError;
use super::table::Slot;
use crate::cluster::{Claim, Leases};

/// Whoever has this lease runs promotions.
const LEASE: &[u8] = b"prompts";
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

/// See the module; cheap to clone.
#[derive(Clone)]
pub struct PromotionRunner {
    prompts: PromptsHandle,
    leases: Leases,
    /// Evals that this process has under way.
    running: Arc<Mutex<BTreeSet<(PromptKey, u64)>>>,
}

impl PromotionRunner {
    pub fn new(prompts: PromptsHandle, leases: Leases) -> PromotionRunner {
        PromotionRunner { prompts, leases, running: Arc::default() }
    }

    /// Writes down what this node observed, and runs promotions while it has the lease, until the
    /// node ends.
    pub async fn run(self) {
        let runtime = self.prompts.shared.runtime.clone();
        loop {
            if let Err(error) = self.prompts.write_observations().await {
                tracing::debug!(%error, "what was observed of prompts is written later");
            }
            let is_mine = match self.leases.epoch(LEASE) {
                Some(_) => true,
                None => matches!(self.leases.claim(LEASE).await, Claim::Mine { .. }),
            };
            if is_mine {
                self.look().await;
            }
            runtime.pause(LOOK_MS).await;
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
                Stage::FastEval | Stage::Regression => {
                    self.begin_eval(&prompt, promotion);
                    Ok(())
                }
                Stage::Shadow => self.shadow(&prompt, promotion).await,
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
        let key = (prompt.clone(), promotion.id);
        let begins = self.lock().insert(key.clone());
        if !begins {
            return;
        }
        let (this, prompt, promotion) = (self.clone(), prompt.clone(), promotion.clone());
        self.prompts.shared.runtime.spawn(async move {
            if let Err(error) = this.eval(&prompt, &promotion).await {
                let PromptKey { team, name } = &prompt;
                tracing::warn!(team, name, %error, "an eval of a promotion is tried again");
                this.prompts.shared.runtime.pause(10 * LOOK_MS).await;
            }
            this.lock().remove(&key);
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<(PromptKey, u64)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn eval(&self, prompt: &PromptKey, promotion: &Promotion) -> Result<(), PromptError> {
        let gates = &promotion.gates;
        let Some(set) = &gates.golden_set else { return Ok(()) };
        let is_fast = promotion.stage == Stage::FastEval;
        let ask = EvalAsk {
            version: promotion.version,
            golden_set: set.clone(),
            limit: is_fast.then_some(gates.fast_cases as usize),
            budget_micro_usd: None,
            by: promotion.by.clone(),
        };
        let outcome = self.prompts.run_eval(prompt, ask).await;
        let (is_passed, detail) = match outcome {
            Ok(Eval { stopped: Some(_), .. }) => {
                // Cases that were asked are kept; the rest is asked at the next look.
                return Err(PromptError::NoModels);
            }
            Ok(eval) => {
                let score = eval.score.unwrap_or(0.0);
                let detail = format!(
                    "{score:.3} of {:.3} over {} cases (eval {})",
                    gates.min_score, eval.cases, eval.id
                );
                (score >= gates.min_score, detail)
            }
            Err(PromptError::Unknown { what }) => (false, format!("{what} is not there")),
            Err(error) => return Err(error),
        };
        self.give(prompt, promotion, is_passed, detail).await
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

    async fn shadow(&self, prompt: &PromptKey, promotion: &Promotion) -> Result<(), PromptError> {
        let Some(gate) = &promotion.gates.shadow else { return Ok(()) };
        let of = Of::Shadow(promotion.id);
        let Some(production) = promotion.from else { return Ok(()) };
        let old = self.prompts.watched(&mark(prompt, production, of)).await?;
        let new = self.prompts.watched(&mark(prompt, promotion.version, of)).await?;
        let asked = new.errors.count;
        // Amounts are summed as ln(1 + amount); their mean is of that kind, too.
        let spent = new.cost.mean.exp_m1() * new.cost.count as f64;
        let look = match (Guard { alpha: ALPHA, ..Guard::default() }).look(&old, &new) {
            Health::Worse { metric, evidence } => Look::Failed(worse(metric, &evidence)),
            _ if asked >= u64::from(gate.samples) => {
                Look::Passed(format!("no worse than version {production} over {asked} requests"))
            }
            _ if spent > gate.budget_micro_usd as f64 => Look::Failed(format!(
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
        let new = mark(prompt, promotion.version, Of::Served(promotion.epoch));
        let new = self.prompts.watched(&new).await?;
        let old = match (promotion.stage, promotion.from) {
            (Stage::Canary, Some(production)) => {
                let since = slot.head.production_since;
                self.prompts.watched(&mark(prompt, production, Of::Served(since))).await?
            }
            (_, Some(before)) => {
                let since = promotion.from_since;
                self.prompts.watched(&mark(prompt, before, Of::Served(since))).await?
            }
            (_, None) => Watched::default(),
        };
        let now_ms = self.prompts.shared.runtime.wall_ms();
        let is_over = now_ms >= promotion.entered_ms.saturating_add(promotion.gates.guard_ms);
        let look = match guard_after().look(&old, &new) {
            Health::Worse { metric, evidence } => Look::Failed(worse(metric, &evidence)),
            _ if is_over => Look::Passed(format!("no worse over {} requests", new.errors.count)),
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
    let margins =
        Limits { error_rate: 0.02, latency_ratio: 1.5, judge_score: 0.02, cost_ratio: 1.25 };
    let limits = Limits { error_rate: 0.1, latency_ratio: 2.0, judge_score: 0.1, cost_ratio: 2.0 };
    Guard { alpha: ALPHA, margins, limits, ..Guard::default() }
}

fn worse(metric: Metric, evidence: &Evidence) -> String {
    let Evidence { old, new, .. } = evidence;
    match metric {
        Metric::ErrorRate => {
            format!("error rate {:.1} % against {:.1} %", new * 100.0, old * 100.0)
        }
        Metric::Latency => format!("latency {new:.0} ms against {old:.0} ms"),
        Metric::JudgeScore => format!("judge score {new:.3} against {old:.3}"),
        Metric::Cost => format!("cost {new:.0} against {old:.0} micro-USD a request"),
    }
}
