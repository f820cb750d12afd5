//! Rows of the tool service: a version byte, and JSON, which old rows may have less of.

use std::collections::BTreeMap;

use headwater_storage::{AtomicOp, RangeRead, ReadMode, StoreError, Transaction, codec};
use headwater_tools::call::{CallResult, Ending, Refusal, ToolReference};
use headwater_tools::confirmation::{Approval, ApprovalState, Asked};
use headwater_tools::idempotency::{Record, Repeat, State};
use headwater_tools::session::{Reservation, Session, SessionBudget, SessionParts, Standing};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::keys::{self, Place};

const RECORD: u8 = 1;
/// Bytes of a text in one row; the store takes 100,000.
const PIECE_BYTES: usize = 80_000;

pub(super) fn encode(record: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let json = serde_json::to_string(record);
    let json = json.map_err(|error| StoreError::Usage(format!("a tool's row: {error}")))?;
    codec::encode(RECORD, &json)
}

pub(super) fn decode<T: DeserializeOwned>(row: &[u8]) -> Result<T, StoreError> {
    let json: String = codec::decode(RECORD, row)?;
    serde_json::from_str(&json).map_err(|error| corrupt(&error))
}

pub(super) fn corrupt(error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("a tool's row: {error}"))
}

pub(super) async fn load_raw(
    transaction: &mut dyn Transaction,
    key: &[u8],
) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(transaction.get(key, ReadMode::Serializable).await?.map(Into::into))
}

pub(super) async fn load<T: DeserializeOwned>(
    transaction: &mut dyn Transaction,
    key: &[u8],
) -> Result<Option<T>, StoreError> {
    let row = transaction.get(key, ReadMode::Serializable).await?;
    row.as_deref().map(decode).transpose()
}

/// Every node hears that something of tools or grants has changed.
pub(super) fn tell(transaction: &mut dyn Transaction) -> Result<(), StoreError> {
    transaction.atomic(&keys::revision(), AtomicOp::Add, &1_u64.to_le_bytes())
}

/// Writes a text of any length in place of the one before.
pub(super) fn store_text(
    transaction: &mut dyn Transaction,
    place: &Place,
    text: &[u8],
) -> Result<(), StoreError> {
    transaction.clear_range(&place.pieces())?;
    for (number, piece) in text.chunks(PIECE_BYTES).enumerate() {
        transaction.set(&place.piece(number as u64), piece)?;
    }
    Ok(())
}

pub(super) async fn load_text(
    transaction: &mut dyn Transaction,
    place: &Place,
) -> Result<Vec<u8>, StoreError> {
    let pieces = transaction.range(RangeRead::all(place.pieces())).await?;
    Ok(pieces.into_iter().flat_map(|(_, piece)| piece).collect())
}

/// A version of a tool, beside its definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct VersionRow {
    pub(super) published_ms: u64,
    pub(super) by: String,
    /// Why it is not served any more.
    #[serde(default)]
    pub(super) withdrawn: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ReferenceRow(String, String, String);

fn reference(row: ReferenceRow) -> ToolReference {
    ToolReference { name: row.0, version: row.1, definition_sha256: row.2 }
}

fn reference_row(one: &ToolReference) -> ReferenceRow {
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
    created_ms: u64,
}

/// A call's row, and its answer where it has one.
pub(super) async fn call(
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
        created_ms: row.created_ms,
    }))
}

pub(super) fn store_call(
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
        created_ms: record.created_ms,
    };
    transaction.set(&key.row(), &encode(&row)?)
}

/// A step as the loop watch remembers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SeenRow {
    pub(super) tool: String,
    pub(super) arguments: String,
    pub(super) result: String,
    #[serde(default)]
    pub(super) is_polling: bool,
}

