//! Judges that changed, compared with those before by answers that were judged already, the
//! anchors. Until a comparison is passed, or somebody takes the new judges as they are, they pass
//! and stop no version.

mod rejudging;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use headwater_prompts::{
    Case, Drift, GoldenSet, MOST_ANCHORS, Problem, Rescored, judge_changes, judged_now,
};
use headwater_storage::StoreError;
use headwater_storage::retry::Applied;
use serde::{Deserialize, Serialize};

use super::cases::{ANSWER_BYTES, request_of};
use super::golden::confirm_judges;
use super::handle::PromptsHandle;
use super::keys::{self, PromptKey};
use super::manage::check_length;
use super::nouns::{Actor, PromptError};
use super::records;
use super::usage::question_of;
use crate::gateway::Caller;
use rejudging::Rejudged;

/// Answers that a record tells of, those first that flipped.
const TOLD: usize = 50;

/// What a comparison is to do.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgeCheckAsk {
    /// Whose evals have the anchors.
    pub prompt: String,
    /// These of them; the newest without any.
    pub evals: Vec<u64>,
    pub budget_micro_usd: Option<u64>,
    /// Who pays.
    pub caller: Caller,
}

/// Somebody who takes judges as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    pub by: String,
    pub reason: String,
    /// Since 1970.
    pub at_ms: u64,
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgeCheck {
    pub id: u64,
    pub golden_set: String,
    pub golden_version: u64,
    /// The version whose judges decide so far.
    pub baseline: u64,
    pub prompt: String,
    pub changes: Vec<String>,
    /// None when no anchor was judged.
    pub drift: Option<Drift>,
    /// Why the new judges must not decide; nothing when they may.
    pub problems: Vec<String>,
    pub answers: Vec<Rescored>,
    pub micro_usd: u64,
    pub by: String,
    /// Since 1970.
    pub created_ms: u64,
    pub accepted: Option<Accepted>,
}

/// An answer that was judged, as it is judged again.
struct Anchor {
    eval: u64,
    case: Case,
    question: String,
    answer: String,
    /// The baseline's, where it was compared with one and that is kept whole.
    beside: Option<String>,
    old: f64,
}

/// What was cut is not what was judged.
fn is_whole(answer: &str) -> bool {
    !answer.is_empty() && answer.len() + 4 < ANSWER_BYTES
}

impl PromptsHandle {
    /// Refuses a set whose judges must not decide.
    ///
    /// # Errors
    /// [`PromptError::Conflict`] that says what to run, [`PromptError::Unknown`] and the store's.
    pub(super) async fn must_gate(&self, prompt: &PromptKey, set: &str) -> Result<(), PromptError> {
        let golden = self.golden_set(&prompt.team, set).await?;
        if golden.may_gate() {
            return Ok(());
        }
        let checks = self.judge_checks(&prompt.team, set).await?;
        let looked = checks.iter().find(|check| check.golden_version == golden.version);
        let (baseline, name) = (golden.baseline, &prompt.name);
        let why = match looked {
            Some(check) => format!("are too far from those before: {}", check.problems.join("; ")),
            None => "have judged none of the answers that those before judged".to_owned(),
        };
        let run = match looked {
            Some(check) => format!(
                "put the judges of version {baseline} back, or have somebody else take them as \
                 they are by `headwater prompts golden accept --golden-set {set} {}`",
                check.id
            ),
            None => format!(
                "run `headwater prompts golden check --golden-set {set} --prompt {name}`, or POST \
                 /v1/golden/{set}/judge-checks"
            ),
        };
        let problem =
            format!("the judges of '{set}' changed after version {baseline} and {why}; {run}");
        Err(PromptError::Conflict(Problem::new("gates.golden_set", problem)))
    }

