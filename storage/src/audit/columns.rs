//! The view `audit`: its columns, and a record's cells in their order.

use super::record::{AuditRecord, Content, ToolUse};
use super::table::Cell;

pub const DAY_MS: u64 = 86_400_000;

/// What a column's cells are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    Text,
    Int,
    Float,
    Bool,
    /// An `Int` of ms since 1970.
    Time,
    /// An `Int` of days since 1970.
    Date,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    pub kind: ColumnKind,
    /// Whether it holds what was said, which is kept for a shorter time.
    pub is_content: bool,
}

const fn column(name: &'static str, kind: ColumnKind) -> Column {
    Column { name, kind, is_content: false }
}

const fn content(name: &'static str) -> Column {
    Column { name, kind: ColumnKind::Text, is_content: true }
}

/// All columns. None is called `user`, which SQL takes for a function.
pub const COLUMNS: [Column; 43] = [
    column("id", ColumnKind::Text),
    column("time", ColumnKind::Time),
    column("day", ColumnKind::Date),
    column("team", ColumnKind::Text),
    column("project", ColumnKind::Text),
    column("user_id", ColumnKind::Text),
    column("key_id", ColumnKind::Text),
    column("route", ColumnKind::Text),
    column("protocol", ColumnKind::Text),
    column("model_asked", ColumnKind::Text),
    column("backend", ColumnKind::Text),
    column("model_served", ColumnKind::Text),
    column("tokens_in", ColumnKind::Int),
    column("tokens_out", ColumnKind::Int),
    column("tokens_cached", ColumnKind::Int),
    column("tokens_cache_written", ColumnKind::Int),
    column("is_estimated", ColumnKind::Bool),
    column("cost_usd", ColumnKind::Float),
    column("cost_micro_usd", ColumnKind::Int),
    column("latency_ms", ColumnKind::Int),
    column("ttft_ms", ColumnKind::Int),
    column("cache_hit", ColumnKind::Bool),
    // `email=2,iban=1`; none when nothing was taken out.
    column("redactions", ColumnKind::Text),
    column("retries", ColumnKind::Int),
    // In hexadecimal, as traces have it.
    column("trace_id", ColumnKind::Text),
    column("prompt_version", ColumnKind::Text),
    column("config_version", ColumnKind::Int),
    column("outcome", ColumnKind::Text),
    // Words parted by commas; none without a flag.
    column("flags", ColumnKind::Text),
    content("request"),
    content("response"),
    column("request_hash", ColumnKind::Text),
    column("response_hash", ColumnKind::Text),
    // Of calls of tools.
    column("call_id", ColumnKind::Text),
    column("session_id", ColumnKind::Text),
    column("agent", ColumnKind::Text),
    column("input_sha256", ColumnKind::Text),
    column("output_sha256", ColumnKind::Text),
    column("ended", ColumnKind::Text),
    column("memory_peak_bytes", ColumnKind::Int),
    column("cpu_us", ColumnKind::Int),
    column("egress_bytes", ColumnKind::Int),
    column("refusal", ColumnKind::Text),
];

/// The day that a time lies in, in days since 1970.
pub fn day_of(time_ms: u64) -> u64 {
    time_ms / DAY_MS
}

