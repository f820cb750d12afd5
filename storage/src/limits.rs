//! FoundationDB's limits, kept by every engine.
//! Source: "Known Limitations" in FoundationDB's documentation.

use crate::StoreError;

/// Longest key, in bytes. FoundationDB counts the platform's directory prefix too, a dozen
/// bytes or so; keys that come near the limit belong into values.
pub const KEY_BYTES: usize = 10_000;
/// Longest value, in bytes.
pub const VALUE_BYTES: usize = 100_000;
/// Most bytes that a transaction may write: keys, values and conflict ranges.
pub const TRANSACTION_BYTES: usize = 10_000_000;
/// Longest life of a transaction, in ms.
pub const TRANSACTION_MS: u64 = 5_000;

/// # Errors
/// [`StoreError::Limit`] for a key above [`KEY_BYTES`]; [`StoreError::Usage`] for a key in
/// the system's own space.
pub fn check_key(key: &[u8]) -> Result<(), StoreError> {
    if key.len() > KEY_BYTES {
        return Err(StoreError::Limit { what: "key", given: key.len(), allowed: KEY_BYTES });
    }
    if key.first() == Some(&0xff) {
        return Err(StoreError::Usage(
            "keys that start with byte 0xff belong to the engine; use another prefix".to_owned(),
        ));
    }
    Ok(())
}

/// The end of a range may be 0xff itself, which is behind every key, or one byte longer
/// than a key, which is right behind the longest one.
///
/// # Errors
/// As [`check_key`].
pub fn check_end(key: &[u8]) -> Result<(), StoreError> {
    match key {
        [0xff] => Ok(()),
        [rest @ .., 0] => check_key(rest),
        _ => check_key(key),
    }
}

/// # Errors
/// [`StoreError::Limit`] for a value above [`VALUE_BYTES`].
pub fn check_value(value: &[u8]) -> Result<(), StoreError> {
    if value.len() > VALUE_BYTES {
        let given = value.len();
        return Err(StoreError::Limit { what: "value", given, allowed: VALUE_BYTES });
    }
    Ok(())
}

/// # Errors
/// [`StoreError::Limit`] for a transaction above [`TRANSACTION_BYTES`].
pub fn check_transaction(bytes: usize) -> Result<(), StoreError> {
    if bytes > TRANSACTION_BYTES {
        let (what, allowed) = ("transaction", TRANSACTION_BYTES);
        return Err(StoreError::Limit { what, given: bytes, allowed });
    }
    Ok(())
}
