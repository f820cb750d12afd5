//! The audit as the settings choose it: its lake, its spill and its key; and what the command line
//! asks of it.

pub(crate) mod command;

use std::path::Path;
use std::sync::Arc;

use headwater_actors::gateway::{
    AuditError, AuditHandle, AuditMetrics, ContentPolicy, GatewayHandle, HashKey, RecordSink,
};
use headwater_actors::runtime::Runtime;
use headwater_storage_lake::audit::{ParquetAudit, ParquetAuditSettings};
use headwater_storage_otlp::{OtlpSettings, OtlpTraces};
use prometheus_client::registry::Registry;

use crate::config::{Settings, data_dir};
use crate::failure::Failure;
use crate::ingest::places::{SCHEME_END, store_variables};
use crate::{secret_file, store};

/// The key that this node drew for its hashes, in the data folder.
const KEY_FILE: &str = "audit.key";

/// The audit of this node, with a record of every request of its gateway; none when the settings leave it out. The lake itself may be away.
///
/// # Errors
/// Kind `Settings` when the location is none that this build knows or a key cannot be read,
/// `Unavailable` when the spill cannot be used.
pub(crate) fn start(
    settings: &Settings,
    runtime: &Runtime,
    gateway: Option<&GatewayHandle>,
    registry: &mut Registry,
) -> Result<Option<AuditHandle>, Failure> {
    if !settings.is_audited() {
        return Ok(None);
    }
    let section = &settings.audit;
    let folder = data_dir(settings)?;
    let location = match section.location.as_deref() {
        Some(address) if address.contains(SCHEME_END) => address.to_owned(),
        Some(path) => folder_address(Path::new(path))?,
        None => folder_address(&folder.join("audit"))?,
    };
    let standard = ParquetAuditSettings::new(location, folder.join("audit-spill"));
    let lake = ParquetAuditSettings {
        options: store_variables(),
        content_days: section.content_days,
        metadata_days: section.metadata_days,
        ..standard
    };
    let lake = ParquetAuditSettings {
        spill: headwater_storage_lake::audit::SpillSettings {
            limit_bytes: section.spill_limit_bytes,
            ..lake.spill
        },
        ..lake
    };
    let now_ms = store::since_1970().as_millis() as u64;
    let lake = ParquetAudit::open(lake, now_ms, runtime.environment().draw());
    let lake = lake.map_err(|error| match error {
        AuditError::Refused(said) => Failure::settings(format!("audit.location: {said}")),
        other => Failure::unavailable(other),
    })?;
    let policy = ContentPolicy {
        standard: section.content.into(),
        by_team: section
            .content_by_team
            .iter()
            .map(|(team, content)| (team.clone(), (*content).into()))
            .collect(),
        key: hash_key(settings, &folder)?,
    };
    let metrics = AuditMetrics::register(registry);
    let audit = settings.audit_settings();
    let handle = AuditHandle::new(runtime.clone(), Arc::new(lake), audit, policy, metrics);
    let handle = match traces(settings)? {
        Some(traces) => handle.tracing(traces),
        None => handle,
    };
    runtime.spawn(handle.clone().write());
    runtime.spawn(handle.clone().keep());
    if let Some(gateway) = gateway {
        gateway.record_to(handle.clone());
    }
    Ok(Some(handle))
}

/// Where traces of the requests go, when the settings name a collector.
fn traces(settings: &Settings) -> Result<Option<Arc<dyn RecordSink>>, Failure> {
    let section = &settings.telemetry;
    let Some(endpoint) = section.otlp_endpoint.clone() else { return Ok(None) };
    let otlp = OtlpSettings {
        endpoint,
        service_name: section.service_name.clone(),
        instance: settings.cluster.node.clone(),
        interval_ms: section.interval_ms,
        timeout_ms: section.timeout_ms,
    };
    let traces = OtlpTraces::start(&otlp)
        .map_err(|error| Failure::settings(format!("telemetry.otlp_endpoint: {error}")))?;
    Ok(Some(Arc::new(traces)))
}

/// A folder as the address of a store. It is made, as a store cannot tell a missing folder from an
/// empty one.
fn folder_address(folder: &Path) -> Result<String, Failure> {
    let wrong = |error: std::io::Error| {
        Failure::settings(format!("audit.location: cannot use {}: {error}", folder.display()))
    };
    std::fs::create_dir_all(folder).map_err(wrong)?;
    let folder = folder.canonicalize().map_err(wrong)?;
    let text = folder.to_str().ok_or_else(|| {
        let folder = folder.display();
        Failure::settings(format!("audit.location: {folder} is no UTF-8; choose another folder"))
    })?;
    // What has a meaning in addresses is written otherwise.
    let text = text.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    Ok(format!("file://{text}/"))
}

/// The key of the hashes: the one that the settings name, else this node's own.
fn hash_key(settings: &Settings, folder: &Path) -> Result<HashKey, Failure> {
    let own = folder.join(KEY_FILE);
    let file = match &settings.audit.hash_key_file {
        Some(file) => file,
        None => {
            if !own.exists() {
                secret_file::write_new(&own, &secret_file::draw()?)?;
            }
            &own
        }
    };
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::settings(format!("audit.hash_key_file: cannot read {}: {error}", file.display()))
    })?;
    let text = text.trim();
    if text.len() < 32 {
        let file = file.display();
        let advice = "make one with `headwater token --new-key FILE`";
        return Err(Failure::settings(format!(
            "audit.hash_key_file: {file} holds less than 32 characters; {advice}"
        )));
    }
    Ok(HashKey::new(text.as_bytes()))
}
