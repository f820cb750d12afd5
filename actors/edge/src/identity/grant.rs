//! What a caller was granted, whoever vouched for it.

use headwater_actors::identity::{Holder, Key, NAME_LENGTH, is_name, is_user_name};
use headwater_actors::tenancy::{Payer, Subject};

use crate::error::ApiError;

/// The tier whose tokens may look at the cluster and change every tenant's limits.
const OPERATOR: &str = "operator";

/// What a token or a key grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The team, whom the request is counted for.
    pub tenant: String,
    pub project: Option<String>,
    pub user: Option<String>,
    /// Names of the allowed models; `*` allows all.
    pub models: Vec<String>,
    /// The tenant's service level.
    pub tier: String,
    /// The id of the virtual key, when it was one.
    pub key_id: Option<String>,
    /// When it ends, in s since 1970; never without it.
    pub expires_s: Option<u64>,
}

impl Grant {
    /// A grant to a whole team, without an end of its own.
    pub fn new(tenant: &str, tier: &str, models: &[&str]) -> Grant {
        Grant {
            tenant: tenant.to_owned(),
            project: None,
            user: None,
            models: models.iter().map(ToString::to_string).collect(),
            tier: tier.to_owned(),
            key_id: None,
            expires_s: None,
        }
    }

    /// Everything, for a node that is open to whoever reaches it.
    pub(super) fn local() -> Grant {
        Grant::new("local", OPERATOR, &["*"])
    }

    pub(super) fn of_key(key: &Key) -> Grant {
        let Holder { team, project, user, models, tier } = key.holder.clone();
        let (key_id, expires_s) = (Some(key.id.clone()), key.expires_ms.map(|end| end / 1000));
        Grant { tenant: team, project, user, models, tier, key_id, expires_s }
    }

    /// Checks the names before they are signed.
    ///
    /// # Errors
    /// [`GrantProblem::Name`] for a tenant, project or tier outside `[A-Za-z0-9._-]`, 1 to 64
    /// long, [`GrantProblem::User`] and [`GrantProblem::NoModels`].
    pub fn check(&self) -> Result<(), GrantProblem> {
        let names = [
            ("tenant", Some(&self.tenant)),
            ("tier", Some(&self.tier)),
            ("project", self.project.as_ref()),
        ];
        for (field, value) in names {
            if value.is_some_and(|value| !is_name(value)) {
                return Err(GrantProblem::Name { field });
            }
        }
        if self.user.as_deref().is_some_and(|user| !is_user_name(user)) {
            return Err(GrantProblem::User);
        }
        if self.models.is_empty() { Err(GrantProblem::NoModels) } else { Ok(()) }
    }

    /// Who pays for its requests.
    pub(crate) fn payer(&self) -> Payer<'_> {
        let (project, user) = (self.project.as_deref(), self.user.as_deref());
        Payer { team: &self.tenant, project, user }
    }

    /// Refuses whoever may not look at the limits and the usage of a subject: operators see all,
    /// everyone sees the own team, project and user, and who is of no project and no user sees all
    /// of the team.
    pub(crate) fn check_sees(&self, subject: Subject<'_>) -> Result<(), ApiError> {
        let is_whole_team = self.project.is_none() && self.user.is_none();
        let is_own = match subject {
            Subject::Team(_) => true,
            Subject::Project { project, .. } => self.project.as_deref() == Some(project),
            Subject::User { user, .. } => self.user.as_deref() == Some(user),
        };
        match subject.team() == self.tenant && (is_own || is_whole_team) {
            true => Ok(()),
            false => self.check_operator(),
        }
    }

    /// Whether the token is an operator's.
    pub fn is_operator(&self) -> bool {
        self.tier == OPERATOR
    }

    /// Refuses whoever is no operator.
    pub(crate) fn check_operator(&self) -> Result<(), ApiError> {
        if self.is_operator() { Ok(()) } else { Err(ApiError::operators_only()) }
    }

    /// Whether the tenant may use this model.
    pub fn allows(&self, model: &str) -> bool {
        self.models.iter().any(|allowed| allowed == "*" || allowed == model)
    }
}

/// Why a token cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantProblem {
    #[error("{field} must be 1 to {NAME_LENGTH} of the characters A-Z a-z 0-9 . _ -")]
    Name { field: &'static str },
    #[error("user must be 1 to 128 visible ASCII characters without spaces")]
    User,
    #[error("models is empty; name at least one model, or `*` for all")]
    NoModels,
    #[error("the key has {given} bytes; it needs at least {needed}")]
    ShortKey { given: usize, needed: usize },
    #[error("the token could not be signed: {0}")]
    Signing(String),
}
