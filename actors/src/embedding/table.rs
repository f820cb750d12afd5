//! Which models a node serves under which names: an immutable table that is exchanged as a whole,
//! so that requests look names up without waiting for whoever changes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_embedding::{Alias, AliasProblem};

use super::handle::ModelHandle;

/// Where a model stands between its load and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No replica was warm so far; the model is not offered yet.
    Loading,
    Serving,
    /// What was admitted is finished, new work is refused.
    Draining,
}

impl Phase {
    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Loading => "loading",
            Phase::Serving => "serving",
            Phase::Draining => "draining",
        }
    }
}

/// Why a name gets no model now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotOffered {
    #[error("the model '{0}' is not served here")]
    Unknown(String),
    #[error("the model '{0}' is still being loaded; try again shortly")]
    Loading(String),
    #[error("the model '{0}' is being unloaded; use another one")]
    Draining(String),
}

/// Why the table cannot be changed as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    #[error("the name '{0}' is taken by a model or an alias; choose another or remove that first")]
    NameTaken(String),
    #[error("the model '{0}' is not served here; load it first")]
    UnknownModel(String),
    #[error("there is no alias '{0}'; see GET /v1/aliases for those that there are")]
    UnknownAlias(String),
    #[error("the model '{model}' is {}; wait until it is serving", .phase.name())]
    NotServing { model: String, phase: Phase },
    #[error(transparent)]
    Alias(#[from] AliasProblem),
    #[error("the model '{model}' is a target of {}; point it elsewhere first", .aliases.join(", "))]
    IsTarget { model: String, aliases: Vec<String> },
    #[error("the model '{model}' had no warm replica within {timeout_ms} ms; see the log for why")]
    NeverWarm { model: String, timeout_ms: u64 },
    #[error("the model '{0}' cannot be opened: {1}")]
    NotOpened(String, String),
    #[error("the embedding service has stopped; restart the node")]
    Stopped,
}

/// Models by their own name, and aliases.
#[derive(Clone, Default)]
pub(super) struct Table {
    pub(super) models: BTreeMap<String, Arc<ModelHandle>>,
    pub(super) aliases: BTreeMap<String, Alias>,
}

impl Table {
    /// The model's own name behind what a caller named. The key decides between the targets of
    /// an alias; without one it is the target with the largest share.
    pub(super) fn resolve<'a>(&'a self, name: &'a str, key: Option<&str>) -> &'a str {
        match (self.aliases.get(name), key) {
            (None, _) => name,
            (Some(alias), None) => alias.main(),
            (Some(alias), Some(key)) => alias.choose(name, key),
        }
    }

    /// The model of this name, if it is offered.
    pub(super) fn offered(&self, model: &str) -> Result<Arc<ModelHandle>, NotOffered> {
        let known = self.models.get(model);
        let found = known.ok_or_else(|| NotOffered::Unknown(model.to_owned()))?;
        match found.phase() {
            Phase::Serving => Ok(Arc::clone(found)),
            Phase::Loading => Err(NotOffered::Loading(model.to_owned())),
            Phase::Draining => Err(NotOffered::Draining(model.to_owned())),
        }
    }

    /// Whether a model or an alias has this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.models.contains_key(name) || self.aliases.contains_key(name)
    }

    /// Whether an alias may point at these models: `elsewhere` are those of other nodes.
    pub(super) fn check_targets(
        &self,
        alias: &Alias,
        elsewhere: &[String],
    ) -> Result<(), ChangeError> {
        for target in alias.targets() {
            let model = &target.model;
            match self.models.get(model).map(|known| known.phase()) {
                Some(Phase::Serving) => {}
                Some(phase) => {
                    return Err(ChangeError::NotServing { model: model.clone(), phase });
                }
                None if elsewhere.contains(model) => {}
                None => return Err(ChangeError::UnknownModel(model.clone())),
            }
        }
        Ok(())
    }

    /// The aliases that may choose this model.
    pub(super) fn aliases_of(&self, model: &str) -> Vec<String> {
        let names = self.aliases.iter().filter(|(_, alias)| alias.names(model));
        names.map(|(name, _)| name.clone()).collect()
    }
}
