//! Rows of calls: who makes one, or what it came to.

use headwater_storage::{StoreError, Transaction};
use headwater_tools::call::{CallResult, Ending, Refusal, ToolReference};
use headwater_tools::idempotency::{Record, Repeat, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::keys;
use super::{corrupt, encode, load, load_text, store_text};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ReferenceRow(String, String, String);

pub(super) fn reference(row: ReferenceRow) -> ToolReference {
    ToolReference { name: row.0, version: row.1, definition_sha256: row.2 }
}

pub(super) fn reference_row(one: &ToolReference) -> ReferenceRow {
    ReferenceRow(one.name.clone(), one.version.clone(), one.definition_sha256.clone())
}

/// How a call ended, without the answer's content, which lies in pieces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum EndingRow {
    Done {
        is_error: bool,
        is_cached: bool,
        is_fallback: bool,
        is_dry_run: bool,
        duration_ms: u64,
        cost_microdollars: u64,
        deprecation: Option<String>,
    },
    OutputInvalid {
        tool: String,
        problem: String,
    },
    OutputTooLarge {
        tool: String,
        bytes: u64,
        bytes_max: u64,
    },
    OutputBlocked {
        tool: String,
        what: String,
    },
    Unknown {
        id: String,
        why: String,
    },
}

fn ending_row(ending: &Ending) -> EndingRow {
    match ending {
        Ok(one) => EndingRow::Done {
            is_error: one.is_error,
            is_cached: one.is_cached,
            is_fallback: one.is_fallback,
            is_dry_run: one.is_dry_run,
            duration_ms: one.duration_ms,
            cost_microdollars: one.cost_microdollars,
            deprecation: one.deprecation.clone(),
        },
        Err(Refusal::OutputInvalid { tool, problem }) => {
            EndingRow::OutputInvalid { tool: tool.clone(), problem: problem.clone() }
        }
        Err(Refusal::OutputTooLarge { tool, bytes, bytes_max }) => {
            EndingRow::OutputTooLarge { tool: tool.clone(), bytes: *bytes, bytes_max: *bytes_max }
        }
        Err(Refusal::OutputBlocked { tool, what }) => {
            EndingRow::OutputBlocked { tool: tool.clone(), what: what.clone() }
        }
        Err(Refusal::OutcomeUnknown { id, why }) => {
            EndingRow::Unknown { id: id.clone(), why: why.clone() }
        }
        // A call that was not made has no row.
        Err(other) => EndingRow::Unknown { id: String::new(), why: other.to_string() },
    }
}

fn ending(row: EndingRow, content: Value) -> Ending {
    match row {
        EndingRow::Done {
            is_error,
            is_cached,
            is_fallback,
            is_dry_run,
            duration_ms,
            cost_microdollars,
            deprecation,
        } => Ok(CallResult {
            content,
            is_error,
            is_cached,
            is_fallback,
            is_dry_run,
            duration_ms,
            cost_microdollars,
            deprecation,
        }),
        EndingRow::OutputInvalid { tool, problem } => Err(Refusal::OutputInvalid { tool, problem }),
        EndingRow::OutputTooLarge { tool, bytes, bytes_max } => {
            Err(Refusal::OutputTooLarge { tool, bytes, bytes_max })
        }
        EndingRow::OutputBlocked { tool, what } => Err(Refusal::OutputBlocked { tool, what }),
        EndingRow::Unknown { id, why } => Err(Refusal::OutcomeUnknown { id, why }),
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum StateRow {
    Running { holder: String, since_ms: u64, expires_ms: u64 },
    Waiting { approval: String },
    Done { ending: EndingRow, ended_ms: u64 },
    Unknown { why: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RepeatRow {
    ReadOnly,
    SafeWithId,
    Unsafe,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct CallRow {
    tool: ReferenceRow,
    arguments_sha256: String,
    is_dry_run: bool,
    repeat: RepeatRow,
    state: StateRow,
    epoch: u64,
    #[serde(default)]
    may_have_run: bool,
    #[serde(default)]
    is_counted: bool,
    created_ms: u64,
}

/// A call's row, and its answer where it has one.
pub(in crate::tools) async fn call(
    transaction: &mut dyn Transaction,
    key: &keys::CallKey,
) -> Result<Option<Record>, StoreError> {
    let Some(row) = load::<CallRow>(transaction, &key.row()).await? else { return Ok(None) };
    let state = match row.state {
        StateRow::Running { holder, since_ms, expires_ms } => {
            State::Running { holder, since_ms, expires_ms }
        }
        StateRow::Waiting { approval } => State::Waiting { approval },
        StateRow::Unknown { why } => State::Unknown { why },
        StateRow::Done { ending: ended, ended_ms } => {
            let content = match &ended {
                EndingRow::Done { .. } => {
                    let text = load_text(transaction, &key.answer()).await?;
                    serde_json::from_slice(&text).map_err(|error| corrupt(&error))?
                }
                _ => Value::Null,
            };
            State::Done { ending: ending(ended, content), ended_ms }
        }
    };
    Ok(Some(Record {
        tool: reference(row.tool),
        arguments_sha256: row.arguments_sha256,
        is_dry_run: row.is_dry_run,
        repeat: match row.repeat {
            RepeatRow::ReadOnly => Repeat::ReadOnly,
            RepeatRow::SafeWithId => Repeat::SafeWithId,
            RepeatRow::Unsafe => Repeat::Unsafe,
        },
        state,
        epoch: row.epoch,
        may_have_run: row.may_have_run,
        is_counted: row.is_counted,
        created_ms: row.created_ms,
    }))
}

pub(in crate::tools) fn store_call(
    transaction: &mut dyn Transaction,
    key: &keys::CallKey,
    record: &Record,
) -> Result<(), StoreError> {
    let state = match &record.state {
        State::Running { holder, since_ms, expires_ms } => StateRow::Running {
            holder: holder.clone(),
            since_ms: *since_ms,
            expires_ms: *expires_ms,
        },
        State::Waiting { approval } => StateRow::Waiting { approval: approval.clone() },
        State::Unknown { why } => StateRow::Unknown { why: why.clone() },
        State::Done { ending, ended_ms } => {
            if let Ok(result) = ending {
                let text = result.content.to_string();
                store_text(transaction, &key.answer(), text.as_bytes())?;
            }
            StateRow::Done { ending: ending_row(ending), ended_ms: *ended_ms }
        }
    };
    let row = CallRow {
        tool: reference_row(&record.tool),
        arguments_sha256: record.arguments_sha256.clone(),
        is_dry_run: record.is_dry_run,
        repeat: match record.repeat {
            Repeat::ReadOnly => RepeatRow::ReadOnly,
            Repeat::SafeWithId => RepeatRow::SafeWithId,
            Repeat::Unsafe => RepeatRow::Unsafe,
        },
        state,
        epoch: record.epoch,
        may_have_run: record.may_have_run,
        is_counted: record.is_counted,
        created_ms: record.created_ms,
    };
    transaction.set(&key.row(), &encode(&row)?)
}
