//! Records as bytes: a version byte, then serde with bincode's standard layout.

#[cfg(test)]
mod tests;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::StoreError;

/// Records and messages are smaller. Without a limit, damaged bytes that claim a long text would
/// be given the memory for it before the rest is looked at.
const DECODED_BYTES_MAX: usize = 128 << 20;
const LIMITED: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<DECODED_BYTES_MAX>,
> = bincode::config::standard().with_limit::<DECODED_BYTES_MAX>();

/// Writes a record of the given layout version.
///
/// # Errors
/// [`StoreError::Usage`] when the record's type cannot be serialised.
pub fn encode(version: u8, record: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![version];
    bincode::serde::encode_into_std_write(record, &mut bytes, bincode::config::standard())
        .map_err(|error| StoreError::Usage(format!("the record cannot be encoded: {error}")))?;
    Ok(bytes)
}

/// The layout version of a record, by which its reader is chosen.
///
/// # Errors
/// [`StoreError::Corrupt`] for an empty value.
pub fn version(bytes: &[u8]) -> Result<u8, StoreError> {
    bytes.first().copied().ok_or_else(|| StoreError::Corrupt("a record is empty".to_owned()))
}

/// Reads a record of the given layout version.
///
/// # Errors
/// [`StoreError::Corrupt`] for another version, or bytes that are too few, too many or wrong.
pub fn decode<T: DeserializeOwned>(expected: u8, bytes: &[u8]) -> Result<T, StoreError> {
    let found = version(bytes)?;
    if found != expected {
        let text = format!("a record has layout version {found}, this reader knows {expected}");
        return Err(StoreError::Corrupt(text));
    }
    let body = &bytes[1..];
    let (record, used) = bincode::serde::decode_from_slice(body, LIMITED)
        .map_err(|error| StoreError::Corrupt(format!("a record does not decode: {error}")))?;
    if used != body.len() {
        let left = body.len() - used;
        return Err(StoreError::Corrupt(format!("a record has {left} bytes too many")));
    }
    Ok(record)
}
