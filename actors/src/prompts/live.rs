//! Judging what users got: a share of the answers of production and of a canary is judged after
//! it was given, in the background, and the scores are kept beside what else is observed of their
//! version. How many are judged, and for how much, is one row for all nodes.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use headwater_prompts::live::{Full, Judgings, LiveJudge, Measure};
use headwater_prompts::sequential::Watched;
use headwater_prompts::{Gates, Problem, Score};
use headwater_storage::retry::Applied;
use headwater_storage::{ReadMode, StoreError};

use super::golden::{cases_of, info};
use super::handle::PromptsHandle;
use super::judging::Judging;
use super::keys::{Mark, Of, PromptKey};
use super::nouns::{Chosen, PromptError, Resolved};
use super::records;
use super::usage::service;
use crate::gateway::Observed;

const MINUTE_MS: u64 = 60_000;
/// How long a set's judge is taken as it was read, in ms.
const MEASURE_MS: u64 = 5_000;
/// Sets whose judges are remembered, and prompts whose minutes are.
const KNOWN: usize = 1_000;

/// What this process remembers, so that the store is not asked for every answer.
#[derive(Debug, Default)]
pub(super) struct LiveMemory {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By team and set: when it was read, and what it said.
    measures: BTreeMap<(String, String), (u64, Option<Measure>)>,
    /// The minute, counted from 1970, and places that this process asked for in it.
    minutes: BTreeMap<PromptKey, (u64, u32)>,
}

impl LiveMemory {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this process may ask the store for another place in this minute.
    fn may_ask(&self, prompt: &PromptKey, most: &LiveJudge, now_ms: u64) -> bool {
        let mut state = self.lock();
        if state.minutes.len() >= KNOWN && !state.minutes.contains_key(prompt) {
            state.minutes.clear();
        }
        let minute = now_ms / MINUTE_MS;
        let known = state.minutes.entry(prompt.clone()).or_default();
        if known.0 != minute {
            *known = (minute, 0);
        }
        known.1 = known.1.saturating_add(1);
        known.1 <= most.per_minute
    }

    /// Asks for nothing more in this minute.
    fn is_full(&self, prompt: &PromptKey, now_ms: u64) {
        self.lock().minutes.insert(prompt.clone(), (now_ms / MINUTE_MS, u32::MAX));
    }
}

/// An answer that is to be judged once it is there.
pub(super) struct Live {
    pub(super) prompt: PromptKey,
    pub(super) version: u64,
    /// The move since which users get this version.
    pub(super) since: u64,
    pub(super) question: String,
}

impl PromptsHandle {
    /// Whether this request's answer is drawn to be judged.
    pub(super) fn is_judged(&self, prompt: &PromptKey, resolved: &Resolved) -> bool {
        let is_served = matches!(resolved.chosen, Chosen::Production | Chosen::Canary);
        let live = self.slot(prompt).and_then(|slot| slot.head.gates.live_judge);
        let Some(live) = live.filter(|_| is_served && self.shared.gateway.get().is_some()) else {
            return false;
        };
        self.shared.runtime.environment().draw() % 1_000 < u64::from(live.per_mille)
    }

