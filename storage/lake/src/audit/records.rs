//! Records as they lie in the spill: a version byte, then the fields in their order.

use std::collections::BTreeMap;

use headwater_storage::audit::{AuditError, AuditRecord, Content, Outcome, ToolUse, TraceParent};
use headwater_storage::codec;
use serde::{Deserialize, Serialize};

/// A record without a tool's call, as earlier nodes left it in their spill.
const PLAIN: u8 = 1;
const VERSION: u8 = 2;

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
struct ToolRow {
    call_id: String,
    session: Option<String>,
    agent: Option<String>,
    input_sha256: String,
    output_sha256: Option<String>,
    ended: Option<String>,
    memory_peak_bytes: Option<u64>,
    cpu_us: Option<u64>,
    egress_bytes: Option<u64>,
    refusal: Option<String>,
}

#[derive(Serialize, Deserialize)]
enum ContentRow {
    Full { request: String, response: String },
    Hash { request: String, response: String },
}

pub(super) fn encode(records: Vec<AuditRecord>) -> Result<Vec<u8>, AuditError> {
    let with_tool = |mut record: AuditRecord| {
        let tool = record.tool.take().map(tool_row);
        (row(record), tool)
    };
    let rows: Vec<(RecordRow, Option<ToolRow>)> = records.into_iter().map(with_tool).collect();
    codec::encode(VERSION, &rows).map_err(|error| AuditError::Refused(error.to_string()))
}

/// None when the bytes hold no records of a version that this build knows.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<AuditRecord>> {
    let rows: Vec<(RecordRow, Option<ToolRow>)> = match codec::decode(VERSION, bytes) {
        Ok(rows) => rows,
        Err(_) => {
            let plain: Vec<RecordRow> = codec::decode(PLAIN, bytes).ok()?;
            plain.into_iter().map(|row| (row, None)).collect()
        }
    };
    let read = |(row, tool): (RecordRow, Option<ToolRow>)| {
        Some(AuditRecord { tool: tool.map(tool_use), ..record(row)? })
    };
    rows.into_iter().map(read).collect()
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
        tool: None,
    })
}

fn tool_row(one: ToolUse) -> ToolRow {
    ToolRow {
        call_id: one.call_id,
        session: one.session,
        agent: one.agent,
        input_sha256: one.input_sha256,
        output_sha256: one.output_sha256,
        ended: one.ended,
        memory_peak_bytes: one.memory_peak_bytes,
        cpu_us: one.cpu_us,
        egress_bytes: one.egress_bytes,
        refusal: one.refusal,
    }
}

fn tool_use(row: ToolRow) -> ToolUse {
    ToolUse {
        call_id: row.call_id,
        session: row.session,
        agent: row.agent,
        input_sha256: row.input_sha256,
        output_sha256: row.output_sha256,
        ended: row.ended,
        memory_peak_bytes: row.memory_peak_bytes,
        cpu_us: row.cpu_us,
        egress_bytes: row.egress_bytes,
        refusal: row.refusal,
    }
}
