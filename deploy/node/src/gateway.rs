//! The gateway as the settings choose it: its backends, and how they are reached.

use std::sync::Arc;

use headwater_actors::gateway::{Backend, GatewayHandle, GatewayMetrics, Protocol};
use headwater_actors::runtime::Runtime;
use headwater_actors::tenancy::TenancyHandle;
use headwater_models_remote::{ApiKey, RemoteChat, RemoteChatSettings};
use prometheus_client::registry::Registry;

use crate::config::{BackendProtocol, BackendSettings, Settings};
use crate::failure::Failure;

/// The gateway of this node; none when the settings name no model for it.
///
/// # Errors
/// Kind `Settings` when a key file cannot be read or a backend cannot be set up so.
pub(crate) fn start(
    settings: &Settings,
    runtime: &Runtime,
    tenancy: &TenancyHandle,
    registry: &mut Registry,
) -> Result<Option<GatewayHandle>, Failure> {
    if settings.gateway.models.is_empty() {
        return Ok(None);
    }
    let backends = settings.gateway.backends.iter().map(backend).collect::<Result<_, _>>()?;
    let gateway = GatewayHandle::new(
        runtime.clone(),
        tenancy.clone(),
        backends,
        settings.gateway_config(),
        settings.gateway_settings(),
        GatewayMetrics::register(registry),
    );
    gateway.map(Some).map_err(|problem| Failure::settings(format!("gateway.{problem}")))
}

fn backend(settings: &BackendSettings) -> Result<Backend, Failure> {
    let name = &settings.name;
    let protocol = match settings.protocol {
        BackendProtocol::OpenAi => Protocol::OpenAiChat,
        BackendProtocol::Anthropic => Protocol::AnthropicMessages,
        BackendProtocol::Gemini => Protocol::Gemini,
    };
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
