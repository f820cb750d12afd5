//! The settings of the gateway: who answers chats, and under which names.

use std::collections::BTreeSet;
use std::path::PathBuf;

use headwater_actors::gateway::{
    BreakerSettings, ConfigDocument, GatewaySettings, ModelDocument, RedactionDocument,
    RetrySettings,
};
use serde::Deserialize;

use super::{Nonsense, Settings, SourceSettings};

/// Memory for answers without a setting, in MiB.
const CACHE_MB: u64 = 32;

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

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewaySection {
    pub backends: Vec<BackendSettings>,
    /// What clients may ask for, as long as no version is stored in the cluster.
    pub models: Vec<ModelDocument>,
    /// How long targets are asked again before the client hears of a failure, in ms; each is asked
    /// once in any case.
    pub retry_budget_ms: Option<u64>,
    /// Most tries of one request, over all targets.
    pub tries: Option<u32>,
    /// Failures in a row after which a target is left alone for a while.
    pub breaker_failures: Option<u32>,
    /// Memory for answers that may be given again, in MiB; 0 turns the cache off.
    pub cache_mb: Option<u64>,
    /// What is done with personal data, as long as no version is stored in the cluster.
    pub redaction: RedactionDocument,
    /// File with the secret that personal data is hashed with; all nodes need the same one.
    pub redaction_key_file: Option<PathBuf>,
    /// Longest time that a request is searched for personal data, in ms.
    pub redaction_budget_ms: Option<u64>,
}

impl Settings {
    /// What the gateway serves.
    pub(crate) fn gateway_document(&self) -> ConfigDocument {
        let GatewaySection { models, redaction, .. } = &self.gateway;
        ConfigDocument { models: models.clone(), redaction: redaction.clone() }
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
            cache_bytes: section.cache_mb.unwrap_or(CACHE_MB).saturating_mul(1 << 20),
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
            ("redaction_budget_ms", section.redaction_budget_ms),
        ] {
            if value == Some(0) {
                return fail(key.to_owned(), "is 0; it must be at least 1".to_owned());
            }
        }
        if section.redaction.hashes() && section.redaction_key_file.is_none() {
            let problem = "is missing; name a file with a secret that all nodes have, as a rule of \
                           `redaction` hashes";
            return fail("redaction_key_file".to_owned(), problem.to_owned());
        }
        let mut names = BTreeSet::new();
        for (place, backend) in section.backends.iter().enumerate() {
            if backend.name.is_empty() || !names.insert(backend.name.clone()) {
                let problem = "names must be there and differ".to_owned();
                return fail(format!("backends.{place}.name"), problem);
            }
            if let Err((field, problem)) = backend.check() {
                return fail(format!("backends.{place}.{field}"), problem.to_owned());
            }
        }
        let taken = self.encoder_names();
        match self.gateway_document().config().and_then(|config| config.check(&names, &taken)) {
            Ok(()) => Ok(()),
            Err(problem) => {
                let key = problem.field.replace('[', ".").replace(']', "");
                fail(key, problem.problem)
            }
        }
    }

    /// One list of models holds encoders and chat models, so their names must differ.
    pub(crate) fn encoder_names(&self) -> BTreeSet<String> {
        let encoders = self.embedding.models.iter();
        encoders.flat_map(|one| std::iter::once(&one.name).chain(&one.aliases)).cloned().collect()
    }
}
