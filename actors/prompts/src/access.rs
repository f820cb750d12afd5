//! Who of a team may do what with its prompts. What everybody may is data; what the data mean is
//! one table here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// Most users that a team names.
const ROLES: usize = 500;
/// Bytes of a user's name.
const USER_BYTES: usize = 128;

/// What somebody is to a team's prompts; each may do what the one before may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    #[default]
    Viewer,
    Editor,
    Promoter,
    Admin,
}

impl Standing {
    pub fn name(self) -> &'static str {
        match self {
            Standing::Viewer => "viewer",
            Standing::Editor => "editor",
            Standing::Promoter => "promoter",
            Standing::Admin => "admin",
        }
    }
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Reads, resolves, renders, tells feedback.
    View,
    /// Commits, checks, runs evals, begins and withdraws promotions.
    Edit,
    /// Promotes, goes back, overrides, approves, begins and stops experiments.
    Promote,
    /// Sets gates, protection and roles.
    Administer,
}

impl Action {
    /// Who may.
    pub fn needs(self) -> Standing {
        match self {
            Action::View => Standing::Viewer,
            Action::Edit => Standing::Editor,
            Action::Promote => Standing::Promoter,
            Action::Administer => Standing::Admin,
        }
    }
}

/// A team's roles.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// Of users that are not named.
    #[serde(rename = "default")]
    pub others: Standing,
    /// By the user's name.
    pub roles: BTreeMap<String, Standing>,
}

impl Access {
    /// What a user is, or a token that names none, such as a project's.
    pub fn of(&self, user: Option<&str>) -> Standing {
        user.and_then(|user| self.roles.get(user).copied()).unwrap_or(self.others)
    }

    /// # Errors
    /// When there are too many, or a name is too long for a user's.
    pub fn check(&self) -> Result<(), Problem> {
        if self.roles.len() > ROLES {
            let problem = format!("has {} entries; at most {ROLES} are allowed", self.roles.len());
            return Err(Problem::new("roles", problem));
        }
        match self.roles.keys().find(|name| name.is_empty() || name.len() > USER_BYTES) {
            Some(_) => Err(Problem::new(
                "roles",
                format!("names a user of no or more than {USER_BYTES} bytes"),
            )),
            None => Ok(()),
        }
    }
}