fn int(value: u64) -> Cell {
    Cell::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

fn optional(value: Option<&String>) -> Cell {
    value.map_or(Cell::Null, Cell::text)
}

/// The record's cells, one for each of [`COLUMNS`].
pub fn cells(record: &AuditRecord) -> [Cell; COLUMNS.len()] {
    let one = record;
    let redacted: Vec<String> =
        one.redactions.iter().map(|(entity, count)| format!("{entity}={count}")).collect();
    let words = |words: &[String]| match words {
        [] => Cell::Null,
        words => Cell::Text(words.join(",")),
    };
    let tool = one.tool.as_ref();
    let tool_text = |of: fn(&ToolUse) -> Option<&String>| optional(tool.and_then(of));
    let tool_int = |of: fn(&ToolUse) -> Option<u64>| tool.and_then(of).map_or(Cell::Null, int);
    let (mut full, mut hash) = ([Cell::Null, Cell::Null], [Cell::Null, Cell::Null]);
    match &one.content {
        None => {}
        Some(Content::Full { request, response }) => {
            full = [Cell::text(request), Cell::text(response)];
        }
        Some(Content::Hash { request, response }) => {
            hash = [Cell::text(request), Cell::text(response)];
        }
    }
    let ([request, response], [request_hash, response_hash]) = (full, hash);
    [
        Cell::text(&one.id),
        int(one.time_ms),
        int(day_of(one.time_ms)),
        Cell::text(&one.team),
        optional(one.project.as_ref()),
        optional(one.user.as_ref()),
        optional(one.key_id.as_ref()),
        Cell::text(&one.route),
        Cell::text(&one.protocol),
        Cell::text(&one.model_asked),
        Cell::text(&one.backend),
        Cell::text(&one.model_served),
        int(one.tokens_in),
        int(one.tokens_out),
        int(one.tokens_cached),
        int(one.tokens_cache_written),
        Cell::Bool(one.is_estimated),
        Cell::Float(one.cost_micro_usd as f64 / 1e6),
        int(one.cost_micro_usd),
        int(one.latency_ms),
        one.ttft_ms.map_or(Cell::Null, int),
        Cell::Bool(one.cache_hit),
        words(&redacted),
        int(u64::from(one.retries)),
        one.trace().map_or(Cell::Null, |trace| Cell::Text(format!("{:032x}", trace.own.trace_id))),
        optional(one.prompt_version.as_ref()),
        one.config_version.map_or(Cell::Null, int),
        Cell::text(one.outcome.name()),
        words(&one.flags),
        request,
        response,
        request_hash,
        response_hash,
        tool_text(|tool| Some(&tool.call_id)),
        tool_text(|tool| tool.session.as_ref()),
        tool_text(|tool| tool.agent.as_ref()),
        tool_text(|tool| Some(&tool.input_sha256)),
        tool_text(|tool| tool.output_sha256.as_ref()),
        tool_text(|tool| tool.ended.as_ref()),
        tool_int(|tool| tool.memory_peak_bytes),
        tool_int(|tool| tool.cpu_us),
        tool_int(|tool| tool.egress_bytes),
        tool_text(|tool| tool.refusal.as_ref()),
    ]
}

/// A time as people read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Since 1970.
    pub ms: u64,
}

impl Moment {
    /// `2026-12-01`
    pub fn date(self) -> String {
        let (year, month, day) = civil(day_of(self.ms));
        format!("{year:04}-{month:02}-{day:02}")
    }

    /// `2026-12-01T09:30:00.125Z`
    pub fn text(self) -> String {
        let (date, ms) = (self.date(), self.ms % DAY_MS);
        let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
        let (seconds, ms) = (ms / 1_000 % 60, ms % 1_000);
        format!("{date}T{hours:02}:{minutes:02}:{seconds:02}.{ms:03}Z")
    }

    /// The start of a day written as `2026-12-01`.
    pub fn of_date(text: &str) -> Option<Moment> {
        let mut parts = text.splitn(3, '-').map(|part| part.parse::<u64>().ok());
        let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
        if text.len() != 10 || !(1970..=9999).contains(&year) {
            return None;
        }
        // Few days lie between this guess and the date.
        let guess = (year - 1970) * 365 + (year - 1970) / 4;
        let near = guess.saturating_sub(32)..guess + 400;
        let found = near.into_iter().find(|one| civil(*one) == (year, month, day))?;
        Some(Moment { ms: found * DAY_MS })
    }
}

/// Year, month and day of a day since 1970, in the Gregorian calendar; by Howard Hinnant's
/// `civil_from_days`.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}
