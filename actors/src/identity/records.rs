//! The directory's rows as bytes.

use headwater_storage::{StoreError, codec};
use serde::{Deserialize, Serialize};

use super::nouns::{Holder, Key, RevokedToken};
use super::secret::Fingerprint;

const RECORD: u8 = 1;

/// A key with what is kept of its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyRecord {
    pub(super) key: Key,
    pub(super) secret: Fingerprint,
    /// The secret before the last rotation, good until `key.previous_until_ms`.
    pub(super) previous: Option<Fingerprint>,
}

#[derive(Serialize, Deserialize)]
struct KeyRow {
    id: String,
    team: String,
    project: Option<String>,
    user: Option<String>,
    models: Vec<String>,
    tier: String,
    note: String,
    created_ms: u64,
    expires_ms: Option<u64>,
    rotated_ms: Option<u64>,
    previous_until_ms: Option<u64>,
    revoked_ms: Option<u64>,
    secret: [u8; 32],
    previous: Option<[u8; 32]>,
}

pub(super) fn encode_key(record: &KeyRecord) -> Result<Vec<u8>, StoreError> {
    let KeyRecord { key, secret, previous } = record.clone();
    let Holder { team, project, user, models, tier } = key.holder;
    let row = KeyRow {
        id: key.id,
        team,
        project,
        user,
        models,
        tier,
        note: key.note,
        created_ms: key.created_ms,
        expires_ms: key.expires_ms,
        rotated_ms: key.rotated_ms,
        previous_until_ms: key.previous_until_ms,
        revoked_ms: key.revoked_ms,
        secret: secret.0,
        previous: previous.map(|fingerprint| fingerprint.0),
    };
    codec::encode(RECORD, &row)
}

pub(super) fn decode_key(bytes: &[u8]) -> Result<KeyRecord, StoreError> {
    let row: KeyRow = codec::decode(RECORD, bytes)?;
    let KeyRow { team, project, user, models, tier, .. } = row;
    let key = Key {
        id: row.id,
        holder: Holder { team, project, user, models, tier },
        note: row.note,
        created_ms: row.created_ms,
        expires_ms: row.expires_ms,
        rotated_ms: row.rotated_ms,
        previous_until_ms: row.previous_until_ms,
        revoked_ms: row.revoked_ms,
    };
    let previous = row.previous.map(Fingerprint);
    Ok(KeyRecord { key, secret: Fingerprint(row.secret), previous })
}

/// What a change was about; the row that it names says how it stands now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum LogRow {
    Key { id: String },
    Token { issuer: String, id: String, expires_ms: u64 },
}

pub(super) fn encode_log(row: &LogRow) -> Result<Vec<u8>, StoreError> {
    codec::encode(RECORD, row)
}

pub(super) fn decode_log(bytes: &[u8]) -> Result<LogRow, StoreError> {
    codec::decode(RECORD, bytes)
}

#[derive(Serialize, Deserialize)]
struct TokenRow {
    issuer: String,
    id: String,
    expires_ms: u64,
}

pub(super) fn encode_token(token: &RevokedToken) -> Result<Vec<u8>, StoreError> {
    let RevokedToken { issuer, id, expires_ms } = token.clone();
    codec::encode(RECORD, &TokenRow { issuer, id, expires_ms })
}

pub(super) fn decode_token(bytes: &[u8]) -> Result<RevokedToken, StoreError> {
    let TokenRow { issuer, id, expires_ms } = codec::decode(RECORD, bytes)?;
    Ok(RevokedToken { issuer, id, expires_ms })
}

pub(super) fn encode_revision(revision: u64) -> Result<Vec<u8>, StoreError> {
    codec::encode(RECORD, &revision)
}

/// 0 before the first change.
pub(super) fn decode_revision(row: Option<&[u8]>) -> Result<u64, StoreError> {
    row.map_or(Ok(0), |row| codec::decode(RECORD, row))
}
