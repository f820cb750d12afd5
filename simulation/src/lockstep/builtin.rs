//! The scenarios that ship with the simulation, by name.

use super::scenario::{Scenario, ScenarioError};

/// Name and text of each.
const BUILTIN: &[(&str, &str)] = &[
    ("demonstration", include_str!("../../scenarios/demonstration.toml")),
    ("lease-thrash", include_str!("../../scenarios/lease-thrash.toml")),
    ("quota-split", include_str!("../../scenarios/quota-split.toml")),
    ("quota-storm", include_str!("../../scenarios/quota-storm.toml")),
];

impl Scenario {
    /// The names of the scenarios that ship.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILTIN.iter().map(|(name, _)| *name)
    }

    /// The scenario of this name, if one ships.
    ///
    /// # Errors
    /// What in its text is wrong.
    pub fn named(name: &str) -> Result<Option<Scenario>, ScenarioError> {
        let found = BUILTIN.iter().find(|(known, _)| *known == name);
        found.map(|(_, text)| Scenario::parse(text)).transpose()
    }
}
