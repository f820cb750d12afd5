//! What a team wants done with which personal data.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::entity::Entity;

/// What happens with something that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `[EMAIL]` stands in its place.
    Mask,
    /// `[EMAIL:9f86d081884c7d65]` does: the same value gives the same text under one key.
    Hash,
    /// `<EMAIL_1>` does, and the answer to the client has the value again.
    Token,
    /// The request is refused.
    Block,
}

impl Action {
    pub const ALL: [Action; 4] = [Action::Mask, Action::Hash, Action::Token, Action::Block];

    /// As the settings call it.
    pub fn name(self) -> &'static str {
        match self {
            Action::Mask => "mask",
            Action::Hash => "hash",
            Action::Token => "token",
            Action::Block => "block",
        }
    }

    pub fn from_name(name: &str) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.name() == name)
    }
}

/// What is done with one entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    pub action: Action,
    /// The least score that counts, in percent. 100 lets nothing count: no finding is certain.
    pub threshold_percent: u8,
}

/// A score from which a finding is more likely right than wrong, in percent.
pub const STANDARD_THRESHOLD_PERCENT: u8 = 50;

impl Rule {
    pub fn of(action: Action) -> Rule {
        Rule { action, threshold_percent: STANDARD_THRESHOLD_PERCENT }
    }
}

/// A team's policy. What has no rule is not looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedactionPolicy {
    pub rules: BTreeMap<Entity, Rule>,
    /// Whether requests are redacted.
    pub request: bool,
    /// Whether answers are: there is nobody to restore a token for, so it masks; a block ends the
    /// answer.
    pub response: bool,
    /// Whether a request that could not be looked through in time is refused; one that may have
    /// to be blocked always is.
    pub fail_closed: bool,
}

impl RedactionPolicy {
    /// One action for all of these entities, on requests alone.
    pub fn of(action: Action, entities: &[Entity]) -> RedactionPolicy {
        let rules = entities.iter().map(|entity| (*entity, Rule::of(action))).collect();
        RedactionPolicy { rules, request: true, response: false, fail_closed: false }
    }

    /// Whether a request must not go on unless it was looked through.
    pub fn must_hold(&self) -> bool {
        self.fail_closed || self.rules.values().any(|rule| rule.action == Action::Block)
    }
}

/// Whose requests are redacted how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RedactionPolicies {
    /// For whoever has none of their own.
    pub standard: Option<Arc<RedactionPolicy>>,
    /// By the team's name.
    pub teams: BTreeMap<String, Arc<RedactionPolicy>>,
}

impl RedactionPolicies {
    pub fn of(&self, team: &str) -> Option<&Arc<RedactionPolicy>> {
        self.teams.get(team).or(self.standard.as_ref())
    }

    /// Whether any of them looks for what needs a tagger.
    pub fn want_names(&self) -> bool {
        let mut all = self.standard.iter().chain(self.teams.values());
        all.any(|policy| policy.rules.contains_key(&Entity::Person))
    }
}
