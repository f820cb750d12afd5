//! The settings of the gateway: who answers chats, and under which names.

use std::path::PathBuf;

use headwater_actors::gateway::{
    Alias, BreakerSettings, GatewayConfig, GatewaySettings, Price, RetrySettings, Target,
};
use serde::Deserialize;

use super::{Nonsense, Settings, SourceSettings};

/// Millionths in one; prices are in US dollars in the settings.
const MICRO: f64 = 1_000_000.0;

/// How a backend is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendProtocol {
    /// OpenAI's chat completions, which many servers speak: vLLM, llama.cpp, Ollama and others.
    OpenAi,
    Anthropic,
    Gemini,
    /// A small model on this node's processors, for trials and tests.
    Local,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendSettings {
    pub name: String,
    pub protocol: BackendProtocol,
    /// Ahead of the protocol's own paths, with the version: `http://vllm:8000/v1`. The provider's
    /// own address without it.
    pub url: Option<String>,
    /// File with the provider's key; none is sent without it.
    pub key_file: Option<PathBuf>,
    /// Longest time to connect, in ms.
    pub connect_timeout_ms: Option<u64>,
    /// Longest time from a request to the first part of a streamed answer, in ms.
    pub first_byte_timeout_ms: Option<u64>,
    /// Longest time between two parts of a streamed answer, in ms.
    pub idle_timeout_ms: Option<u64>,
    /// Longest time for an answer that is not streamed, in ms.
    pub answer_timeout_ms: Option<u64>,
    /// Where the weights of a local model come from: a folder with one file `*.gguf`, or a package.
    pub source: Option<SourceSettings>,
    /// Answers that a local model writes at once.
    pub sequences: Option<usize>,
    /// CPU threads for each of them; one for each processor without it.
    pub threads: Option<usize>,
}

impl BackendSettings {
    /// What does not fit its protocol, and why.
    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let is_local = self.protocol == BackendProtocol::Local;
        let url = self.url.as_deref().unwrap_or("https://");
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(("url", "must start with http:// or https://"));
        }
        for (field, value) in [
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("first_byte_timeout_ms", self.first_byte_timeout_ms),
            ("idle_timeout_ms", self.idle_timeout_ms),
            ("answer_timeout_ms", self.answer_timeout_ms),
        ] {
            if value == Some(0) {
                return Err((field, "is 0; it must be at least 1"));
            }
        }
        match &self.source {
            None if is_local => Err(("source", "is missing; name a folder or a package")),
            Some(SourceSettings::Hub { .. }) => Err(("source", "must be a folder or a package")),
            Some(_) if !is_local => Err(("source", "is for protocol = \"local\" only")),
            _ if is_local && (self.url.is_some() || self.key_file.is_some()) => {
                Err(("protocol", "is local, so leave url and key_file out"))
            }
            _ if self.sequences == Some(0) => Err(("sequences", "is 0; it must be at least 1")),
            _ => Ok(()),
        }
    }
}

/// In US dollars for a million tokens, as providers list them.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceSettings {
    pub input: f64,
    pub output: f64,
    /// Of input that the provider had cached; as `input` without it.
    pub cached: Option<f64>,
    /// Of input that the provider wrote into its cache; as `input` without it.
    pub cache_write: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetSettings {
    pub backend: String,
    /// The model's name at the backend; the alias's own without it.
    pub model: Option<String>,
    /// Its share of the requests beside the other targets'; 0 only helps out.
    #[serde(default = "one")]
    pub weight: u32,
    /// There must be one, or `free = true`: a price that was forgotten is not 0.
    pub price: Option<PriceSettings>,
    #[serde(default)]
    pub free: bool,
}

