//! What people say of answers, counted once for each unit and goal.

use std::collections::{BTreeMap, BTreeSet};

use headwater_prompts::Problem;
use headwater_prompts::experiment::{Assignment, Experiment, Goal, Request, Summary};
use headwater_storage::retry::Applied;
use headwater_storage::{ReadMode, StoreError};
use sha2::{Digest, Sha256};

use super::experiments::Tally;
use super::handle::PromptsHandle;
use super::keys::PromptKey;
use super::nouns::PromptError;
use super::records;

/// Rows that what is told of an experiment is spread over.
const SHARDS: u64 = 16;
/// Bytes of a unit's name.
const UNIT_BYTES: usize = 256;
/// Larger numbers are slips.
const LARGEST_VALUE: f64 = 1e12;

/// What somebody says about an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Feedback {
    /// All of the prompt that run and have the goal, without it.
    pub experiment: Option<String>,
    /// The user or the request that was assigned.
    pub unit: String,
    /// As they were when it was assigned: segments look at them.
    pub attributes: BTreeMap<String, String>,
    pub goal: String,
    pub value: f64,
}

impl PromptsHandle {
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
        let Feedback { experiment, unit, attributes, goal, value } = feedback;
        if value.abs() > LARGEST_VALUE {
            return Err(Problem::new(
                "value",
                format!("must be at most {LARGEST_VALUE:e}, with either sign"),
            )
            .into());
        }
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
        let request = Request { user: unit.clone(), request: unit.clone(), attributes };
        // As it was assigned: by the first experiment that takes it, and by no other.
        let assigned = running.iter().find_map(|one| match one.assign(&request, now_ms) {
            Assignment::Inside(variant) => Some((one, variant.name.clone())),
            Assignment::Outside(_) => None,
        });
        let mut counted = 0;
        if let Some((experiment, variant)) = assigned.filter(|(one, _)| named(one))
            && let Some(goal) = experiment.goals.iter().find(|own| own.name == goal)
        {
            let mut own = Summary::empty(goal);
            own.record(goal, value).map_err(|error| Problem::new("value", error.to_string()))?;
            self.count(prompt, experiment, goal, (&unit, &variant), value).await?;
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
        let operation = self.shared.operation();
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
