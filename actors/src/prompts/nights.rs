//! Evals by night: the version in production is asked all cases of its golden set once a day. The
//! day is counted in the same transaction that keeps its run, so a runner that died leaves the day
//! to the next one, and of two runners one is counted.

use std::collections::BTreeMap;

use headwater_prompts::{Event, Nightly, Problem};
use headwater_storage::StoreError;

use super::evals::{Eval, EvalAsk};
use super::golden::info;
use super::handle::PromptsHandle;
use super::keys::PromptKey;
use super::nouns::PromptError;
use super::usage::service;
use crate::mutants::{Mutant, planted};

/// Who asks by night.
const BY: &str = "headwater, nightly";

/// A run that is due.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Night {
    /// Counted from 1970.
    pub(super) day: u64,
    pub(super) version: u64,
    pub(super) golden_set: String,
    pub(super) min_score: f64,
    pub(super) budget_micro_usd: u64,
}

impl PromptsHandle {
    /// Prompts whose run is due.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn due_nights(&self) -> Result<Vec<(PromptKey, Night)>, PromptError> {
        let now_ms = self.shared.runtime.wall_ms();
        let candidates: Vec<(PromptKey, Night, Option<u64>)> = {
            let table = self.shared.table();
            let all = table.all().filter_map(|(prompt, slot)| {
                let (head, gates) = (&slot.head, &slot.head.gates);
                let (version, golden_set) = (head.production?, gates.golden_set.clone()?);
                let (min_score, budget_micro_usd, day) = (gates.min_score, 0, 0);
                let night = Night { day, version, golden_set, min_score, budget_micro_usd };
                Some((prompt, night, head.last_night))
            });
            all.collect()
        };
        let mut known: BTreeMap<(String, String), Option<Nightly>> = BTreeMap::new();
        let mut due = Vec::new();
        for (prompt, night, done) in candidates {
            let set = (prompt.team.clone(), night.golden_set.clone());
            let nightly = match known.get(&set) {
                Some(nightly) => *nightly,
                None => {
                    let nightly = self.nightly(&set.0, &set.1).await?;
                    known.insert(set, nightly);
                    nightly
                }
            };
            let Some(nightly) = nightly else { continue };
            if let Some(day) = nightly.due(now_ms, done) {
                let budget_micro_usd = nightly.budget_micro_usd;
                due.push((prompt, Night { day, budget_micro_usd, ..night }));
            }
        }
        Ok(due)
    }

    async fn nightly(&self, team: &str, set: &str) -> Result<Option<Nightly>, StoreError> {
        let read = self.shared.retry.read(|transaction| {
            let (team, set) = (team.to_owned(), set.to_owned());
            Box::pin(async move { info(transaction, &team, &set).await })
        });
        Ok(read.await?.and_then(|info| info.nightly))
    }

    /// Runs a night, and counts it unless somebody has done so.
    ///
    /// # Errors
    /// In words, when it is to be tried again: never for the last try.
    pub(super) async fn run_night(
        &self,
        prompt: &PromptKey,
        night: &Night,
        is_last: bool,
    ) -> Result<(), String> {
        let ask = EvalAsk {
            version: night.version,
            golden_set: night.golden_set.clone(),
            baseline: None,
            limit: None,
            budget_micro_usd: Some(night.budget_micro_usd),
            by: BY.to_owned(),
            caller: service(&prompt.team),
            keeps_stopped: true,
            night: Some(night.day),
        };
        let eval = self.run_eval(prompt, ask).await.map_err(|error| error.to_string())?;
        let is_out_of_budget = eval.micro_usd >= night.budget_micro_usd;
        if let Some(why) = eval.stopped.clone().filter(|_| !is_last && !is_out_of_budget) {
            return Err(why);
        }
        match self.count_night(prompt, night, eval).await {
            Ok(()) | Err(PromptError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn count_night(
        &self,
        prompt: &PromptKey,
        night: &Night,
        eval: Eval,
    ) -> Result<(), PromptError> {
        let told = failure(night, &eval);
        let event = told.clone();
        let day = night.day;
        self.change(prompt, move |draft| {
            // Somebody else's run was counted, or the prompt is gone.
            let is_counted = draft.head.last_night.is_some_and(|last| last >= day);
            let is_counted = is_counted && !planted(Mutant::NightNotCounted);
            if !draft.exists || is_counted {
                let problem = "was run by somebody else for this day";
                return Err(PromptError::Conflict(Problem::new("nightly", problem)));
            }
            draft.head.last_night = Some(day);
            draft.eval = Some(eval.clone());
            draft.events.extend(event.clone().map(|told| (Event::NightlyFailed, told)));
            Ok(())
        })
        .await?;
        if let Some(told) = told {
            self.shared.metrics.event(Event::NightlyFailed.name());
            let PromptKey { team, name } = prompt;
            tracing::warn!(alert = "nightly_failed", team, name, told, "prompt");
        }
        // The run holds what its cases came to.
        let range = prompt.nights_through(day);
        let cleared = self.shared.retry.write_idempotent(|transaction| {
            let range = range.clone();
            Box::pin(async move { transaction.clear_range(&range) })
        });
        if let Err(error) = cleared.await {
            tracing::debug!(%error, "cases of a night are cleared with those of the next one");
        }
        Ok(())
    }
}

/// What somebody should hear of a night; nothing of a good one.
fn failure(night: &Night, eval: &Eval) -> Option<String> {
    let Night { version, golden_set, min_score, .. } = night;
    let of = format!("version {version} over {} cases of '{golden_set}'", eval.cases);
    match (&eval.stopped, eval.score) {
        (Some(why), _) => Some(format!("{of} was stopped after {} of them: {why}", eval.finished)),
        (None, Some(_)) if eval.is_unchecked => Some(format!(
            "{of} was judged by judges that changed and are compared with nothing; check them"
        )),
        (None, Some(score)) if score < *min_score => {
            Some(format!("{of} has {score:.3} of {min_score:.3}"))
        }
        _ => None,
    }
}
