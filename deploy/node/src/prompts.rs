//! The prompt service as the settings choose it: its rules, its fallbacks, and where the secrets
//! of its prompts come from.

pub(crate) mod command;

use std::path::Path;
use std::sync::Arc;

use headwater_actors::cluster::Leases;
use headwater_actors::embedding::EmbeddingFleet;
use headwater_actors::gateway::GatewayHandle;
use headwater_actors::prompts::{
    Fallback, PromotionRunner, PromptMetrics, PromptSettings, PromptsHandle, Scanner,
};
use headwater_actors::runtime::Runtime;
use headwater_secrets::{CacheSettings, GrantedSource, SecretCache, SecretSource};
use headwater_secrets_local::{EnvironmentSource, FileSource};
use headwater_secrets_vault::VaultSource;
use headwater_storage::retry::Retry;
use prometheus_client::registry::Registry;
use sha2::{Digest, Sha256};

use crate::config::{SecretsSection, Settings};
use crate::failure::Failure;

/// How often secrets that nobody asks for are wiped, in ms.
const SWEEP_MS: u64 = 30_000;

/// The prompts of this node, followed from now on.
///
/// # Errors
/// Kind `Settings` for a file or a source that cannot be used.
pub(crate) async fn start(
    settings: &Settings,
    runtime: &Runtime,
    store: &Retry,
    registry: &mut Registry,
) -> Result<PromptsHandle, Failure> {
    let followed = PromptSettings {
        stale_ms: settings.prompts.stale_ms,
        tells: !settings.notices.webhooks.is_empty(),
        ..PromptSettings::default()
    };
    let handle = PromptsHandle::new(
        runtime.clone(),
        store.clone(),
        followed,
        scanner(settings)?,
        fallbacks(settings)?,
        PromptMetrics::register(registry),
    );
    let handle = handle.map_err(|problem| Failure::settings(format!("prompts.{problem}")))?;
    if let Some(source) = secrets(&settings.secrets, runtime)? {
        handle.take_secrets_from(source);
    }
    if let Err(error) = handle.refresh().await {
        tracing::warn!(%error, "prompts are not known yet: fallbacks serve until they are");
    }
    runtime.spawn(handle.clone().follow());
    Ok(handle)
}

/// Has promotions run on this node, through its gateway when it has one.
pub(crate) fn run(
    prompts: &PromptsHandle,
    runtime: &Runtime,
    gateway: Option<&GatewayHandle>,
    encoders: &EmbeddingFleet,
    leases: &Leases,
) {
    if let Some(gateway) = gateway {
        prompts.ask_through(gateway.clone(), Arc::new(encoders.clone()));
    }
    runtime.spawn(PromotionRunner::new(prompts.clone(), leases.clone()).run());
}

fn read(what: &str, path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::settings(format!("{what}: {}: {error}", path.display())))
}

fn scanner(settings: &Settings) -> Result<Scanner, Failure> {
    let mut files = Vec::new();
    for (place, file) in settings.prompts.scan_rules.iter().enumerate() {
        let what = format!("prompts.scan_rules[{place}]");
        let text = read(&what, &file.path)?;
        let digest = Sha256::digest(text.as_bytes());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        if !digest.eq_ignore_ascii_case(&file.sha256) {
            let path = file.path.display();
            return Err(Failure::settings(format!(
                "{what}: {path} has the SHA-256 {digest}, not the one of the settings; look at \
                 what changed in it"
            )));
        }
        files.push(text);
    }
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let scanner = Scanner::new(&files)
        .map_err(|error| Failure::settings(format!("prompts.scan_rules: {error}")))?;
    for skipped in scanner.skipped() {
        tracing::warn!(
            rule = skipped.rule,
            reason = skipped.reason,
            "a rule of the secret scan is left out"
        );
    }
    Ok(scanner)
}

fn fallbacks(settings: &Settings) -> Result<Vec<Fallback>, Failure> {
    let fallback = |(place, file): (usize, &crate::config::FallbackFile)| {
        let what = format!("prompts.fallbacks[{place}]");
        let text = read(&what, &file.path)?;
        let document = serde_json::from_str(&text).map_err(|error| {
            Failure::settings(format!("{what}: {}: {error}", file.path.display()))
        })?;
        Ok(Fallback { team: file.team.clone(), name: file.prompt.clone(), document })
    };
    settings.prompts.fallbacks.iter().enumerate().map(fallback).collect()
}

/// Where secrets come from. Grants are ahead of the cache, so that one that is taken back counts
/// at once.
///
/// # Errors
/// Kind `Settings` for a source that cannot be used.
pub(crate) fn secrets(
    section: &SecretsSection,
    runtime: &Runtime,
) -> Result<Option<Arc<dyn SecretSource>>, Failure> {
    let wrong =
        |error: headwater_secrets::SecretError| Failure::settings(format!("secrets: {error}"));
    let source: Arc<dyn SecretSource> = if let Some(settings) = &section.environment {
        Arc::new(EnvironmentSource::new(settings).map_err(wrong)?)
    } else if let Some(settings) = &section.file {
        Arc::new(FileSource::new(settings).map_err(wrong)?)
    } else if let Some(settings) = &section.vault {
        Arc::new(VaultSource::new(settings.clone()).map_err(wrong)?)
    } else {
        return Ok(None);
    };
    let clock = runtime.clone();
    let cache = CacheSettings {
        ttl_ms: section.cache.ttl_ms,
        stale_ms: section.cache.stale_ms,
        entries_max: section.cache.entries_max,
    };
    let cache = Arc::new(SecretCache::new(source, Arc::new(move || clock.now_ms()), cache));
    let (sweeping, pausing) = (Arc::clone(&cache), runtime.clone());
    runtime.spawn(async move {
        loop {
            pausing.pause(SWEEP_MS).await;
            sweeping.sweep();
        }
    });
    Ok(Some(Arc::new(GrantedSource::new(section.grants.clone(), cache))))
}
