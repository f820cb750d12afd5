//! Rows of the tool service: a version byte, and JSON, which old rows may have less of.

mod agents;
mod approvals;
mod calls;
mod sessions;

use headwater_storage::{AtomicOp, RangeRead, ReadMode, StoreError, Transaction, codec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::keys::{self, Place};

pub(super) use agents::{CallerRow, EntryRow, LeaseRow, OfferedRow, RunRow, finish_of};
pub(super) use approvals::{approval, decode_approval, store_approval};
pub(super) use calls::{call, store_call};
pub(super) use sessions::{Held, SeenRow, SessionRow, StepRow};

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
    transaction.get(key, ReadMode::Serializable).await
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