/// A session, but its scratchpad and its trace, which have rows of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SessionRow {
    subject: String,
    agent: Option<String>,
    budget: [u64; 9],
    standing: StandingRow,
    created_ms: u64,
    touched_ms: u64,
    paused_ms: u64,
    calls: u64,
    iterations: u64,
    spent_microdollars: u64,
    over_microdollars: u64,
    reservations: BTreeMap<String, (u64, u64)>,
    /// Steps that were ever noted.
    pub(super) steps: u64,
    /// The last calls, the oldest first.
    pub(super) seen: Vec<SeenRow>,
    /// Set when the last calls were a loop.
    pub(super) looped: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum StandingRow {
    Active,
    Paused { since_ms: u64 },
    Ended { why: String, at_ms: u64 },
}

/// A session, and what the shell keeps beside it.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) session: Session,
    pub(super) steps: u64,
    pub(super) seen: Vec<SeenRow>,
    pub(super) looped: Option<String>,
}

impl Held {
    pub(super) fn new(session: Session) -> Held {
        Held { session, steps: 0, seen: Vec::new(), looped: None }
    }

    pub(super) fn row(&self) -> SessionRow {
        let parts = self.session.parts();
        let SessionBudget {
            calls_max,
            iterations_max,
            microdollars_max,
            wall_ms_max,
            scratchpad_bytes,
            scratchpad_keys,
            trace_steps,
            idle_ttl_ms,
            ttl_ms,
        } = parts.budget;
        let held = |(id, one): (String, Reservation)| (id, (one.microdollars, one.expires_ms));
        SessionRow {
            subject: parts.subject,
            agent: parts.agent,
            budget: [
                calls_max,
                iterations_max,
                microdollars_max,
                wall_ms_max,
                scratchpad_bytes,
                scratchpad_keys,
                trace_steps,
                idle_ttl_ms,
                ttl_ms,
            ],
            standing: match parts.standing {
                Standing::Active => StandingRow::Active,
                Standing::Paused { since_ms } => StandingRow::Paused { since_ms },
                Standing::Ended { why, at_ms } => StandingRow::Ended { why, at_ms },
            },
            created_ms: parts.created_ms,
            touched_ms: parts.touched_ms,
            paused_ms: parts.paused_ms,
            calls: parts.calls,
            iterations: parts.iterations,
            spent_microdollars: parts.spent_microdollars,
            over_microdollars: parts.over_microdollars,
            reservations: parts.reservations.into_iter().map(held).collect(),
            steps: self.steps,
            seen: self.seen.clone(),
            looped: self.looped.clone(),
        }
    }

