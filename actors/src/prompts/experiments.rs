//! Experiments on a prompt: begun, told about, ended.

use std::collections::{BTreeMap, BTreeSet};

use headwater_prompts::experiment::{
    Analysis, Assignment, DEFAULT_DURATION_MS, Ending, Experiment, Goal, Holdout, Request, Segment,
    Share, State, Summary, Unit, Variant, analyse, check, expire,
};
use headwater_prompts::{Event, Problem};
use headwater_storage::retry::{Applied, OperationId};
use headwater_storage::{RangeRead, ReadMode, StoreError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::handle::PromptsHandle;
use super::keys::PromptKey;
use super::nouns::{Actor, PromptError};
use super::records;

/// Most experiments that run on one prompt at a time.
const RUNNING: usize = 20;
/// Chance that an experiment without a difference ever shows one.
const ALPHA: f64 = 0.05;
/// Rows that what is told of an experiment is spread over.
const SHARDS: u64 = 16;
/// Bytes of a unit's name.
const UNIT_BYTES: usize = 256;
const HOUR_MS: u64 = 60 * 60 * 1000;

/// An experiment that somebody begins.
#[derive(Debug, Clone, PartialEq)]
pub struct ExperimentAsk {
    pub name: String,
    /// Who is told when it ends.
    pub owner: String,
    pub variants: Vec<Variant>,
    pub control: String,
    pub unit: Unit,
    pub segments: Vec<Segment>,
    pub layer: Option<String>,
    pub share: Option<Share>,
    pub holdout: Option<Holdout>,
    /// 14 days without it.
    pub duration_ms: Option<u64>,
    pub goals: Vec<Goal>,
}

/// What somebody says about an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Feedback {
    /// All of the prompt that run and have the goal, without it.
    pub experiment: Option<String>,
    /// The user or the request that was assigned.
    pub unit: String,
    pub goal: String,
    pub value: f64,
}

/// An experiment and what came out so far.
#[derive(Debug, Clone)]
pub struct Analysed {
    pub experiment: Experiment,
    pub analysis: Analysis,
    /// Units of each variant that something was told of.
    pub units: BTreeMap<String, u64>,
}

/// What some of the units came to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Tally {
    units: BTreeMap<String, u64>,
    goals: BTreeMap<String, BTreeMap<String, Summary>>,
}

impl PromptsHandle {
    /// Begins an experiment.
    ///
    /// # Errors
    /// [`PromptError::Invalid`] with the first problem, [`PromptError::Conflict`] when its name was
    /// used before, and the store's.
    pub async fn begin_experiment(
        &self,
        prompt: &PromptKey,
        ask: ExperimentAsk,
    ) -> Result<Experiment, PromptError> {
        // What others began elsewhere counts, too.
        self.refresh().await?;
        let start_ms = self.shared.runtime.wall_ms();
        let duration_ms = ask.duration_ms.unwrap_or(DEFAULT_DURATION_MS);
        let experiment = Experiment {
            name: ask.name,
            prompt: prompt.name.clone(),
            owner: ask.owner,
            variants: ask.variants,
            control: ask.control,
            unit: ask.unit,
            segments: ask.segments,
            layer: ask.layer,
            share: ask.share.unwrap_or(Share::ALL),
            holdout: ask.holdout,
            start_ms,
            ends_ms: start_ms.saturating_add(duration_ms),
            state: State::Running,
            goals: ask.goals,
        };
        let others = self.running_experiments(&prompt.team);
        check_all(&experiment, &others)?;
        if self.find_experiment(prompt, &experiment.name).await?.is_some() {
            let problem = format!(
                "'{}' was used by an experiment of this prompt before; choose another name",
                experiment.name
            );
            return Err(PromptError::Conflict(Problem::new("name", problem)));
        }
        let key = prompt.experiment(&experiment.name);
        self.change(prompt, move |draft| {
            let head = &mut draft.head;
            let unknown = experiment
                .variants
                .iter()
                .find(|one| one.version == 0 || u64::from(one.version) > head.newest);
            if let Some(variant) = unknown {
                let problem =
                    format!("names version {}; the newest is {}", variant.version, head.newest);
                return Err(Problem::new("variants", problem).into());
            }
            if head.experiments.len() >= RUNNING {
                let problem = format!("has {RUNNING} experiments that run; end one of them first");
                return Err(PromptError::Conflict(Problem::new("prompt", problem)));
            }
            // Another node may have begun one since this one looked.
            check_all(&experiment, &head.experiments)?;
            head.experiments.push(experiment.clone());
            draft.rows.push((key.clone(), records::encode(&experiment)?));
            Ok(experiment.clone())
        })
        .await
    }

    fn running_experiments(&self, team: &str) -> Vec<Experiment> {
        let table = self.shared.table();
        let own = table.all().filter(|(prompt, _)| prompt.team == team);
        own.flat_map(|(_, slot)| slot.head.experiments.clone()).collect()
    }