fn one() -> u32 {
    1
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServedModelSettings {
    /// What clients ask for.
    pub name: String,
    pub targets: Vec<TargetSettings>,
    /// Asked one after the other when no target answers.
    #[serde(default)]
    pub fallbacks: Vec<TargetSettings>,
    /// Output tokens that are reserved for a request that sets no limit itself.
    #[serde(default = "output_tokens")]
    pub output_tokens: u64,
}

fn output_tokens() -> u64 {
    1_024
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewaySection {
    pub backends: Vec<BackendSettings>,
    pub models: Vec<ServedModelSettings>,
    /// How long targets are asked again before the client hears of a failure, in ms; each is asked
    /// once in any case.
    pub retry_budget_ms: Option<u64>,
    /// Most tries of one request, over all targets.
    pub tries: Option<u32>,
    /// Failures in a row after which a target is left alone for a while.
    pub breaker_failures: Option<u32>,
}

impl PriceSettings {
    /// What is wrong with it, and in which field.
    fn check(&self) -> Result<(), (&'static str, String)> {
        let fields = [
            ("input", Some(self.input)),
            ("output", Some(self.output)),
            ("cached", self.cached),
            ("cache_write", self.cache_write),
        ];
        for (field, value) in fields {
            // A million dollars for a million tokens is a slip of the pen.
            if value.is_some_and(|value| !(0.0..=1_000_000.0).contains(&value)) {
                let problem = "must be 0 to 1000000, in US dollars for a million tokens";
                return Err((field, problem.to_owned()));
            }
        }
        Ok(())
    }

    fn price(&self) -> Price {
        let micro = |usd: f64| (usd * MICRO).round() as u64;
        let input = micro(self.input);
        Price {
            input,
            output: micro(self.output),
            input_cached: self.cached.map_or(input, micro),
            input_written: self.cache_write.map_or(input, micro),
        }
    }
}

impl TargetSettings {
    fn target(&self, alias: &str) -> Target {
        Target {
            backend: self.backend.clone(),
            model: self.model.clone().unwrap_or_else(|| alias.to_owned()),
            weight: self.weight,
            price: self.price.map_or(Price::FREE, |price| price.price()),
        }
    }
}

impl Settings {
    /// What the gateway serves.
    pub(crate) fn gateway_config(&self) -> GatewayConfig {
        let alias = |model: &ServedModelSettings| {
            let all = |targets: &[TargetSettings]| {
                targets.iter().map(|target| target.target(&model.name)).collect()
            };
            Alias {
                name: model.name.clone(),
                targets: all(&model.targets),
                fallbacks: all(&model.fallbacks),
                output_tokens: model.output_tokens,
            }
        };
        GatewayConfig { aliases: self.gateway.models.iter().map(alias).collect() }
    }

    /// How the gateway tries.
    pub(crate) fn gateway_settings(&self) -> GatewaySettings {
        let (section, standard) = (&self.gateway, GatewaySettings::default());
        GatewaySettings {
            retry: RetrySettings {
                budget_ms: section.retry_budget_ms.unwrap_or(standard.retry.budget_ms),
                tries: section.tries.unwrap_or(standard.retry.tries),
                ..standard.retry
            },
            breaker: BreakerSettings {
                failures: section.breaker_failures.unwrap_or(standard.breaker.failures),
                ..standard.breaker
            },
        }
    }

    /// Checks what types cannot say of the gateway.
    pub(super) fn check_gateway(&self) -> Result<(), Nonsense> {
        let section = &self.gateway;
        let fail = |key: String, problem: String| {
            let key = key.split('.').map(str::to_owned);
            Err(Nonsense {
                key: std::iter::once("gateway".to_owned()).chain(key).collect(),
                problem,
            })
        };
        for (key, value) in [
            ("tries", section.tries.map(u64::from)),
            ("breaker_failures", section.breaker_failures.map(u64::from)),
        ] {
            if value == Some(0) {
                return fail(key.to_owned(), "is 0; it must be at least 1".to_owned());
            }
        }
        let mut names = std::collections::BTreeSet::new();
        for (place, backend) in section.backends.iter().enumerate() {
            if backend.name.is_empty() || !names.insert(backend.name.clone()) {
                let problem = "names must be there and differ".to_owned();
                return fail(format!("backends.{place}.name"), problem);
            }
            if let Err((field, problem)) = backend.check() {
                return fail(format!("backends.{place}.{field}"), problem.to_owned());
            }
        }
        for (place, model) in section.models.iter().enumerate() {
            for (list, targets) in [("targets", &model.targets), ("fallbacks", &model.fallbacks)] {
                for (number, target) in targets.iter().enumerate() {
                    let at = format!("models.{place}.{list}.{number}");
                    match &target.price {
                        Some(_) if target.free => {
                            let problem = "has a price beside it; leave one of both out";
                            return fail(format!("{at}.free"), problem.to_owned());
                        }
                        None if !target.free => {
                            let problem = "is missing; give it, or say free = true";
                            return fail(format!("{at}.price"), problem.to_owned());
                        }
                        Some(price) => {
                            if let Err((field, problem)) = price.check() {
                                return fail(format!("{at}.price.{field}"), problem);
                            }
                        }
                        None => {}
                    }
                }
            }
        }
        self.check_served_names()?;
        match self.gateway_config().check(&names) {
            Ok(()) => Ok(()),
            Err(problem) => {
                let key = problem.field.replace('[', ".").replace(']', "");
                fail(key, problem.problem)
            }
        }
    }

    /// One list of models holds encoders and chat models, so their names must differ.
    fn check_served_names(&self) -> Result<(), Nonsense> {
        let encoders = self.embedding.models.iter();
        let taken: std::collections::BTreeSet<&String> =
            encoders.flat_map(|one| std::iter::once(&one.name).chain(&one.aliases)).collect();
        for (place, model) in self.gateway.models.iter().enumerate() {
            if taken.contains(&model.name) {
                let key = ["gateway", "models", &place.to_string(), "name"].map(str::to_owned);
                let problem = "is the name of an encoder; choose another".to_owned();
                return Err(Nonsense { key: key.to_vec(), problem });
            }
        }
        Ok(())
    }
}
