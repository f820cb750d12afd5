//! Who has which part of a layer, across all prompts of a team: one record, so that two experiments
//! which begin at the same time cannot both take it.

use serde::{Deserialize, Serialize};

use super::check::{CheckError, collisions};
use super::{Experiment, Share, State, Unit};

/// Experiments that a layer's record holds.
pub const LAYER_EXPERIMENTS: usize = 200;

/// What an experiment takes of its layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    pub prompt: String,
    pub name: String,
    pub unit: Unit,
    pub share: Share,
    /// Since 1970.
    pub start_ms: u64,
    pub ends_ms: u64,
}

impl Taken {
    pub fn of(experiment: &Experiment) -> Taken {
        let Experiment { prompt, name, unit, share, start_ms, ends_ms, .. } = experiment;
        let (prompt, name) = (prompt.clone(), name.clone());
        Taken { prompt, name, unit: *unit, share: *share, start_ms: *start_ms, ends_ms: *ends_ms }
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Layer {
    pub taken: Vec<Taken>,
}

impl Layer {
    /// Of experiments that run, where no record was kept yet.
    pub fn of(layer: &str, running: &[Experiment]) -> Layer {
        let own = running.iter().filter(|one| one.layer.as_deref() == Some(layer));
        let runs = own.filter(|one| one.state == State::Running);
        Layer { taken: runs.map(Taken::of).collect() }
    }

    /// Takes a part for an experiment that begins.
    ///
    /// # Errors
    /// When another one has some of it.
    pub fn enter(&mut self, experiment: &Experiment, now_ms: u64) -> Result<(), Vec<CheckError>> {
        self.taken.retain(|one| one.ends_ms > now_ms);
        let mut errors = Vec::new();
        collisions(experiment, self.taken.iter(), &mut errors);
        if self.taken.len() >= LAYER_EXPERIMENTS {
            errors.push(CheckError::LayerFull(experiment.layer.clone().unwrap_or_default()));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        self.taken.push(Taken::of(experiment));
        Ok(())
    }

    /// Gives back what an experiment had.
    pub fn leave(&mut self, prompt: &str, name: &str) {
        self.taken.retain(|one| one.prompt != prompt || one.name != name);
    }
}