    /// Every experiment of the prompt, by name.
    ///
    /// # Errors
    /// The store's.
    pub async fn experiments(&self, prompt: &PromptKey) -> Result<Vec<Experiment>, PromptError> {
        let read = self.shared.retry.read(|transaction| {
            let range = prompt.experiments();
            Box::pin(async move { transaction.range(RangeRead::all(range).limit(1_000)).await })
        });
        let rows = read.await?;
        Ok(rows.iter().map(|(_, row)| records::decode(row)).collect::<Result<_, StoreError>>()?)
    }

    async fn find_experiment(
        &self,
        prompt: &PromptKey,
        name: &str,
    ) -> Result<Option<Experiment>, PromptError> {
        let read = self.shared.retry.read(|transaction| {
            let key = prompt.experiment(name);
            Box::pin(async move { transaction.get(&key, ReadMode::Serializable).await })
        });
        Ok(read.await?.as_deref().map(records::decode).transpose()?)
    }

    /// An experiment and what came out so far.
    ///
    /// # Errors
    /// [`PromptError::Unknown`] and the store's.
    pub async fn experiment(
        &self,
        prompt: &PromptKey,
        name: &str,
    ) -> Result<Analysed, PromptError> {
        let unknown = || PromptError::Unknown {
            what: format!("the experiment '{name}' of the prompt '{}'", prompt.name),
        };
        let experiment = self.find_experiment(prompt, name).await?.ok_or_else(unknown)?;
        let read = self.shared.retry.read(|transaction| {
            let range = prompt.tallies(name);
            Box::pin(async move { transaction.range(RangeRead::all(range)).await })
        });
        let mut sum = Tally::default();
        for (_, row) in read.await? {
            sum.add(records::decode(&row)?);
        }
        let analysis = analyse(&experiment, &sum.units, &sum.goals, ALPHA)
            .map_err(|error| StoreError::Corrupt(format!("experiment {name}: {error}")))?;
        Ok(Analysed { experiment, analysis, units: sum.units })
    }

    /// Ends an experiment that runs; everyone gets production again.
    ///
    /// # Errors
    /// [`PromptError::Unknown`] when none of this name runs, and the store's.
    pub async fn stop_experiment(
        &self,
        actor: &Actor,
        prompt: &PromptKey,
        name: &str,
    ) -> Result<Experiment, PromptError> {
        let by = actor.name.clone();
        let unknown = PromptError::Unknown {
            what: format!("an experiment '{name}' that runs on the prompt '{}'", prompt.name),
        };
        let (name, key, now_ms) =
            (name.to_owned(), prompt.experiment(name), self.shared.runtime.wall_ms());
        tracing::info!(
            team = prompt.team,
            prompt = prompt.name,
            experiment = name,
            by,
            "an experiment is stopped"
        );
        self.change(prompt, move |draft| {
            let experiments = &mut draft.head.experiments;
            let place =
                experiments.iter().position(|one| one.name == name).ok_or(unknown.clone())?;
            let mut ended = experiments.remove(place);
            ended.state = State::Ended { reason: Ending::Stopped, at_ms: now_ms };
            draft.rows.push((key.clone(), records::encode(&ended)?));
            Ok(ended)
        })
        .await
    }

    /// Ends experiments that have reached their end, each once.
    ///
    /// # Errors
    /// The store's; what was not ended is ended the next time.
    pub(super) async fn expire_experiments(&self) -> Result<(), PromptError> {
        let now_ms = self.shared.runtime.wall_ms();
        let over: Vec<PromptKey> = {
            let table = self.shared.table();
            let is_over = |experiment: &Experiment| expire(experiment, now_ms).is_some();
            let over = table.all().filter(|(_, slot)| slot.head.experiments.iter().any(is_over));
            over.map(|(prompt, _)| prompt).collect()
        };
        for prompt in over {
            let key = prompt.clone();
            let ended = self.change(&prompt, move |draft| {
                let mut ended = Vec::new();
                let (over, running): (Vec<_>, Vec<_>) = std::mem::take(&mut draft.head.experiments)
                    .into_iter()
                    .partition(|experiment| expire(experiment, now_ms).is_some());
                draft.head.experiments = running;
                for expiry in over.iter().filter_map(|experiment| expire(experiment, now_ms)) {
                    let row = records::encode(&expiry.experiment)?;
                    draft.rows.push((key.experiment(&expiry.experiment.name), row));
                    draft.events.push((Event::ExperimentExpired, expiry.message.clone()));
                    ended.push(expiry);
                }
                Ok(ended)
            });
            for expiry in ended.await? {
                self.shared.metrics.event(Event::ExperimentExpired.name());
                let (team, owner, told) = (&prompt.team, &expiry.owner, &expiry.message);
                tracing::warn!(alert = "experiment_expired", team, owner, told, "prompt");
            }
        }
        Ok(())
    }

