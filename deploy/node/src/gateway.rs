//! The gateway as the settings choose it: its backends, and how they are reached.

pub(crate) mod command;
mod what_if;

use std::sync::Arc;

use headwater_actors::embedding::EmbeddingFleet;
use headwater_actors::gateway::{
    Backend, GatewayHandle, GatewayMetrics, GatewayVersions, NearQuestions, Protocol,
};
use headwater_actors::runtime::Runtime;
use headwater_actors::tenancy::TenancyHandle;
use headwater_models_burn::chat::{LocalChat, LocalChatSettings};
use headwater_models_remote::{ApiKey, RemoteChat, RemoteChatSettings};
use headwater_storage::retry::Retry;
use prometheus_client::registry::Registry;

use crate::config::{BackendProtocol, BackendSettings, Settings};
use crate::failure::Failure;
use crate::models;
use crate::redaction;

/// Questions that are compared take this share of the answers' memory, beside it.
const COMPARED_SHARE: u64 = 8;

/// The gateway of this node; none when the settings name no backend for it.
///
/// # Errors
/// Kind `Settings` when a key file cannot be read or a backend cannot be set up so, `Unavailable`
/// when the weights of a local one do not come or do not load.
pub(crate) async fn start(
    settings: &Settings,
    runtime: &Runtime,
    store: &Retry,
    tenancy: &TenancyHandle,
    encoders: &EmbeddingFleet,
    registry: &mut Registry,
) -> Result<Option<(GatewayHandle, GatewayVersions)>, Failure> {
    if settings.gateway.backends.is_empty() {
        return Ok(None);
    }
    let mut backends = Vec::new();
    for backend in &settings.gateway.backends {
        backends.push(match protocol(backend.protocol) {
            Some(protocol) => remote(backend, protocol)?,
            None => local(settings, backend).await?,
        });
    }
    let wrong = |problem| Failure::settings(format!("gateway.{problem}"));
    let gateway = GatewayHandle::new(
        runtime.clone(),
        tenancy.clone(),
        backends,
        settings.gateway_document().config().map_err(wrong)?,
        settings.encoder_names(),
        settings.gateway_settings(),
        GatewayMetrics::register(registry),
    );
    let gateway = gateway.map_err(wrong)?.redacting(redaction::start(settings, registry)?);
    let compared_bytes = settings.gateway_settings().cache_bytes / COMPARED_SHARE;
    gateway.compare_by(NearQuestions::new(Arc::new(encoders.clone()), compared_bytes, registry));
    let document = settings.gateway_document();
    let versions = GatewayVersions::new(runtime.clone(), store.clone(), gateway.clone(), document);
    // A store that is down now is asked again by whoever follows.
    if let Err(error) = versions.load().await {
        tracing::warn!(%error, "gateway: the stored version could not be read; settings serve");
    }
    runtime.spawn(versions.clone().follow());
    runtime.spawn(versions.clone().guard());
    Ok(Some((gateway, versions)))
}

/// None for a model on this node.
fn protocol(settings: BackendProtocol) -> Option<Protocol> {
    match settings {
        BackendProtocol::OpenAi => Some(Protocol::OpenAiChat),
        BackendProtocol::Anthropic => Some(Protocol::AnthropicMessages),
        BackendProtocol::Gemini => Some(Protocol::Gemini),
        BackendProtocol::Local => None,
    }
}

/// A model on this node's processors.
async fn local(settings: &Settings, backend: &BackendSettings) -> Result<Backend, Failure> {
    let name = &backend.name;
    let missing = || Failure::settings(format!("gateway.backends: {name}: source is missing"));
    let source = backend.source.as_ref().ok_or_else(missing)?;
    let folder = models::weights_folder(settings, name, source).await?;
    let standard = LocalChatSettings::new(folder);
    let chosen = LocalChatSettings {
        sequences: backend.sequences.unwrap_or(standard.sequences),
        threads: backend.threads.unwrap_or(standard.threads),
        ..standard
    };
    let loaded = tokio::task::spawn_blocking(move || LocalChat::load(&chosen));
    let loaded = loaded.await.map_err(Failure::broken)?;
    let model = loaded
        .map_err(|error| Failure::unavailable(format!("gateway.backends: {name}: {error}")))?;
    tracing::info!(backend = name, context = model.context(), "chat model read");
    Ok(Backend { name: name.clone(), protocol: None, model: Arc::new(model) })
}

/// A provider over the network.
fn remote(settings: &BackendSettings, protocol: Protocol) -> Result<Backend, Failure> {
    let name = &settings.name;
    let key = match &settings.key_file {
        None => String::new(),
        Some(file) => std::fs::read_to_string(file).map_err(|error| {
            let file = file.display();
            Failure::settings(format!("gateway.backends: {name}.key_file: {file}: {error}"))
        })?,
    };
    let standard = RemoteChatSettings::of(protocol, ApiKey::new(key.trim()));
    let remote = RemoteChatSettings {
        base_url: settings.url.clone().unwrap_or(standard.base_url.clone()),
        connect_timeout_ms: settings.connect_timeout_ms.unwrap_or(standard.connect_timeout_ms),
        first_byte_timeout_ms: settings
            .first_byte_timeout_ms
            .unwrap_or(standard.first_byte_timeout_ms),
        idle_timeout_ms: settings.idle_timeout_ms.unwrap_or(standard.idle_timeout_ms),
        answer_timeout_ms: settings.answer_timeout_ms.unwrap_or(standard.answer_timeout_ms),
        ..standard
    };
    let model = RemoteChat::new(remote)
        .map_err(|error| Failure::settings(format!("gateway.backends: {name}: {error}")))?;
    Ok(Backend { name: name.clone(), protocol: Some(protocol), model: Arc::new(model) })
}
