//! What a gateway serves: aliases, their targets and prices; checked before it takes effect.

use std::collections::BTreeSet;

use crate::attempts::RetrySettings;
use crate::breaker::BreakerSettings;
use crate::price::Price;
use crate::redaction::RedactionPolicies;

/// A model at a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub backend: String,
    /// The model's name there.
    pub model: String,
    /// Its share of the requests, beside the other targets' weights; 0 only helps out.
    pub weight: u32,
    pub price: Price,
    /// Whether it is on trial beside the others: watched, and taken back when it is worse.
    pub is_canary: bool,
    /// Answers under way, on one node, above which others are preferred.
    pub room: Option<u32>,
}

/// How the preferred target is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// By their weights.
    #[default]
    Weight,
    /// By their weights, the same for requests that begin alike.
    Prefix,
    /// The one whose answers begin soonest.
    Latency,
    /// The one with the fewest answers under way.
    Load,
    /// The cheapest.
    Cost,
}

/// A name that clients ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    pub name: String,
    pub targets: Vec<Target>,
    /// Asked one after the other when no target answers.
    pub fallbacks: Vec<Target>,
    pub choice: Choice,
    /// Whether a caller's requests keep to one target; else each is drawn by itself.
    pub sticky: bool,
    /// Output tokens that are reserved for a request that sets no limit itself.
    pub output_tokens: u64,
    /// How long an answer may be given again, in ms; 0 keeps none.
    pub cache_ttl_ms: u64,
    /// Whether it may answer questions that are put in other words, too.
    pub semantic: Option<Semantic>,
}

/// When two questions count as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Semantic {
    /// The encoder that compares them.
    pub encoder: String,
    /// From this cosine of their vectors on, in thousandths.
    pub least_per_mille: u32,
}

impl Target {
    /// An ordinary target, with all the room that there is.
    pub fn of(backend: &str, model: &str, weight: u32, price: Price) -> Target {
        let (backend, model) = (backend.to_owned(), model.to_owned());
        Target { backend, model, weight, price, is_canary: false, room: None }
    }
}

impl Alias {
    /// A name for these targets, chosen by weight, whose answers are not kept.
    pub fn of(name: &str, targets: Vec<Target>) -> Alias {
        Alias {
            name: name.to_owned(),
            targets,
            fallbacks: Vec::new(),
            choice: Choice::Weight,
            sticky: true,
            output_tokens: 1_024,
            cache_ttl_ms: 0,
            semantic: None,
        }
    }

    /// The target at a place of [`crate::order`].
    pub fn target(&self, place: usize) -> Option<&Target> {
        match place.checked_sub(self.targets.len()) {
            None => self.targets.get(place),
            Some(fallback) => self.fallbacks.get(fallback),
        }
    }

    pub fn canary(&self) -> Option<&Target> {
        self.targets.iter().find(|target| target.is_canary)
    }

    pub fn all(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter().chain(&self.fallbacks)
    }
}

/// How requests are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GatewaySettings {
    pub retry: RetrySettings,
    pub breaker: BreakerSettings,
    /// Memory for answers that may be given again, in bytes; 0 turns the cache off.
    pub cache_bytes: u64,
}

/// All that is served.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GatewayConfig {
    pub aliases: Vec<Alias>,
    /// Whose requests are looked through for personal data, and what is done with it.
    pub redaction: RedactionPolicies,
}

/// Why a configuration does not take effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct GatewayProblem {
    /// Such as `models[0].targets[1].backend`.
    pub field: String,
    /// What is allowed.
    pub problem: String,
}

impl GatewayConfig {
    pub fn alias(&self, name: &str) -> Option<&Alias> {
        self.aliases.iter().find(|alias| alias.name == name)
    }

