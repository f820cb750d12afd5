//! What a gateway serves, as people write it: one shape for settings, requests and stored versions.

mod redaction;

use headwater_gateway::{Alias, Choice, GatewayConfig, GatewayProblem, Price, Semantic, Target};
use serde::{Deserialize, Serialize};

pub use redaction::{PolicyDocument, RedactionDocument, RuleDocument};

/// Millionths in one; prices are in US dollars here.
const MICRO: f64 = 1_000_000.0;
/// A million dollars for a million tokens is a slip of the pen.
const DEAREST_USD: f64 = 1_000_000.0;

/// In US dollars for a million tokens, as providers list them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceDocument {
    pub input: f64,
    pub output: f64,
    /// Of input that the provider had cached; as `input` without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached: Option<f64>,
    /// Of input that the provider wrote into its cache; as `input` without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetDocument {
    pub backend: String,
    /// The model's name at the backend; the alias's own without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its share of the requests beside the other targets'; 0 only helps out.
    #[serde(default = "one")]
    pub weight: u32,
    /// There must be one, or `free = true`: a price that was forgotten is not 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<PriceDocument>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub free: bool,
    /// Whether it is on trial: one that is worse than the others is taken back by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub canary: bool,
    /// Answers under way, on one node, above which other targets are preferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<u32>,
}

/// How the preferred target is found; see [`Choice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChoiceDocument {
    #[default]
    Weight,
    Prefix,
    Latency,
    Load,
    Cost,
}

fn one() -> u32 {
    1
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelDocument {
    /// What clients ask for.
    pub name: String,
    pub targets: Vec<TargetDocument>,
    /// Asked one after the other when no target answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<TargetDocument>,
    #[serde(default)]
    pub choice: ChoiceDocument,
    /// Whether a caller's requests keep to one target; else each is drawn by itself.
    #[serde(default = "yes")]
    pub sticky: bool,
    /// Output tokens that are reserved for a request that sets no limit itself.
    #[serde(default = "output_tokens")]
    pub output_tokens: u64,
    /// How long an answer may be given again, in seconds; 0 keeps none.
    #[serde(default = "cache_ttl_s")]
    pub cache_ttl_s: u64,
    /// Whether it may answer questions that are put in other words, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub semantic_cache: Option<SemanticDocument>,
}

/// When two questions count as one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SemanticDocument {
    /// The encoder that compares them, by its name or an alias.
    pub encoder: String,
    /// From this cosine of their vectors on, 0.5 to 1.
    pub similarity: f64,
}

fn cache_ttl_s() -> u64 {
    300
}

fn yes() -> bool {
    true
}

fn output_tokens() -> u64 {
    1_024
}

/// All that a gateway serves.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigDocument {
    pub models: Vec<ModelDocument>,
    /// What is done with personal data; nothing without it.
    #[serde(skip_serializing_if = "RedactionDocument::is_empty")]
    pub redaction: RedactionDocument,
}

impl ConfigDocument {
    /// What it says, as the gateway works with it.
    ///
    /// # Errors
    /// The first field that makes no sense by itself; [`GatewayConfig::check`] looks at the rest.
    pub fn config(&self) -> Result<GatewayConfig, GatewayProblem> {
        let mut aliases = Vec::with_capacity(self.models.len());
        for (place, model) in self.models.iter().enumerate() {
            let all = |list: &str, targets: &[TargetDocument]| {
                let target = |(number, target): (usize, &TargetDocument)| {
                    let at = format!("models[{place}].{list}[{number}]");
                    target.target(&model.name).map_err(|(field, problem)| GatewayProblem {
                        field: format!("{at}.{field}"),
                        problem: problem.to_owned(),
                    })
                };
                targets.iter().enumerate().map(target).collect::<Result<Vec<Target>, _>>()
            };
            aliases.push(Alias {
                name: model.name.clone(),
                targets: all("targets", &model.targets)?,
                fallbacks: all("fallbacks", &model.fallbacks)?,
                choice: model.choice.choice(),
                sticky: model.sticky,
                output_tokens: model.output_tokens,
                cache_ttl_ms: model.cache_ttl_s.saturating_mul(1_000),
                semantic: model.semantic_cache.as_ref().map(SemanticDocument::semantic),
            });
        }
        Ok(GatewayConfig { aliases, redaction: self.redaction.policies()? })
    }
}

impl SemanticDocument {
    fn semantic(&self) -> Semantic {
        // What is out of its bounds stays so; no number becomes 0.
        let least_per_mille = (self.similarity * 1_000.0).round() as u32;
        Semantic { encoder: self.encoder.clone(), least_per_mille }
    }
}

impl TargetDocument {
    /// Or the field that is wrong, and why.
    fn target(&self, alias: &str) -> Result<Target, (&'static str, &'static str)> {
        let price = match &self.price {
            Some(_) if self.free => {
                return Err(("free", "has a price beside it; leave one of both out"));
            }
            None if self.free => Price::FREE,
            None => return Err(("price", "is missing; give it, or say free = true")),
            Some(price) => price.price()?,
        };
        Ok(Target {
            backend: self.backend.clone(),
            model: self.model.clone().unwrap_or_else(|| alias.to_owned()),
            weight: self.weight,
            price,
            is_canary: self.canary,
            room: self.room,
        })
    }
}

impl ChoiceDocument {
    fn choice(self) -> Choice {
        match self {
            ChoiceDocument::Weight => Choice::Weight,
            ChoiceDocument::Prefix => Choice::Prefix,
            ChoiceDocument::Latency => Choice::Latency,
            ChoiceDocument::Load => Choice::Load,
            ChoiceDocument::Cost => Choice::Cost,
        }
    }
}

impl PriceDocument {
    fn price(&self) -> Result<Price, (&'static str, &'static str)> {
        let micro = |field: &'static str, usd: f64| {
            let problem = "must be 0 to 1000000, in US dollars for a million tokens";
            let is_price = (0.0..=DEAREST_USD).contains(&usd);
            is_price.then(|| (usd * MICRO).round() as u64).ok_or((field, problem))
        };
        let input = micro("price.input", self.input)?;
        let special = |field, usd: Option<f64>| usd.map_or(Ok(input), |usd| micro(field, usd));
        Ok(Price {
            input,
            output: micro("price.output", self.output)?,
            input_cached: special("price.cached", self.cached)?,
            input_written: special("price.cache_write", self.cache_write)?,
        })
    }
}