    /// `scratchpad` is empty unless it is asked about.
    pub(super) fn of(
        team: &str,
        id: &str,
        row: SessionRow,
        scratchpad: BTreeMap<String, Vec<u8>>,
    ) -> Result<Held, StoreError> {
        let [
            calls_max,
            iterations_max,
            microdollars_max,
            wall_ms_max,
            scratchpad_bytes,
            scratchpad_keys,
            trace_steps,
            idle_ttl_ms,
            ttl_ms,
        ] = row.budget;
        let held =
            |(id, (microdollars, expires_ms))| (id, Reservation { microdollars, expires_ms });
        let session = Session::from_parts(SessionParts {
            id: id.to_owned(),
            team: team.to_owned(),
            subject: row.subject,
            agent: row.agent,
            budget: SessionBudget {
                calls_max,
                iterations_max,
                microdollars_max,
                wall_ms_max,
                scratchpad_bytes,
                scratchpad_keys,
                trace_steps,
                idle_ttl_ms,
                ttl_ms,
            },
            standing: match row.standing {
                StandingRow::Active => Standing::Active,
                StandingRow::Paused { since_ms } => Standing::Paused { since_ms },
                StandingRow::Ended { why, at_ms } => Standing::Ended { why, at_ms },
            },
            created_ms: row.created_ms,
            touched_ms: row.touched_ms,
            paused_ms: row.paused_ms,
            calls: row.calls,
            iterations: row.iterations,
            spent_microdollars: row.spent_microdollars,
            over_microdollars: row.over_microdollars,
            reservations: row.reservations.into_iter().map(held).collect(),
            scratchpad,
            trace: Vec::new(),
            trace_dropped: 0,
        });
        let session = session.map_err(|problem| corrupt(&problem))?;
        Ok(Held { session, steps: row.steps, seen: row.seen, looped: row.looped })
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct StepRow {
    pub(super) at_ms: u64,
    pub(super) kind: String,
    pub(super) call: Option<String>,
    pub(super) tool: Option<String>,
    pub(super) text: String,
    pub(super) duration_ms: u64,
    pub(super) microdollars: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ApprovalRow {
    subject: String,
    agent: Option<String>,
    session: Option<String>,
    call: String,
    tool: ReferenceRow,
    arguments_sha256: String,
    summary: String,
    created_ms: u64,
    expires_ms: u64,
    state: ApprovalStateRow,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum ApprovalStateRow {
    Open,
    Given { by: String, at_ms: u64, expires_ms: u64 },
    Refused { by: String, at_ms: u64, reason: String },
    Expired,
    Used { by: String, at_ms: u64, call: String },
}

pub(super) fn decode_approval(team: &str, id: &str, row: &[u8]) -> Result<Approval, StoreError> {
    let row: ApprovalRow = decode(row)?;
    Ok(Approval {
        id: id.to_owned(),
        asked: Asked {
            team: team.to_owned(),
            subject: row.subject,
            agent: row.agent,
            session: row.session,
            call: row.call,
            tool: reference(row.tool),
            arguments_sha256: row.arguments_sha256,
            summary: row.summary,
        },
        created_ms: row.created_ms,
        expires_ms: row.expires_ms,
        state: match row.state {
            ApprovalStateRow::Open => ApprovalState::Open,
            ApprovalStateRow::Given { by, at_ms, expires_ms } => {
                ApprovalState::Given { by, at_ms, expires_ms }
            }
            ApprovalStateRow::Refused { by, at_ms, reason } => {
                ApprovalState::Refused { by, at_ms, reason }
            }
            ApprovalStateRow::Expired => ApprovalState::Expired,
            ApprovalStateRow::Used { by, at_ms, call } => ApprovalState::Used { by, at_ms, call },
        },
    })
}

pub(super) async fn approval(
    transaction: &mut dyn Transaction,
    team: &str,
    id: &str,
) -> Result<Option<Approval>, StoreError> {
    let row = transaction.get(&keys::approval(team, id), ReadMode::Serializable).await?;
    row.as_deref().map(|row| decode_approval(team, id, row)).transpose()
}

pub(super) fn store_approval(
    transaction: &mut dyn Transaction,
    one: &Approval,
) -> Result<(), StoreError> {
    let Approval { id, asked, created_ms, expires_ms, state } = one;
    let row = ApprovalRow {
        subject: asked.subject.clone(),
        agent: asked.agent.clone(),
        session: asked.session.clone(),
        call: asked.call.clone(),
        tool: reference_row(&asked.tool),
        arguments_sha256: asked.arguments_sha256.clone(),
        summary: asked.summary.clone(),
        created_ms: *created_ms,
        expires_ms: *expires_ms,
        state: match state.clone() {
            ApprovalState::Open => ApprovalStateRow::Open,
            ApprovalState::Given { by, at_ms, expires_ms } => {
                ApprovalStateRow::Given { by, at_ms, expires_ms }
            }
            ApprovalState::Refused { by, at_ms, reason } => {
                ApprovalStateRow::Refused { by, at_ms, reason }
            }
            ApprovalState::Expired => ApprovalStateRow::Expired,
            ApprovalState::Used { by, at_ms, call } => ApprovalStateRow::Used { by, at_ms, call },
        },
    };
    transaction.set(&keys::approval(&asked.team, id), &encode(&row)?)
}
