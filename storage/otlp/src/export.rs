//! The exporter: a queue, and a thread of its own that empties it.

use std::time::Duration;

use headwater_storage::audit::{AuditRecord, RecordSink};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanProcessor};

use super::span;

/// Where the spans of an endpoint go.
const PATH: &str = "/v1/traces";
/// Spans that wait while the collector is slow; more are lost, and the SDK's log says so.
const QUEUE: usize = 20_000;
const BATCH: usize = 512;

/// Where traces go, and what they say of their sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpSettings {
    /// The collector, such as `http://localhost:4318`; `/v1/traces` is put behind it where it has
    /// no path. Headers, such as a key, come from `OTEL_EXPORTER_OTLP_HEADERS` alone.
    pub endpoint: String,
    pub service_name: String,
    /// The node, as `service.instance.id`.
    pub instance: String,
    /// How often waiting spans go out, in ms.
    pub interval_ms: u64,
    /// Longest time for one batch, in ms.
    pub timeout_ms: u64,
}

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("cannot send traces to {endpoint}: {reason}")]
pub struct OtlpError {
    endpoint: String,
    reason: String,
}

/// See the module.
#[derive(Debug)]
pub struct OtlpTraces {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
}

impl OtlpTraces {
    /// Starts the thread. A collector that is away is no error: what cannot be sent is lost.
    ///
    /// # Errors
    /// When the endpoint is no address.
    pub fn start(settings: &OtlpSettings) -> Result<OtlpTraces, OtlpError> {
        let endpoint = address(&settings.endpoint);
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&endpoint)
            .with_timeout(Duration::from_millis(settings.timeout_ms))
            .build();
        let exporter = exporter
            .map_err(|error| OtlpError { endpoint: endpoint.clone(), reason: error.to_string() })?;
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(Duration::from_millis(settings.interval_ms))
            .build();
        let mut processor = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
        let resource = Resource::builder()
            .with_service_name(settings.service_name.clone())
            .with_attributes([
                KeyValue::new("service.instance.id", settings.instance.clone()),
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            ])
            .build();
        processor.set_resource(&resource);
        let scope = InstrumentationScope::builder("headwater")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        Ok(OtlpTraces { processor, scope })
    }
}

/// The endpoint with a path.
fn address(endpoint: &str) -> String {
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("http", endpoint));
    match rest.split_once('/') {
        Some((_, path)) if !path.is_empty() => format!("{scheme}://{rest}"),
        _ => format!("{scheme}://{}{PATH}", rest.trim_end_matches('/')),
    }
}

impl RecordSink for OtlpTraces {
    fn take(&self, record: &AuditRecord) {
        for span in span::of(record, &self.scope) {
            self.processor.on_end(span);
        }
    }

    fn close(&self, patience_ms: u64) {
        let patience = Duration::from_millis(patience_ms);
        if let Err(error) = self.processor.shutdown_with_timeout(patience) {
            tracing::warn!(%error, "the last traces may not have been sent");
        }
    }
}
