//! Rows of approvals.

use headwater_storage::{ReadMode, StoreError, Transaction};
use headwater_tools::confirmation::{Approval, ApprovalState, Asked};
use serde::{Deserialize, Serialize};

use super::super::keys;
use super::calls::{ReferenceRow, reference, reference_row};
use super::{decode, encode};

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

pub(in crate::tools) fn decode_approval(
    team: &str,
    id: &str,
    row: &[u8],
) -> Result<Approval, StoreError> {
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

pub(in crate::tools) async fn approval(
    transaction: &mut dyn Transaction,
    team: &str,
    id: &str,
) -> Result<Option<Approval>, StoreError> {
    let row = transaction.get(&keys::approval(team, id), ReadMode::Serializable).await?;
    row.as_deref().map(|row| decode_approval(team, id, row)).transpose()
}

pub(in crate::tools) fn store_approval(
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