    /// Takes what somebody says of a unit: the first word on each goal counts.
    ///
    /// # Errors
    /// [`PromptError::Invalid`], [`PromptError::Unknown`] when no experiment takes it, and the
    /// store's.
    pub async fn take_feedback(
        &self,
        prompt: &PromptKey,
        feedback: Feedback,
    ) -> Result<usize, PromptError> {
        let Feedback { experiment, unit, goal, value } = feedback;
        if unit.is_empty() || unit.len() > UNIT_BYTES {
            return Err(Problem::new(
                "unit",
                format!(
                    "must be 1 to {UNIT_BYTES} bytes: the user or the request that was assigned"
                ),
            )
            .into());
        }
        let running =
            self.slot(prompt).map(|slot| slot.head.experiments.clone()).unwrap_or_default();
        let named = |one: &&Experiment| experiment.as_ref().is_none_or(|name| *name == one.name);
        let has_goal = |one: &&Experiment| one.goals.iter().any(|own| own.name == goal);
        let taken: Vec<&Experiment> = running.iter().filter(named).filter(has_goal).collect();
        if taken.is_empty() {
            let known: BTreeSet<&str> = running
                .iter()
                .filter(named)
                .flat_map(|one| one.goals.iter().map(|goal| goal.name.as_str()))
                .collect();
            let what = match known.is_empty() {
                true => format!("an experiment that runs on the prompt '{}'", prompt.name),
                false => format!(
                    "the goal '{goal}' (there are: {})",
                    known.into_iter().collect::<Vec<_>>().join(", ")
                ),
            };
            return Err(PromptError::Unknown { what });
        }
        let now_ms = self.shared.runtime.wall_ms();
        let mut counted = 0;
        for experiment in taken {
            // Segments were looked at when the unit was assigned.
            let open = Experiment { segments: Vec::new(), ..experiment.clone() };
            let request =
                Request { user: unit.clone(), request: unit.clone(), attributes: BTreeMap::new() };
            let Assignment::Inside(variant) = open.assign(&request, now_ms) else { continue };
            let Some(goal) = experiment.goals.iter().find(|own| own.name == goal) else { continue };
            let mut own = Summary::empty(goal);
            own.record(goal, value).map_err(|error| Problem::new("value", error.to_string()))?;
            self.count(prompt, experiment, goal, (&unit, &variant.name), value).await?;
            counted += 1;
        }
        Ok(counted)
    }

    async fn count(
        &self,
        prompt: &PromptKey,
        experiment: &Experiment,
        goal: &Goal,
        (unit, variant): (&str, &str),
        value: f64,
    ) -> Result<(), PromptError> {
        let digest = Sha256::digest(unit.as_bytes());
        let shard = u64::from(digest.first().copied().unwrap_or_default()) % SHARDS;
        let id: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let hour = u32::try_from(self.shared.runtime.wall_ms() / HOUR_MS).unwrap_or(u32::MAX);
        let operation = OperationId::draw(hour, self.shared.runtime.environment());
        let told = prompt.feedback(&experiment.name, &goal.name, &id);
        let first = prompt.feedback(&experiment.name, "", &id);
        let tally = prompt.tally(&experiment.name, shard);
        let written = self.shared.retry.write(operation, |transaction| {
            let (told, first, tally) = (told.clone(), first.clone(), tally.clone());
            let (goal, variant) = (goal.clone(), variant.to_owned());
            Box::pin(async move {
                if transaction.get(&told, ReadMode::Serializable).await?.is_some() {
                    return Ok(());
                }
                let is_new = transaction.get(&first, ReadMode::Serializable).await?.is_none();
                let row = transaction.get(&tally, ReadMode::Serializable).await?;
                let mut sum: Tally =
                    row.as_deref().map(records::decode).transpose()?.unwrap_or_default();
                let arms = sum.goals.entry(goal.name.clone()).or_default();
                let arm = arms.entry(variant.clone()).or_insert_with(|| Summary::empty(&goal));
                arm.record(&goal, value).map_err(|error| StoreError::Usage(error.to_string()))?;
                if is_new {
                    *sum.units.entry(variant).or_default() += 1;
                    transaction.set(&first, &[])?;
                }
                transaction.set(&told, &records::encode(&value)?)?;
                transaction.set(&tally, &records::encode(&sum)?)
            })
        });
        match written.await? {
            Applied::Now(()) | Applied::Earlier => Ok(()),
        }
    }
}

impl Tally {
    fn add(&mut self, other: Tally) {
        for (variant, units) in other.units {
            *self.units.entry(variant).or_default() += units;
        }
        for (goal, arms) in other.goals {
            let own = self.goals.entry(goal).or_default();
            for (variant, summary) in arms {
                let merged = match own.get(&variant) {
                    Some(held) => held.merge(summary),
                    None => Some(summary),
                };
                merged.and_then(|merged| own.insert(variant, merged));
            }
        }
    }
}

fn check_all(experiment: &Experiment, others: &[Experiment]) -> Result<(), PromptError> {
    check(experiment, others).map_err(|problems| {
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Problem::new("experiment", told.join("; ")).into()
    })
}
