//! Rows of the prompt service: a version byte, and JSON, which old rows may have less of.

use headwater_prompts::experiment::Experiment;
use headwater_prompts::{Access, Bundle, Head, Move, Problem, Promotion, PromptDocument};
use headwater_storage::tuple::{self, Element};
use headwater_storage::{RangeRead, ReadMode, StoreError, Transaction, codec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::keys::{self, PromptKey};
use super::nouns::VersionInfo;

const RECORD: u8 = 1;
/// Bytes of a document in one row; the store takes 100,000.
const PIECE_BYTES: usize = 80_000;
/// Changes that the log keeps; a node that missed more reads everything.
const LOG_ROWS: u64 = 4_096;

pub(super) fn encode(record: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let json = serde_json::to_string(record);
    let json = json.map_err(|error| StoreError::Usage(format!("a prompt's row: {error}")))?;
    codec::encode(RECORD, &json)
}

pub(super) fn decode<T: DeserializeOwned>(row: &[u8]) -> Result<T, StoreError> {
    let json: String = codec::decode(RECORD, row)?;
    serde_json::from_str(&json)
        .map_err(|error| StoreError::Corrupt(format!("a prompt's row: {error}")))
}

async fn load<T: DeserializeOwned>(
    transaction: &mut dyn Transaction,
    key: &[u8],
) -> Result<Option<T>, StoreError> {
    let row = transaction.get(key, ReadMode::Serializable).await?;
    row.as_deref().map(decode).transpose()
}

pub(super) async fn head(
    transaction: &mut dyn Transaction,
    prompt: &PromptKey,
) -> Result<Option<Head>, StoreError> {
    load(transaction, &prompt.head()).await
}

pub(super) async fn promotion(
    transaction: &mut dyn Transaction,
    prompt: &PromptKey,
    id: u64,
) -> Result<Option<Promotion>, StoreError> {
    load(transaction, &prompt.promotion(id)).await
}

pub(super) async fn version(
    transaction: &mut dyn Transaction,
    prompt: &PromptKey,
    number: u64,
) -> Result<Option<VersionInfo>, StoreError> {
    load(transaction, &prompt.version(number)).await
}

pub(super) async fn access(
    transaction: &mut dyn Transaction,
    team: &str,
) -> Result<Option<Access>, StoreError> {
    load(transaction, &keys::access(team)).await
}

/// The newest first.
pub(super) async fn newest<T: DeserializeOwned>(
    transaction: &mut dyn Transaction,
    range: headwater_storage::KeyRange,
    limit: usize,
) -> Result<Vec<T>, StoreError> {
    let read = RangeRead::all(range).reverse().limit(limit);
    transaction.range(read).await?.iter().map(|(_, row)| decode(row)).collect()
}

pub(super) async fn document(
    transaction: &mut dyn Transaction,
    prompt: &PromptKey,
    number: u64,
) -> Result<Option<PromptDocument>, StoreError> {
    let pieces = transaction.range(RangeRead::all(prompt.pieces(number))).await?;
    if pieces.is_empty() {
        return Ok(None);
    }
    let json: Vec<u8> = pieces.into_iter().flat_map(|(_, piece)| piece).collect();
    let document = serde_json::from_slice(&json);
    document.map(Some).map_err(|error| {
        StoreError::Corrupt(format!("{}/{} version {number}: {error}", prompt.team, prompt.name))
    })
}

/// What the partials of one version may come to, each as often as it is included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    texts: usize,
    bytes: usize,
}

impl Default for Room {
    fn default() -> Room {
        Room { texts: 200, bytes: 4_000_000 }
    }
}

