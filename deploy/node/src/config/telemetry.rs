//! The settings of traces.

use serde::Deserialize;

use super::{Nonsense, Settings};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySection {
    /// An OpenTelemetry collector that takes OTLP over HTTP, such as `http://localhost:4318`; no
    /// traces are sent without it. Headers come from `OTEL_EXPORTER_OTLP_HEADERS`.
    pub otlp_endpoint: Option<String>,
    pub service_name: String,
    /// How often traces go out, in ms.
    pub interval_ms: u64,
    /// Longest time for one batch of them, in ms.
    pub timeout_ms: u64,
}

impl Default for TelemetrySection {
    fn default() -> Self {
        TelemetrySection {
            otlp_endpoint: None,
            service_name: "headwater".to_owned(),
            interval_ms: 5_000,
            timeout_ms: 10_000,
        }
    }
}

impl Settings {
    /// Checks what types cannot say of traces.
    pub(super) fn check_telemetry(&self) -> Result<(), Nonsense> {
        let section = &self.telemetry;
        let fail = |key: &str, problem: &str| {
            let key = vec!["telemetry".to_owned(), key.to_owned()];
            Err(Nonsense { key, problem: problem.to_owned() })
        };
        for (key, value) in
            [("interval_ms", section.interval_ms), ("timeout_ms", section.timeout_ms)]
        {
            if value == 0 {
                return fail(key, "is 0; it must be at least 1");
            }
        }
        let Some(endpoint) = section.otlp_endpoint.as_deref() else { return Ok(()) };
        if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
            return fail("otlp_endpoint", "is no http:// or https:// address");
        }
        if !self.is_audited() {
            let problem = "needs the audit, whose records traces are made of; set audit.enabled";
            return fail("otlp_endpoint", problem);
        }
        Ok(())
    }
}
