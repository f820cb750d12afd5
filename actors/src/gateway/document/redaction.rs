//! What is done with personal data, as people write it.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_gateway::GatewayProblem;
use headwater_gateway::redaction::{
    Action, Entity, RedactionPolicies, RedactionPolicy, Rule, STANDARD_THRESHOLD_PERCENT,
};
use serde::{Deserialize, Serialize};

/// What is done with one entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleDocument {
    /// `mask`, `hash`, `token` or `block`.
    pub action: String,
    /// The least score that counts, 1 to 99.
    #[serde(default = "threshold_percent")]
    pub threshold_percent: u8,
}

fn threshold_percent() -> u8 {
    STANDARD_THRESHOLD_PERCENT
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyDocument {
    /// By entity: `ssn`, `card`, `email`, `phone`, `iban`, `ip`, `address`, `person`, `birth_date`,
    /// `url_credentials`. What has no rule is not looked for.
    pub rules: BTreeMap<String, RuleDocument>,
    /// Whether requests are redacted.
    #[serde(default = "yes")]
    pub request: bool,
    /// Whether answers are.
    #[serde(default)]
    pub response: bool,
    /// Whether a request that could not be looked through in time is refused.
    #[serde(default)]
    pub fail_closed: bool,
}

fn yes() -> bool {
    true
}

/// The policy of all teams, and those of teams that have their own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedactionDocument {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standard: Option<PolicyDocument>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub teams: BTreeMap<String, PolicyDocument>,
}

impl RedactionDocument {
    pub(super) fn is_empty(&self) -> bool {
        self.standard.is_none() && self.teams.is_empty()
    }

    /// Whether any policy hashes, which needs a key that all nodes have.
    pub fn hashes(&self) -> bool {
        let all = self.standard.iter().chain(self.teams.values());
        let mut rules = all.flat_map(|policy| policy.rules.values());
        rules.any(|rule| rule.action == Action::Hash.name())
    }

    /// # Errors
    /// The first entity, action or threshold that there is not.
    pub(super) fn policies(&self) -> Result<RedactionPolicies, GatewayProblem> {
        let policy = |at: &str, policy: &PolicyDocument| {
            policy.policy().map(Arc::new).map_err(|(field, problem)| GatewayProblem {
                field: format!("redaction.{at}.{field}"),
                problem,
            })
        };
        let standard = self.standard.as_ref().map(|own| policy("standard", own)).transpose()?;
        let mut teams = BTreeMap::new();
        for (name, own) in &self.teams {
            teams.insert(name.clone(), policy(&format!("teams.{name}"), own)?);
        }
        Ok(RedactionPolicies { standard, teams })
    }
}

impl PolicyDocument {
    /// Or the field that is wrong, and why.
    fn policy(&self) -> Result<RedactionPolicy, (String, String)> {
        let mut rules = BTreeMap::new();
        for (name, rule) in &self.rules {
            let fail = |field: &str, problem: String| (format!("rules.{name}{field}"), problem);
            let entity = Entity::from_name(name).ok_or_else(|| {
                let known = Entity::ALL.map(Entity::name).join(", ");
                fail("", format!("is no entity; there are: {known}"))
            })?;
            let action = Action::from_name(&rule.action).ok_or_else(|| {
                let known = Action::ALL.map(Action::name).join(", ");
                fail(".action", format!("'{}' is no action; there are: {known}", rule.action))
            })?;
            let threshold_percent = rule.threshold_percent;
            if !(1..=99).contains(&threshold_percent) {
                return Err(fail(".threshold_percent", "must be 1 to 99".to_owned()));
            }
            rules.insert(entity, Rule { action, threshold_percent });
        }
        if rules.is_empty() {
            return Err(("rules".to_owned(), "is empty; name at least one entity".to_owned()));
        }
        let PolicyDocument { request, response, fail_closed, .. } = *self;
        Ok(RedactionPolicy { rules, request, response, fail_closed })
    }
}