/// A document with those of its partials.
pub(super) async fn bundle(
    transaction: &mut dyn Transaction,
    team: &str,
    document: PromptDocument,
    depth: usize,
    room: &mut Room,
) -> Result<Result<Bundle, Problem>, StoreError> {
    let mut partials = std::collections::BTreeMap::new();
    for (name, partial) in &document.partials {
        if depth >= headwater_prompts::DEPTH {
            break;
        }
        let key = PromptKey::new(team, &partial.prompt);
        let Some(inner) = self::document(transaction, &key, partial.version).await? else {
            let what =
                format!("names {} version {}, which is not there", partial.prompt, partial.version);
            return Ok(Err(Problem::new(format!("partials.{name}"), what)));
        };
        let bytes = inner.canonical().len();
        if room.texts == 0 || bytes > room.bytes {
            let what = "come to more than 200 texts or 4 MB, each as often as it is included; put some of them into one";
            return Ok(Err(Problem::new("partials", what)));
        }
        (room.texts, room.bytes) = (room.texts - 1, room.bytes - bytes);
        match Box::pin(bundle(transaction, team, inner, depth + 1, room)).await? {
            Ok(bundle) => {
                partials.insert(name.clone(), bundle);
            }
            missing => return Ok(missing),
        }
    }
    Ok(Ok(Bundle { document, partials }))
}

pub(super) fn store_version(
    transaction: &mut dyn Transaction,
    prompt: &PromptKey,
    info: &VersionInfo,
    canonical: &str,
) -> Result<(), StoreError> {
    transaction.set(&prompt.version(info.number), &encode(info)?)?;
    for (place, piece) in canonical.as_bytes().chunks(PIECE_BYTES).enumerate() {
        transaction.set(&prompt.piece(info.number, place as u64), piece)?;
    }
    Ok(())
}

pub(super) fn store_moves(
    transaction: &mut dyn Transaction,
    prompt: &PromptKey,
    moves: &[Move],
) -> Result<(), StoreError> {
    moves.iter().try_for_each(|one| transaction.set(&prompt.moved(one.number), &encode(one)?))
}

/// What a change was about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Changed {
    Prompt { team: String, name: String },
    Access { team: String },
}

/// Tells every node of a change.
pub(super) async fn tell(
    transaction: &mut dyn Transaction,
    changed: &Changed,
) -> Result<(), StoreError> {
    let next = revision(transaction, ReadMode::Serializable).await?.saturating_add(1);
    transaction.set(&keys::revision(), &codec::encode(RECORD, &next)?)?;
    transaction.set(&keys::log(next), &encode(changed)?)?;
    transaction.clear_range(&keys::log_before(next.saturating_sub(LOG_ROWS)))
}

/// Changes so far.
pub(super) async fn revision(
    transaction: &mut dyn Transaction,
    mode: ReadMode,
) -> Result<u64, StoreError> {
    let row = transaction.get(&keys::revision(), mode).await?;
    row.as_deref().map_or(Ok(0), |row| codec::decode(RECORD, row))
}

/// The prompt that a head's key names.
pub(super) fn prompt_of(key: &[u8]) -> Result<PromptKey, StoreError> {
    let mut path = tuple::unpack(key)?;
    match (path.pop(), path.pop()) {
        (Some(Element::Text(name)), Some(Element::Text(team))) => Ok(PromptKey { team, name }),
        _ => Err(StoreError::Corrupt("the key of a prompt's head".to_owned())),
    }
}

/// The experiment that a row of the store is about, if it is one: for whoever watches what is
/// written.
pub fn experiment_of(key: &[u8], row: &[u8]) -> Option<Experiment> {
    let path = tuple::unpack(key).ok()?;
    let is_one =
        path.first() == Some(&"prompts".into()) && path.get(1) == Some(&"experiment".into());
    if is_one { decode(row).ok() } else { None }
}

/// The team that the key of roles names.
pub(super) fn team_of(key: &[u8]) -> Result<String, StoreError> {
    match tuple::unpack(key)?.pop() {
        Some(Element::Text(team)) => Ok(team),
        _ => Err(StoreError::Corrupt("the key of a team's roles".to_owned())),
    }
}
