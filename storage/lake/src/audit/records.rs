//! Records as they lie in the spill: a version byte, then the fields in their order.

use std::collections::BTreeMap;

use headwater_storage::audit::{AuditError, AuditRecord, Content, Outcome, TraceParent};
use headwater_storage::codec;
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct RecordRow {
    id: String,
    time_ms: u64,
    team: String,
    project: Option<String>,
    user: Option<String>,
    key_id: Option<String>,
    route: String,
    protocol: String,
    model_asked: String,
    backend: String,
    model_served: String,
    tokens: [u64; 4],
    is_estimated: bool,
    cost_micro_usd: u64,
    latency_ms: u64,
    ttft_ms: Option<u64>,
    cache_hit: bool,
    redactions: BTreeMap<String, u64>,
    retries: u32,
    /// As the header `traceparent`.
    trace_parent: Option<String>,
    prompt_version: Option<String>,
    config_version: Option<u64>,
    outcome: String,
    flags: Vec<String>,
    content: Option<ContentRow>,
}

#[derive(Serialize, Deserialize)]
enum ContentRow {
    Full { request: String, response: String },
    Hash { request: String, response: String },
}

pub(super) fn encode(records: Vec<AuditRecord>) -> Result<Vec<u8>, AuditError> {
    let rows: Vec<RecordRow> = records.into_iter().map(row).collect();
    codec::encode(VERSION, &rows).map_err(|error| AuditError::Refused(error.to_string()))
}

/// None when the bytes hold no records of a version that this build knows.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<AuditRecord>> {
    let rows: Vec<RecordRow> = codec::decode(VERSION, bytes).ok()?;
    rows.into_iter().map(record).collect()
}

fn row(one: AuditRecord) -> RecordRow {
    let content = one.content.map(|content| match content {
        Content::Full { request, response } => ContentRow::Full { request, response },
        Content::Hash { request, response } => ContentRow::Hash { request, response },
    });
    RecordRow {
        id: one.id,
        time_ms: one.time_ms,
        team: one.team,
        project: one.project,
        user: one.user,
        key_id: one.key_id,
        route: one.route,
        protocol: one.protocol,
        model_asked: one.model_asked,
        backend: one.backend,
        model_served: one.model_served,
        tokens: [one.tokens_in, one.tokens_out, one.tokens_cached, one.tokens_cache_written],
        is_estimated: one.is_estimated,
        cost_micro_usd: one.cost_micro_usd,
        latency_ms: one.latency_ms,
        ttft_ms: one.ttft_ms,
        cache_hit: one.cache_hit,
        redactions: one.redactions,
        retries: one.retries,
        trace_parent: one.trace_parent.map(|trace| trace.header()),
        prompt_version: one.prompt_version,
        config_version: one.config_version,
        outcome: one.outcome.name().to_owned(),
        flags: one.flags,
        content,
    }
}

fn record(row: RecordRow) -> Option<AuditRecord> {
    let [tokens_in, tokens_out, tokens_cached, tokens_cache_written] = row.tokens;
    let content = row.content.map(|content| match content {
        ContentRow::Full { request, response } => Content::Full { request, response },
        ContentRow::Hash { request, response } => Content::Hash { request, response },
    });
    Some(AuditRecord {
        id: row.id,
        time_ms: row.time_ms,
        team: row.team,
        project: row.project,
        user: row.user,
        key_id: row.key_id,
        route: row.route,
        protocol: row.protocol,
        model_asked: row.model_asked,
        backend: row.backend,
        model_served: row.model_served,
        tokens_in,
        tokens_out,
        tokens_cached,
        tokens_cache_written,
        is_estimated: row.is_estimated,
        cost_micro_usd: row.cost_micro_usd,
        latency_ms: row.latency_ms,
        ttft_ms: row.ttft_ms,
        cache_hit: row.cache_hit,
        redactions: row.redactions,
        retries: row.retries,
        trace_parent: row.trace_parent.as_deref().and_then(TraceParent::read),
        prompt_version: row.prompt_version,
        config_version: row.config_version,
        outcome: Outcome::named(&row.outcome)?,
        flags: row.flags,
        content,
    })
}