    /// Comparisons of a set's judges, the newest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn judge_checks(
        &self,
        team: &str,
        set: &str,
    ) -> Result<Vec<JudgeCheck>, PromptError> {
        self.newest(keys::judge_checks(team, set)).await
    }

    /// Has the set's judges judge what those before them judged. When they say nearly the same they
    /// decide from now on.
    ///
    /// # Errors
    /// [`PromptError::Conflict`] when nothing has changed, [`PromptError::NoModels`],
    /// [`PromptError::Unknown`] and the store's.
    pub async fn check_judges(
        &self,
        actor: &Actor,
        team: &str,
        set: &str,
        ask: JudgeCheckAsk,
    ) -> Result<JudgeCheck, PromptError> {
        if self.shared.gateway.get().is_none() {
            return Err(PromptError::NoModels);
        }
        let golden = self.golden_set(team, set).await?;
        if golden.may_gate() {
            let version = golden.version;
            let problem = format!("has judges that decide already, in version {version}");
            return Err(PromptError::Conflict(Problem::new("golden_set", problem)));
        }
        let before = self.golden_cases(team, set, golden.baseline).await?;
        let prompt = PromptKey::new(team, &ask.prompt);
        let anchors = self.anchors(&prompt, (set, &before, &golden), &ask.evals).await?;
        let rejudged = self.rejudge(anchors, (&before, &golden.cases), &ask).await;
        let Rejudged { mut answers, micro_usd, mut problems } = rejudged;
        let drift = Drift::of(&answers);
        match &drift {
            Some(drift) => problems.extend(drift.problems()),
            None => problems.push(format!(
                "no whole answer of '{}' that judges of version {} judged is kept",
                ask.prompt, golden.baseline
            )),
        }
        answers.sort_by_key(|one| !one.is_flipped());
        answers.truncate(TOLD);
        let check = JudgeCheck {
            id: 0,
            golden_set: set.to_owned(),
            golden_version: golden.version,
            baseline: golden.baseline,
            prompt: ask.prompt,
            changes: judge_changes(&before, &golden.cases),
            drift,
            problems,
            answers,
            micro_usd,
            by: actor.name.clone(),
            created_ms: self.shared.runtime.wall_ms(),
            accepted: None,
        };
        self.keep_check(team, set, check).await
    }

    /// Answers that the judges of the baseline judged, the newest evals' first, each once.
    async fn anchors(
        &self,
        prompt: &PromptKey,
        (set, before, golden): (&str, &[Case], &GoldenSet),
        wanted: &[u64],
    ) -> Result<Vec<Anchor>, PromptError> {
        let mut sets: BTreeMap<u64, Vec<Case>> = BTreeMap::new();
        let (mut seen, mut anchors) = (BTreeSet::new(), Vec::new());
        for head in self.evals(prompt).await? {
            let is_wanted = wanted.is_empty() || wanted.contains(&head.id);
            if head.golden_set != set || !is_wanted || anchors.len() >= MOST_ANCHORS {
                continue;
            }
            let eval = self.eval(prompt, head.id).await?;
            let (_, ready) = self.version(prompt, eval.version).await?;
            let asked = match sets.entry(eval.golden_version) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    new.insert(self.golden_cases(&prompt.team, set, eval.golden_version).await?)
                }
            };
            let asked: BTreeMap<&str, &Case> =
                asked.iter().map(|case| (case.id.as_str(), case)).collect();
            for result in eval.results {
                let Some(case) = asked.get(result.case.as_str()) else { continue };
                let was = before.iter().find(|old| old.id == case.id);
                let is_old = was.is_some_and(|old| old.is_judged_as(case));
                if !is_old
                    || !is_whole(&result.answer)
                    || judged_now(case, before, &golden.cases).is_none()
                {
                    continue;
                }
                let Ok(request) = request_of(&ready, case) else { continue };
                if anchors.len() < MOST_ANCHORS
                    && seen.insert((case.id.clone(), result.answer.clone()))
                {
                    anchors.push(Anchor {
                        eval: eval.id,
                        case: (*case).clone(),
                        question: question_of(&request),
                        answer: result.answer,
                        beside: result
                            .pair
                            .map(|pair| pair.answer)
                            .filter(|answer| is_whole(answer)),
                        old: result.score,
                    });
                }
            }
        }
        Ok(anchors)
    }

    async fn keep_check(
        &self,
        team: &str,
        set: &str,
        check: JudgeCheck,
    ) -> Result<JudgeCheck, PromptError> {
        let operation = self.shared.operation();
        let written = self.shared.retry.write(operation, |transaction| {
            let (team, set, mut check) = (team.to_owned(), set.to_owned(), check.clone());
            Box::pin(async move {
                let range = keys::judge_checks(&team, &set);
                let newest: Vec<JudgeCheck> = records::newest(transaction, range, 1).await?;
                check.id = newest.first().map_or(0, |newest| newest.id) + 1;
                if check.problems.is_empty()
                    && !confirm_judges(transaction, &team, &set, check.golden_version).await?
                {
                    check.problems.push("the set has a newer version since; look again".to_owned());
                }
                let key = keys::judge_check(&team, &set, check.id);
                transaction.set(&key, &records::encode(&check)?)?;
                Ok(check)
            })
        });
        match written.await? {
            Applied::Now(check) => Ok(check),
            Applied::Earlier => Err(StoreError::CommitUnknown.into()),
        }
    }

    /// Takes judges as they are, however far they are from those before.
    ///
    /// # Errors
    /// [`PromptError::Conflict`] for whoever changed them, or when they are no longer the newest;
    /// [`PromptError::Unknown`] and the store's.
    pub async fn accept_judges(
        &self,
        actor: &Actor,
        (team, set, id): (&str, &str, u64),
        reason: &str,
    ) -> Result<JudgeCheck, PromptError> {
        check_length("reason", reason)?;
        if reason.trim().is_empty() {
            let problem = "is missing; say why the new judges are taken as they are";
            return Err(Problem::new("reason", problem).into());
        }
        let checks = self.judge_checks(team, set).await?;
        let unknown = || PromptError::Unknown {
            what: format!("the judge check {id} of the golden set '{set}'"),
        };
        let check = checks.into_iter().find(|check| check.id == id).ok_or_else(unknown)?;
        let golden = self.golden_set(team, set).await?;
        let refused = |problem: &str| PromptError::Conflict(Problem::new("judge_check", problem));
        if golden.by == actor.name {
            return Err(refused(
                "needs a second person: who wrote the set's version does not take its judges; ask \
                 somebody else",
            ));
        }
        let (by, at_ms) = (actor.name.clone(), self.shared.runtime.wall_ms());
        let accepted = Accepted { by, reason: reason.to_owned(), at_ms };
        let check = JudgeCheck { accepted: Some(accepted), ..check };
        let operation = self.shared.operation();
        let written = self.shared.retry.write(operation, |transaction| {
            let (team, set, check) = (team.to_owned(), set.to_owned(), check.clone());
            Box::pin(async move {
                if !confirm_judges(transaction, &team, &set, check.golden_version).await? {
                    return Ok(None);
                }
                let key = keys::judge_check(&team, &set, check.id);
                transaction.set(&key, &records::encode(&check)?)?;
                Ok(Some(check))
            })
        });
        match written.await? {
            Applied::Now(Some(check)) => Ok(check),
            Applied::Now(None) => {
                Err(refused("is of an older version of the set; check the newest one"))
            }
            Applied::Earlier => Err(StoreError::CommitUnknown.into()),
        }
    }
}
