//! The double: records in memory, with a lake that can be away.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::columns::{COLUMNS, Column, ColumnKind, DAY_MS, Moment, cells};
use super::lake::{AuditError, AuditLake, AuditQuery, Backlog, Pruned, Scope};
use super::record::{AuditRecord, Content};
use super::table::{Cell, Table};

const CONTENT_DAYS: u64 = 7;
const METADATA_DAYS: u64 = 90;
/// What the backlog counts for a record beside what was said, in bytes.
const RECORD_BYTES: u64 = 500;

/// See the module; clones share what they hold. Its SQL is
/// `select <columns or *> from audit [limit n]` and no more.
#[derive(Debug, Clone, Default)]
pub struct MemoryAudit {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    ids: BTreeSet<String>,
    waiting: Vec<AuditRecord>,
    kept: Vec<AuditRecord>,
    is_down: bool,
    is_broken: bool,
    limit_bytes: Option<u64>,
}

impl State {
    fn backlog(&self) -> Backlog {
        let bytes = |one: &AuditRecord| RECORD_BYTES + one.content_bytes() as u64;
        Backlog {
            bytes: self.waiting.iter().map(bytes).sum(),
            records: self.waiting.len() as u64,
            oldest_ms: self.waiting.iter().map(|one| one.time_ms).min(),
        }
    }
}

impl MemoryAudit {
    pub fn new() -> MemoryAudit {
        MemoryAudit::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the lake is away; appends go on.
    pub fn set_down(&self, is_down: bool) {
        self.lock().is_down = is_down;
    }

    /// Whether appends fail as if the node's disk did.
    pub fn set_broken(&self, is_broken: bool) {
        self.lock().is_broken = is_broken;
    }

    /// The most that may wait for the lake.
    pub fn set_limit_bytes(&self, limit_bytes: u64) {
        self.lock().limit_bytes = Some(limit_bytes);
    }

    /// All records, those in the lake first.
    pub fn records(&self) -> Vec<AuditRecord> {
        let state = self.lock();
        state.kept.iter().chain(&state.waiting).cloned().collect()
    }
}

#[async_trait]
impl AuditLake for MemoryAudit {
    async fn append(&self, records: &[AuditRecord]) -> Result<u64, AuditError> {
        let mut state = self.lock();
        if state.is_broken {
            return Err(AuditError::Unavailable("the disk is broken".to_owned()));
        }
        let waiting_bytes = state.backlog().bytes;
        if let Some(limit_bytes) = state.limit_bytes
            && waiting_bytes + records.len() as u64 * RECORD_BYTES > limit_bytes
        {
            return Err(AuditError::Full { waiting_bytes, limit_bytes });
        }
        let mut new = 0;
        for record in records {
            if state.ids.insert(record.id.clone()) {
                state.waiting.push(record.clone());
                new += 1;
            }
        }
        Ok(new)
    }

    async fn flush(&self) -> Result<(), AuditError> {
        let mut state = self.lock();
        if state.is_down {
            return Err(AuditError::Unavailable("the lake is away".to_owned()));
        }
        let waiting = std::mem::take(&mut state.waiting);
        state.kept.extend(waiting);
        Ok(())
    }

    async fn query(&self, query: AuditQuery) -> Result<Table, AuditError> {
        let (columns, most) = parse(&query.sql)?;
        let most = most.unwrap_or(usize::MAX);
        let is_seen = |one: &&AuditRecord| match &query.scope {
            Scope::All => true,
            Scope::Team(team) => one.team == *team,
        };
        let records = self.records();
        let seen: Vec<&AuditRecord> = records.iter().filter(is_seen).take(most).collect();
        let is_truncated = seen.len() > query.limits.rows;
        let row = |one: &&AuditRecord| {
            let cells = cells(one);
            columns.iter().map(|place| shown(&COLUMNS[*place], &cells[*place])).collect()
        };
        let rows = seen.iter().take(query.limits.rows).map(row).collect();
        let columns = columns.iter().map(|place| COLUMNS[*place].name.to_owned()).collect();
        Ok(Table { columns, rows, is_truncated })
    }

    async fn prune(&self, now_ms: u64) -> Result<Pruned, AuditError> {
        let mut state = self.lock();
        if state.is_down {
            return Err(AuditError::Unavailable("the lake is away".to_owned()));
        }
        let before = state.kept.len();
        let is_old = |one: &AuditRecord, days: u64| one.time_ms + days * DAY_MS <= now_ms;
        state.kept.retain(|one| !one.flags.is_empty() || !is_old(one, METADATA_DAYS));
        let removed = (before - state.kept.len()) as u64;
        let mut stripped = 0;
        for one in &mut state.kept {
            let is_full = matches!(one.content, Some(Content::Full { .. }));
            if is_full && one.flags.is_empty() && is_old(one, CONTENT_DAYS) {
                one.content = None;
                stripped += 1;
            }
        }
        Ok(Pruned { stripped, removed, compacted: 0 })
    }

    fn backlog(&self) -> Backlog {
        self.lock().backlog()
    }
}

fn shown(column: &Column, cell: &Cell) -> Cell {
    match (column.kind, cell) {
        (ColumnKind::Time, Cell::Int(ms)) => Cell::Text(Moment { ms: ms.unsigned_abs() }.text()),
        (ColumnKind::Date, Cell::Int(days)) => {
            Cell::Text(Moment { ms: days.unsigned_abs() * DAY_MS }.date())
        }
        _ => cell.clone(),
    }
}

/// The places of the columns that a question asks for, and its limit.
fn parse(sql: &str) -> Result<(Vec<usize>, Option<usize>), AuditError> {
    let wrong = |problem: &str| {
        let allowed = "an audit in memory takes select <columns or *> from audit [limit <number>]";
        AuditError::Refused(format!("{problem}; {allowed}"))
    };
    let words: Vec<String> =
        sql.replace(',', " ").split_whitespace().map(str::to_lowercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ["select", rest @ ..] = words.as_slice() else { return Err(wrong("it is no select")) };
    let from = rest.iter().position(|word| *word == "from");
    let (asked, rest) = rest.split_at(from.ok_or_else(|| wrong("there is no from"))?);
    let most = match rest {
        ["from", "audit"] => None,
        ["from", "audit", "limit", most] => {
            Some(most.parse().map_err(|_| wrong("the limit is no number"))?)
        }
        _ => return Err(wrong("there is more than it can")),
    };
    let place = |name: &&str| {
        let found = COLUMNS.iter().position(|column| column.name == *name);
        found.ok_or_else(|| wrong(&format!("there is no column {name}")))
    };
    match asked {
        [] => Err(wrong("it asks for no column")),
        ["*"] => Ok(((0..COLUMNS.len()).collect(), most)),
        names => Ok((names.iter().map(place).collect::<Result<_, _>>()?, most)),
    }
}
