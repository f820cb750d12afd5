//! Experiments on a prompt: begun, told about, ended.

use std::collections::{BTreeMap, BTreeSet};

use headwater_prompts::experiment::{
    Analysis, CheckError, DEFAULT_DURATION_MS, Ending, Experiment, Goal, Holdout, Layer, Segment,
    Share, State, Summary, Unit, Variant, analyse, check, expire,
};
use headwater_prompts::{Because, Event, Pointer, Problem};
use headwater_storage::{RangeRead, ReadMode, StoreError};
use serde::{Deserialize, Serialize};

use super::change::Draft;
use super::handle::PromptsHandle;
use super::keys::{self, PromptKey};
use super::manage::check_length;
use super::nouns::{Actor, PromptError};
use super::records;
use crate::mutants::{Mutant, planted};

/// Most experiments that run on one prompt at a time.
const RUNNING: usize = 8;
/// Bytes of one of them: they stand in one row.
const EXPERIMENT_BYTES: usize = 8_000;
/// Chance that an experiment without a difference ever shows one.
const ALPHA: f64 = 0.05;

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
pub(super) struct Tally {
    pub(super) units: BTreeMap<String, u64>,
    pub(super) goals: BTreeMap<String, BTreeMap<String, Summary>>,
}

impl PromptsHandle {
    /// Begins an experiment.
    ///
    /// # Errors
    /// [`PromptError::Invalid`] with the first problem, [`PromptError::Conflict`] when its name was
    /// used before, and the store's.
    pub async fn begin_experiment(
        &self,
        actor: &Actor,
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
        let authors = self.check_experiment(prompt, &experiment).await?;
        let key = prompt.experiment(&experiment.name);
        let (by, control) =
            (actor.name.clone(), experiment.control_variant().map(|one| u64::from(one.version)));
        let layer = experiment.layer.as_ref().map(|layer| keys::layer(&prompt.team, layer));
        // As this node knows the layer, for one that has no record yet.
        let running = self.running_experiments(&prompt.team);
        self.change_reading(prompt, layer.iter().cloned().collect(), move |draft| {
            enter_layer(draft, layer.as_deref(), &experiment, &running)?;
            let head = &mut draft.head;
            if head.is_protected && authors.contains(&by) {
                let problem = "is protected: who wrote a version does not give it to users; ask somebody else";
                return Err(PromptError::Conflict(Problem::new("prompt", problem)));
            }
            if control != head.production {
                let now = head.production.map_or("none".to_owned(), |version| version.to_string());
                let problem = format!("must have the version in production, which is {now}: users get it again at the end");
                return Err(Problem::new("control", problem).into());
            }
            if head.experiments.len() >= RUNNING {
                let problem = format!("has {RUNNING} experiments that run; end one of them first");
                return Err(PromptError::Conflict(Problem::new("prompt", problem)));
            }
            // Another node may have begun one since this one looked.
            check_all(&experiment, &head.experiments)?;
            head.experiments.push(experiment.clone());
            let reason = format!("experiment {} began", experiment.name);
            let because = Because { by: by.clone(), reason, promotion: None, at_ms: start_ms };
            let noted = head.note(Pointer::Experiment, because);
            draft.moves.push(noted);
            draft.rows.push((key.clone(), records::encode(&experiment)?));
            Ok(experiment.clone())
        })
        .await
    }

    /// Checks it by itself and beside the others; the authors of its versions.
    async fn check_experiment(
        &self,
        prompt: &PromptKey,
        experiment: &Experiment,
    ) -> Result<BTreeSet<String>, PromptError> {
        let others = self.running_experiments(&prompt.team);
        check_all(experiment, &others)?;
        let bytes = serde_json::to_vec(experiment).map_or(0, |json| json.len());
        if bytes > EXPERIMENT_BYTES {
            let problem = format!(
                "has {bytes} bytes as JSON; at most {EXPERIMENT_BYTES} are allowed; name fewer values"
            );
            return Err(Problem::new("segments", problem).into());
        }
        let mut authors = BTreeSet::new();
        for variant in &experiment.variants {
            let (info, _) = self.version(prompt, u64::from(variant.version)).await?;
            authors.insert(info.author);
        }
        if self.find_experiment(prompt, &experiment.name).await?.is_some() {
            let problem = format!(
                "'{}' was used by an experiment of this prompt before; choose another name",
                experiment.name
            );
            return Err(PromptError::Conflict(Problem::new("name", problem)));
        }
        Ok(authors)
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
        // Who tells something is no fair sample of who was assigned, so shares are not judged by it.
        let analysis = analyse(&experiment, &BTreeMap::new(), &sum.goals, ALPHA)
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
        reason: &str,
    ) -> Result<Experiment, PromptError> {
        let by = actor.name.clone();
        let unknown = PromptError::Unknown {
            what: format!("an experiment '{name}' that runs on the prompt '{}'", prompt.name),
        };
        let (name, key, now_ms) =
            (name.to_owned(), prompt.experiment(name), self.shared.runtime.wall_ms());
        check_length("reason", reason)?;
        let reason = reason.to_owned();
        let layer = self.find_experiment(prompt, &name).await?.and_then(|one| one.layer);
        let layer = layer.map(|layer| keys::layer(&prompt.team, &layer));
        self.change_reading(prompt, layer.iter().cloned().collect(), move |draft| {
            let experiments = &mut draft.head.experiments;
            let place =
                experiments.iter().position(|one| one.name == name).ok_or(unknown.clone())?;
            let mut ended = experiments.remove(place);
            leave_layer(draft, layer.as_deref(), &ended)?;
            ended.state = State::Ended { reason: Ending::Stopped, at_ms: now_ms };
            let reason = format!("experiment {name} was stopped: {reason}");
            let because = Because { by: by.clone(), reason, promotion: None, at_ms: now_ms };
            let noted = draft.head.note(Pointer::Experiment, because);
            draft.moves.push(noted);
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

/// Takes a part of the experiment's layer, in the transaction that it begins in.
fn enter_layer(
    draft: &mut Draft,
    key: Option<&[u8]>,
    experiment: &Experiment,
    running: &[Experiment],
) -> Result<(), PromptError> {
    let (Some(key), Some(name)) = (key, &experiment.layer) else { return Ok(()) };
    let mut layer: Layer = match draft.read.get(key) {
        Some(row) if !planted(Mutant::LayerNotProved) => records::decode(row)?,
        _ => Layer::of(name, running),
    };
    layer.enter(experiment, experiment.start_ms).map_err(|problems| told(&problems))?;
    draft.rows.push((key.to_vec(), records::encode(&layer)?));
    Ok(())
}

fn leave_layer(
    draft: &mut Draft,
    key: Option<&[u8]>,
    ended: &Experiment,
) -> Result<(), PromptError> {
    let Some((key, row)) = key.and_then(|key| Some((key, draft.read.get(key)?))) else {
        return Ok(());
    };
    let mut layer: Layer = records::decode(row)?;
    layer.leave(&ended.prompt, &ended.name);
    draft.rows.push((key.to_vec(), records::encode(&layer)?));
    Ok(())
}

fn check_all(experiment: &Experiment, others: &[Experiment]) -> Result<(), PromptError> {
    check(experiment, others).map_err(|problems| told(&problems))
}

fn told(problems: &[CheckError]) -> PromptError {
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Problem::new("experiment", told.join("; ")).into()
}