    /// Checks it against the backends that there are, and the names that others have.
    ///
    /// # Errors
    /// The first problem: an unknown backend, a name twice, or targets that no request reaches.
    pub fn check(
        &self,
        backends: &BTreeSet<String>,
        taken: &BTreeSet<String>,
    ) -> Result<(), GatewayProblem> {
        let fail = |field: String, problem: String| Err(GatewayProblem { field, problem });
        let mut names = BTreeSet::new();
        for (place, alias) in self.aliases.iter().enumerate() {
            let at = format!("models[{place}]");
            if alias.name.is_empty() {
                return fail(format!("{at}.name"), "is empty; give it a name".to_owned());
            }
            if !names.insert(alias.name.as_str()) {
                let problem = format!("'{}' is there twice; names must differ", alias.name);
                return fail(format!("{at}.name"), problem);
            }
            if taken.contains(&alias.name) {
                let problem = format!("'{}' is the name of an encoder; choose another", alias.name);
                return fail(format!("{at}.name"), problem);
            }
            if alias.targets.iter().all(|target| target.weight == 0) {
                let problem = "no target has a weight; give at least one a weight above 0";
                return fail(format!("{at}.targets"), problem.to_owned());
            }
            check_canary(alias)
                .or_else(|(field, problem)| fail(format!("{at}.{field}"), problem.to_owned()))?;
            if alias.output_tokens == 0 {
                let problem = "is 0; it must be at least 1".to_owned();
                return fail(format!("{at}.output_tokens"), problem);
            }
            check_semantic(alias).or_else(|(field, problem)| {
                fail(format!("{at}.semantic_cache{field}"), problem.to_owned())
            })?;
            for (list, targets) in [("targets", &alias.targets), ("fallbacks", &alias.fallbacks)] {
                for (number, target) in targets.iter().enumerate() {
                    if !backends.contains(&target.backend) {
                        let known: Vec<&str> = backends.iter().map(String::as_str).collect();
                        let problem = format!(
                            "'{}' is no backend; there are: {}",
                            target.backend,
                            known.join(", ")
                        );
                        return fail(format!("{at}.{list}[{number}].backend"), problem);
                    }
                    if target.model.is_empty() {
                        let problem = "is empty; name the model at the backend".to_owned();
                        return fail(format!("{at}.{list}[{number}].model"), problem);
                    }
                }
            }
        }
        Ok(())
    }
}

/// A threshold below this takes questions for one that are about different things, in thousandths.
const LEAST_PER_MILLE: u32 = 500;

fn check_semantic(alias: &Alias) -> Result<(), (&'static str, &'static str)> {
    let Some(Semantic { encoder, least_per_mille }) = &alias.semantic else { return Ok(()) };
    if alias.cache_ttl_ms == 0 {
        return Err(("", "has nothing to look in, as cache_ttl_s is 0; set it, or leave this out"));
    }
    if encoder.is_empty() {
        return Err((".encoder", "is empty; name an encoder of `embedding.models`"));
    }
    if !(LEAST_PER_MILLE..=1_000).contains(least_per_mille) {
        return Err((".similarity", "must be 0.5 to 1; 0.95 is a careful one to begin with"));
    }
    Ok(())
}

/// A canary has something to be compared with, and is compared with it.
fn check_canary(alias: &Alias) -> Result<(), (String, &'static str)> {
    if let Some(place) = alias.fallbacks.iter().position(|target| target.is_canary) {
        let problem = "is a fallback, which no share of the requests goes to; make it a target";
        return Err((format!("fallbacks[{place}].canary"), problem));
    }
    let mut canaries = alias.targets.iter().enumerate().filter(|(_, target)| target.is_canary);
    let Some((place, canary)) = canaries.next() else { return Ok(()) };
    let at = |place: usize| format!("targets[{place}].canary");
    if canary.weight == 0 {
        return Err((at(place), "has weight 0, so nobody asks it; give it a weight above 0"));
    }
    if let Some((place, _)) = canaries.next() {
        return Err((at(place), "is a second one; try one canary at a time"));
    }
    if !alias.targets.iter().any(|target| !target.is_canary && target.weight > 0) {
        let problem = "has nothing beside it; give another target a weight above 0";
        return Err((at(place), problem));
    }
    Ok(())
}
