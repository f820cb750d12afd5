//! Which team may read which secrets: nobody anything, unless it is said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;

use crate::{NameError, SecretError, SecretName, SecretSource, SecretValue};

/// Stands for all names of a team.
const ALL: &str = "*";

/// Teams with the names of the secrets that each may read; the default grants nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, Vec<String>>")]
pub struct SecretGrants {
    teams: BTreeMap<String, Granted>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Granted {
    All,
    Names(BTreeSet<SecretName>),
}

/// Why grants make no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    #[error("a grant's team is `{0}`; name one team, as only names of secrets may be `*`")]
    Team(String),
    #[error("the grant of team `{team}` has `*` beside names; give `*` alone, or names only")]
    Mixed { team: String },
    #[error("the grant of team `{team}`, entry {place}: {error}, or give `*` alone for all")]
    Name {
        team: String,
        /// From 1.
        place: usize,
        error: NameError,
    },
}

impl SecretGrants {
    /// From teams and names; `*` alone grants all secrets of that team, and of no other.
    ///
    /// # Errors
    /// [`GrantError`], naming the team.
    pub fn new(teams: BTreeMap<String, Vec<String>>) -> Result<SecretGrants, GrantError> {
        let mut granted = BTreeMap::new();
        for (team, names) in teams {
            if team.is_empty() || team == ALL {
                return Err(GrantError::Team(team));
            }
            let names = Granted::of(&team, names)?;
            granted.insert(team, names);
        }
        Ok(SecretGrants { teams: granted })
    }

    /// # Errors
    /// [`SecretError::Denied`] for all that was not granted.
    pub fn check(&self, team: &str, name: &SecretName) -> Result<(), SecretError> {
        match self.teams.get(team) {
            Some(Granted::All) => Ok(()),
            Some(Granted::Names(names)) if names.contains(name) => Ok(()),
            _ => Err(SecretError::denied(team, name)),
        }
    }
}

impl Granted {
    fn of(team: &str, names: Vec<String>) -> Result<Granted, GrantError> {
        if names.iter().any(|name| name == ALL) {
            return match names.len() {
                1 => Ok(Granted::All),
                _ => Err(GrantError::Mixed { team: team.to_owned() }),
            };
        }
        let parsed = names.into_iter().enumerate().map(|(index, name)| {
            let wrong = |error| GrantError::Name { team: team.to_owned(), place: index + 1, error };
            SecretName::new(name).map_err(wrong)
        });
        Ok(Granted::Names(parsed.collect::<Result<_, _>>()?))
    }
}

impl TryFrom<BTreeMap<String, Vec<String>>> for SecretGrants {
    type Error = GrantError;

    fn try_from(teams: BTreeMap<String, Vec<String>>) -> Result<SecretGrants, GrantError> {
        SecretGrants::new(teams)
    }
}

/// A source that is asked only for what was granted. It stands ahead of the cache, so a grant that
/// is taken back counts at once.
pub struct GrantedSource {
    grants: SecretGrants,
    source: Arc<dyn SecretSource>,
}

impl GrantedSource {
    pub fn new(grants: SecretGrants, source: Arc<dyn SecretSource>) -> GrantedSource {
        GrantedSource { grants, source }
    }
}

#[async_trait]
impl SecretSource for GrantedSource {
    async fn get(&self, team: &str, name: &SecretName) -> Result<SecretValue, SecretError> {
        self.grants.check(team, name)?;
        self.source.get(team, name).await
    }
}

#[cfg(test)]
mod tests;