    /// Judges an answer that its user has got. What goes wrong here is nobody's matter.
    pub(super) async fn judge_live(&self, live: Live, observed: Observed) {
        // A call of a tool says nothing that a judge could read.
        if observed.failed || observed.said.is_empty() {
            return;
        }
        let Ok(_permit) = self.shared.shadows.try_acquire() else { return };
        let Live { prompt, version, since, question } = live;
        let gates = self.slot(&prompt).map(|slot| slot.head.gates.clone());
        let Some(Gates { live_judge: Some(most), golden_set: Some(set), .. }) = gates else {
            return;
        };
        let measure = match self.measure(&prompt.team, &set).await {
            Ok(Some(measure)) => measure,
            Ok(None) => return,
            Err(error) => return tracing::debug!(%error, "the judge of live answers was not read"),
        };
        match self.take_place(&prompt, &most).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return tracing::debug!(%error, "a live answer is not judged"),
        }
        let Some(judging) = Judging::of(&measure.judge) else { return };
        let words = [
            ("question", question.as_str()),
            ("answer", observed.said.as_str()),
            ("expected", ""),
            ("rubric", measure.rubric.as_str()),
        ];
        let said = match self.ask_judge(&service(&prompt.team), judging, &words).await {
            Ok(said) => said,
            Err(why) => {
                self.shared.metrics.judged("failed");
                return tracing::debug!(why, "a live answer could not be judged");
            }
        };
        if let Err(error) = self.pay(&prompt, said.micro_usd).await {
            tracing::warn!(%error, "what judging a live answer cost is not in its day's budget");
        }
        match Score::read(&said.said) {
            Ok(score) => {
                self.shared.metrics.judged("judged");
                let of = Of::Judged(since, measure.fingerprint());
                let mark = Mark { prompt, version, of };
                let judging = Observed { said: String::new(), ..said };
                self.observe(&mark, &judging, Some(score.value));
            }
            Err(problem) => {
                self.shared.metrics.judged("failed");
                tracing::debug!(%problem, "a live answer could not be judged");
            }
        }
    }

    /// Takes one of the minute's places, if there is one and the day's budget is not used up.
    async fn take_place(&self, prompt: &PromptKey, most: &LiveJudge) -> Result<bool, StoreError> {
        let now_ms = self.shared.runtime.wall_ms();
        if !self.shared.live.may_ask(prompt, most, now_ms) {
            return Ok(false);
        }
        let operation = self.shared.operation();
        let taken = self.shared.retry.write(operation, |transaction| {
            let (key, most) = (prompt.judgings(), *most);
            Box::pin(async move {
                let row = transaction.get(&key, ReadMode::Serializable).await?;
                let mut used: Judgings =
                    row.as_deref().map(records::decode).transpose()?.unwrap_or_default();
                let taken = used.take(&most, now_ms);
                if taken.is_ok() {
                    transaction.set(&key, &records::encode(&used)?)?;
                }
                Ok(taken)
            })
        });
        match taken.await? {
            Applied::Now(Ok(())) => Ok(true),
            Applied::Now(Err(full)) => {
                if full == Full::Budget {
                    self.shared.metrics.judged("over_budget");
                }
                self.shared.live.is_full(prompt, now_ms);
                Ok(false)
            }
            // A place that may have been taken is left empty.
            Applied::Earlier => Ok(false),
        }
    }

    async fn pay(&self, prompt: &PromptKey, micro_usd: u64) -> Result<(), StoreError> {
        let now_ms = self.shared.runtime.wall_ms();
        let operation = self.shared.operation();
        let paid = self.shared.retry.write(operation, |transaction| {
            let key = prompt.judgings();
            Box::pin(async move {
                let row = transaction.get(&key, ReadMode::Serializable).await?;
                let mut used: Judgings =
                    row.as_deref().map(records::decode).transpose()?.unwrap_or_default();
                used.pay(micro_usd, now_ms);
                transaction.set(&key, &records::encode(&used)?)
            })
        });
        paid.await.map(|_| ())
    }

    /// What live answers are judged by: the one judging model of a set, in the version whose judges
    /// may decide. None where there is no such one.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn measure(
        &self,
        team: &str,
        set: &str,
    ) -> Result<Option<Measure>, StoreError> {
        let name = (team.to_owned(), set.to_owned());
        let now_ms = self.shared.runtime.now_ms();
        if let Some((read_ms, measure)) = self.shared.live.lock().measures.get(&name)
            && now_ms < read_ms.saturating_add(MEASURE_MS)
        {
            return Ok(measure.clone());
        }
        let measure = self.read_measure(team, set).await?.and_then(Result::ok);
        let mut state = self.shared.live.lock();
        if state.measures.len() >= KNOWN {
            state.measures.clear();
        }
        state.measures.insert(name, (now_ms, measure.clone()));
        Ok(measure)
    }

    async fn read_measure(
        &self,
        team: &str,
        set: &str,
    ) -> Result<Option<Result<Measure, Problem>>, StoreError> {
        let read = self.shared.retry.read(|transaction| {
            let (team, set) = (team.to_owned(), set.to_owned());
            Box::pin(async move {
                let Some(info) = info(transaction, &team, &set).await? else { return Ok(None) };
                let cases = cases_of(transaction, &team, &set, info.baseline()).await?;
                Ok(Some(Measure::of(&cases)))
            })
        });
        read.await
    }

    /// Refuses gates whose live answers nobody could judge.
    ///
    /// # Errors
    /// [`PromptError::Invalid`] for `gates.live_judge`, and the store's.
    pub(super) async fn check_live(&self, team: &str, gates: &Gates) -> Result<(), PromptError> {
        let (Some(_), Some(set)) = (&gates.live_judge, &gates.golden_set) else { return Ok(()) };
        match self.read_measure(team, set).await? {
            Some(measure) => Ok(measure.map(drop)?),
            None => {
                let problem = format!("needs the golden set '{set}', which is not there; put it");
                Err(Problem::new("gates.live_judge", problem).into())
            }
        }
    }

    /// How a version did among users, with what this measure makes of its answers.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn served(
        &self,
        prompt: &PromptKey,
        (version, since): (u64, u64),
        measure: Option<&Measure>,
    ) -> Result<Watched, StoreError> {
        let mark = |of| Mark { prompt: prompt.clone(), version, of };
        let served = self.watched(&mark(Of::Served(since))).await?.watched;
        let Some(measure) = measure else { return Ok(served) };
        let of = Of::Judged(since, measure.fingerprint());
        let Watched { judge_score, bad, .. } = self.watched(&mark(of)).await?.watched;
        Ok(Watched { judge_score, bad, ..served })
    }
}
