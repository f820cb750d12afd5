//! Rows of the versions of what the gateway serves.

use headwater_storage::tuple::{self, Element};
use headwater_storage::{KeyRange, RangeRead, ReadMode, StoreError, Transaction, codec};
use serde::{Deserialize, Serialize};

use super::Version;
use crate::gateway::ConfigDocument;

const RECORD: u8 = 1;
/// Bytes of a document in one row; the store takes 100,000.
const PIECE_BYTES: usize = 80_000;

fn key(rest: &[Element]) -> Vec<u8> {
    tuple::pack(&[&["gateway".into(), "config".into()], rest].concat())
}

fn place(number: u64) -> Element {
    Element::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

/// Key: `("gateway", "config", "current")`; the number of the version that is served.
pub(super) fn current_key() -> Vec<u8> {
    key(&["current".into()])
}

/// Key: `("gateway", "config", "version", number)`.
fn version_key(number: u64) -> Vec<u8> {
    key(&["version".into(), place(number)])
}

/// Keys: `("gateway", "config", "document", number, place)`; JSON, in pieces.
fn pieces_of(number: u64) -> KeyRange {
    tuple::below(&["gateway".into(), "config".into(), "document".into(), place(number)])
}

#[derive(Serialize, Deserialize)]
struct VersionRecord {
    made_ms: u64,
    author: String,
    reason: String,
    restores: Option<u64>,
}

pub(super) fn decode_current(row: &[u8]) -> Result<u64, StoreError> {
    codec::decode(RECORD, row)
}

/// The number of the version that is served; 0 when none was stored.
pub(super) async fn current(transaction: &mut dyn Transaction) -> Result<u64, StoreError> {
    let row = transaction.get(&current_key(), ReadMode::Serializable).await?;
    row.map_or(Ok(0), |row| decode_current(&row))
}

/// As [`current`]; where that row is damaged, the last version that is stored.
pub(super) async fn newest_number(transaction: &mut dyn Transaction) -> Result<u64, StoreError> {
    match current(transaction).await {
        Err(StoreError::Corrupt(_)) => {
            Ok(newest(transaction, 1).await?.first().map_or(0, |version| version.number))
        }
        number => number,
    }
}

pub(super) async fn load(
    transaction: &mut dyn Transaction,
    number: u64,
) -> Result<Option<Version>, StoreError> {
    let row = transaction.get(&version_key(number), ReadMode::Serializable).await?;
    let Some(row) = row else { return Ok(None) };
    let record: VersionRecord = codec::decode(RECORD, &row)?;
    let pieces = transaction.range(RangeRead::all(pieces_of(number))).await?;
    let json: Vec<u8> = pieces.into_iter().flat_map(|(_, piece)| piece).collect();
    let document: ConfigDocument = serde_json::from_slice(&json)
        .map_err(|error| StoreError::Corrupt(format!("gateway version {number}: {error}")))?;
    Ok(Some(record.version(number, document)))
}

/// What stands in the place of a record that cannot be read.
const UNREADABLE: &str = "(what is stored of this version is damaged)";

/// The newest versions first, without their documents.
pub(super) async fn newest(
    transaction: &mut dyn Transaction,
    limit: usize,
) -> Result<Vec<Version>, StoreError> {
    let range = tuple::below(&["gateway".into(), "config".into(), "version".into()]);
    let rows = transaction.range(RangeRead::all(range).reverse().limit(limit)).await?;
    let version = |(key, row): (Vec<u8>, Vec<u8>)| {
        let number = match tuple::unpack(&key)?.pop() {
            Some(Element::Integer(number)) => u64::try_from(number).unwrap_or(u64::MAX),
            _ => return Err(StoreError::Corrupt("the key of a gateway version".to_owned())),
        };
        // One damaged row hides none of the others.
        let record = codec::decode(RECORD, &row).unwrap_or_else(|_| VersionRecord {
            made_ms: 0,
            author: String::new(),
            reason: UNREADABLE.to_owned(),
            restores: None,
        });
        Ok(record.version(number, ConfigDocument::default()))
    };
    rows.into_iter().map(version).collect()
}

/// Writes the version and serves it from now on.
pub(super) fn store(
    transaction: &mut dyn Transaction,
    version: &Version,
    json: &[u8],
) -> Result<(), StoreError> {
    let Version { number, made_ms, author, reason, restores, .. } = version;
    let record = VersionRecord {
        made_ms: *made_ms,
        author: author.clone(),
        reason: reason.clone(),
        restores: *restores,
    };
    transaction.set(&version_key(*number), &codec::encode(RECORD, &record)?)?;
    for (order, piece) in json.chunks(PIECE_BYTES).enumerate() {
        let key = key(&["document".into(), place(*number), place(order as u64)]);
        transaction.set(&key, piece)?;
    }
    transaction.set(&current_key(), &codec::encode(RECORD, number)?)
}

impl VersionRecord {
    fn version(self, number: u64, document: ConfigDocument) -> Version {
        let VersionRecord { made_ms, author, reason, restores } = self;
        Version { number, document, made_ms, author, reason, restores }
    }
}
