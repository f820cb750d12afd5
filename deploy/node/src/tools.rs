//! The tool service as the settings choose it: what answers calls, and where code runs.

mod backends;
pub(crate) mod command;
pub(crate) mod mcp;

use std::sync::Arc;

use headwater_actors::gateway::{AuditHandle, GatewayHandle};
use headwater_actors::identity::IdentityHandle;
use headwater_actors::runtime::Runtime;
use headwater_actors::tenancy::TenancyHandle;
use headwater_actors::tools::{
    AgentFollower, CallRunner, ToolsHandle, ToolsMetrics, ToolsSettings, VectorSearches,
};
use headwater_storage::retry::Retry;
use prometheus_client::registry::Registry;

use crate::config::Settings;
use crate::failure::Failure;
use crate::{prompts, sandbox};

/// What the service stands on.
pub(crate) struct Parts<'a> {
    runtime: &'a Runtime,
    store: &'a Retry,
    tenancy: &'a TenancyHandle,
    identity: &'a IdentityHandle,
    gateway: Option<&'a GatewayHandle>,
    audit: Option<&'a AuditHandle>,
}

impl<'a> Parts<'a> {
    pub(crate) fn of(
        runtime: &'a Runtime,
        store: &'a Retry,
        tenancy: &'a TenancyHandle,
        identity: &'a IdentityHandle,
        gateway: &'a Option<GatewayHandle>,
        audit: &'a Option<AuditHandle>,
    ) -> Parts<'a> {
        let (gateway, audit) = (gateway.as_ref(), audit.as_ref());
        Parts { runtime, store, tenancy, identity, gateway, audit }
    }
}

/// The tools of this node, followed from now on.
///
/// # Errors
/// Kind `Settings` for a server, a secret source or a folder that cannot be used.
pub(crate) async fn start(
    settings: &Settings,
    parts: Parts<'_>,
    searches: VectorSearches,
    registry: &mut Registry,
) -> Result<ToolsHandle, Failure> {
    let Parts { runtime, store, tenancy, identity, gateway, audit } = parts;
    let section = &settings.tools;
    let chosen = ToolsSettings {
        cache_bytes: section.cache_bytes,
        calls_max: section.calls_max,
        team_calls_max: section.team_calls_max,
        tells: !settings.notices.webhooks.is_empty(),
        agents: section.agents.settings(),
        ..ToolsSettings::default()
    };
    let secrets = prompts::secrets(&settings.secrets, runtime)?;
    let encoders = searches.fleet().clone();
    let backends = backends::find(section, searches, secrets.clone())?;
    let metrics = ToolsMetrics::register(registry);
    let (runtime, store) = (runtime.clone(), store.clone());
    let tools =
        ToolsHandle::new(runtime.clone(), store, tenancy.clone(), chosen, backends, metrics);
    if let Some(audit) = audit {
        tools.record_to(audit.clone());
    }
    if let Some(encoder) = settings.search_encoder() {
        tools.compare_by(Arc::new(encoders), encoder);
    }
    tools.end_with_keys_of(identity.clone());
    if let Some(gateway) = gateway {
        tools.ask_through(gateway.clone());
    }
    let parts = sandbox::Parts { runtime: &runtime, secrets, audit: audit.cloned() };
    if let Some(sandbox) = sandbox::start(settings, parts, registry).await? {
        tools.run_code_in(sandbox);
    }
    if let Err(error) = tools.refresh().await {
        tracing::warn!(%error, "tools are not known yet: calls are refused until they are");
    }
    runtime.spawn(tools.clone().follow());
    runtime.spawn(CallRunner::new(tools.clone()).run());
    runtime.spawn(AgentFollower::new(tools.clone()).run());
    Ok(tools)
}
