//! The spans of a record. Names and attributes are those of OpenTelemetry's semantic conventions
//! for generative AI clients and for HTTP servers; what is this gateway's own begins with
//! `headwater.`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headwater_storage::audit::{AuditRecord, Outcome, TraceParent};
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

/// The spans of a request; none when whoever began its trace does not record it.
pub(super) fn of(record: &AuditRecord, scope: &InstrumentationScope) -> Vec<SpanData> {
    let Some(trace) = record.trace().filter(|trace| trace.own.is_sampled) else {
        return Vec::new();
    };
    let end = UNIX_EPOCH + Duration::from_millis(record.time_ms);
    let start = end - Duration::from_millis(record.latency_ms.min(record.time_ms));
    let span = |place: TraceParent, parent: Option<TraceParent>, kind, name| Span {
        place,
        parent,
        kind,
        name,
        start,
        end,
    };
    let request = span(trace.own, trace.parent, SpanKind::Server, format!("POST {}", record.route));
    let mut spans = vec![request.data(record, request_attributes(record), scope)];
    if !record.backend.is_empty() && !record.cache_hit {
        let name = format!("{} {}", operation(record), record.model_served);
        let model = span(trace.model, Some(trace.own), SpanKind::Client, name);
        spans.push(model.data(record, model_attributes(record), scope));
    }
    spans
}

struct Span {
    place: TraceParent,
    parent: Option<TraceParent>,
    kind: SpanKind,
    name: String,
    start: SystemTime,
    end: SystemTime,
}

impl Span {
    fn data(
        self,
        record: &AuditRecord,
        attributes: Vec<KeyValue>,
        scope: &InstrumentationScope,
    ) -> SpanData {
        let TraceParent { trace_id, span_id, .. } = self.place;
        let is_remote = self.kind == SpanKind::Server;
        SpanData {
            span_context: SpanContext::new(
                TraceId::from(trace_id),
                SpanId::from(span_id),
                TraceFlags::SAMPLED,
                false,
                TraceState::default(),
            ),
            parent_span_id: self.parent.map_or(SpanId::INVALID, |one| SpanId::from(one.span_id)),
            parent_span_is_remote: is_remote && self.parent.is_some(),
            span_kind: self.kind,
            name: self.name.into(),
            start_time: self.start,
            end_time: self.end,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: status(record.outcome),
            instrumentation_scope: scope.clone(),
        }
    }
}

/// A client that leaves, or asks for what there is not, is no error of this gateway's.
fn status(outcome: Outcome) -> Status {
    match outcome {
        Outcome::Cut | Outcome::Unavailable | Outcome::TimedOut | Outcome::Limited => {
            Status::error(outcome.name())
        }
        _ => Status::Unset,
    }
}

fn operation(record: &AuditRecord) -> &'static str {
    match record.protocol.as_str() {
        "embedding" => "embeddings",
        "openai.completions" => "text_completion",
        _ => "chat",
    }
}

fn int(name: &'static str, value: u64) -> KeyValue {
    KeyValue::new(name, i64::try_from(value).unwrap_or(i64::MAX))
}

fn request_attributes(record: &AuditRecord) -> Vec<KeyValue> {
    let mut all = vec![
        KeyValue::new("http.request.method", "POST"),
        KeyValue::new("http.route", record.route.clone()),
        KeyValue::new("headwater.request_id", record.id.clone()),
        KeyValue::new("headwater.team", record.team.clone()),
        KeyValue::new("headwater.outcome", record.outcome.name()),
        KeyValue::new("headwater.cache_hit", record.cache_hit),
        KeyValue::new("headwater.cost_usd", record.cost_micro_usd as f64 / 1e6),
        int("headwater.retries", u64::from(record.retries)),
        KeyValue::new("gen_ai.operation.name", operation(record)),
        KeyValue::new("gen_ai.request.model", record.model_asked.clone()),
    ];
    let named = [
        ("headwater.project", record.project.as_ref()),
        ("headwater.key_id", record.key_id.as_ref()),
        ("headwater.prompt_version", record.prompt_version.as_ref()),
    ];
    let named = named.into_iter().filter_map(|(name, value)| Some((name, value?.clone())));
    all.extend(named.map(|(name, value)| KeyValue::new(name, value)));
    all.extend(record.config_version.map(|one| int("headwater.config_version", one)));
    for (entity, count) in &record.redactions {
        all.push(KeyValue::new(format!("headwater.redactions.{entity}"), *count as i64));
    }
    all.extend(failure(record));
    all
}

fn model_attributes(record: &AuditRecord) -> Vec<KeyValue> {
    let mut all = vec![
        KeyValue::new("gen_ai.operation.name", operation(record)),
        KeyValue::new("gen_ai.provider.name", record.backend.clone()),
        KeyValue::new("gen_ai.request.model", record.model_served.clone()),
        int("gen_ai.usage.input_tokens", record.tokens_in),
        int("gen_ai.usage.output_tokens", record.tokens_out),
        int("gen_ai.usage.cache_read.input_tokens", record.tokens_cached),
        int("gen_ai.usage.cache_creation.input_tokens", record.tokens_cache_written),
        KeyValue::new("headwater.usage_is_estimated", record.is_estimated),
    ];
    let first_s = record.ttft_ms.map(|ms| ms as f64 / 1e3);
    all.extend(first_s.map(|s| KeyValue::new("gen_ai.response.time_to_first_chunk", s)));
    all.extend(failure(record));
    all
}

fn failure(record: &AuditRecord) -> Option<KeyValue> {
    let is_whole = record.outcome == Outcome::Whole;
    (!is_whole).then(|| KeyValue::new("error.type", record.outcome.name()))
}
