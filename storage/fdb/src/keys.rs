//! The port's keys under the prefix of the platform's directory.

use headwater_storage::{KeyRange, Stamped, StoreError, limits};

/// Length of the trailer by which FoundationDB is told where a stamp goes, in bytes.
const TRAILER_BYTES: usize = 4;

/// All keys under one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeySpace {
    prefix: Vec<u8>,
    /// The first key behind all keys of the prefix.
    end: Vec<u8>,
}

impl KeySpace {
    /// # Errors
    /// [`StoreError::Usage`] for a prefix that FoundationDB itself uses.
    pub(crate) fn new(prefix: &[u8]) -> Result<Self, StoreError> {
        if prefix.first() == Some(&0xff) {
            let text = "the directory lies in FoundationDB's own keys; choose another directory";
            return Err(StoreError::Usage(text.to_owned()));
        }
        Ok(KeySpace { prefix: prefix.to_vec(), end: KeyRange::of_prefix(prefix).end })
    }

    /// A key of the port as FoundationDB has it.
    ///
    /// # Errors
    /// [`StoreError::Limit`] and [`StoreError::Usage`], as [`limits::check_key`]; the limit
    /// counts the prefix too, because FoundationDB does.
    pub(crate) fn key(&self, key: &[u8]) -> Result<Vec<u8>, StoreError> {
        limits::check_key(key)?;
        self.joined(key)
    }

    /// A border of a range; the port's last border, 0xff, is the end of the prefix.
    ///
    /// # Errors
    /// As [`KeySpace::key`].
    pub(crate) fn border(&self, key: &[u8]) -> Result<Vec<u8>, StoreError> {
        limits::check_end(key)?;
        if key == [0xff] { Ok(self.end.clone()) } else { Ok([&self.prefix, key].concat()) }
    }

    /// A range of the port as FoundationDB has it.
    ///
    /// # Errors
    /// As [`KeySpace::key`].
    pub(crate) fn range(&self, range: &KeyRange) -> Result<KeyRange, StoreError> {
        Ok(KeyRange { begin: self.border(&range.begin)?, end: self.border(&range.end)? })
    }

    /// A key of FoundationDB as the port has it.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a key outside of the prefix, which no read asks for.
    pub(crate) fn relative(&self, key: &[u8]) -> Result<Vec<u8>, StoreError> {
        match key.strip_prefix(self.prefix.as_slice()) {
            Some(rest) => Ok(rest.to_vec()),
            None => Err(StoreError::Corrupt("a read left the platform's directory".to_owned())),
        }
    }

    /// A key with a place for the stamp, in the form that FoundationDB takes.
    ///
    /// # Errors
    /// As [`KeySpace::key`]; the limit counts the trailer too.
    pub(crate) fn stamped_key(&self, key: &Stamped) -> Result<Vec<u8>, StoreError> {
        limits::check_key(key.placeholder())?;
        let bytes = self.joined(key.placeholder())?;
        let overhead = self.prefix.len() + TRAILER_BYTES;
        check_room("stamped key", key, limits::KEY_BYTES.saturating_sub(overhead))?;
        Ok(with_trailer(bytes, self.prefix.len() + key.offset()))
    }

    fn joined(&self, key: &[u8]) -> Result<Vec<u8>, StoreError> {
        let allowed = limits::KEY_BYTES.saturating_sub(self.prefix.len());
        if key.len() > allowed {
            return Err(StoreError::Limit { what: "key", given: key.len(), allowed });
        }
        Ok([&self.prefix, key].concat())
    }
}

/// A value with a place for the stamp, in the form that FoundationDB takes.
///
/// # Errors
/// [`StoreError::Limit`]; it counts the trailer too, because FoundationDB does.
pub(crate) fn stamped_value(value: &Stamped) -> Result<Vec<u8>, StoreError> {
    limits::check_value(value.placeholder())?;
    check_room("stamped value", value, limits::VALUE_BYTES - TRAILER_BYTES)?;
    Ok(with_trailer(value.placeholder().to_vec(), value.offset()))
}

fn check_room(what: &'static str, stamped: &Stamped, allowed: usize) -> Result<(), StoreError> {
    let given = stamped.placeholder().len();
    if given > allowed { Err(StoreError::Limit { what, given, allowed }) } else { Ok(()) }
}

/// Appends where the stamp goes, as a little-endian number; FoundationDB cuts it off.
/// Source: `SET_VERSIONSTAMPED_KEY` in FoundationDB's API reference.
fn with_trailer(mut bytes: Vec<u8>, offset: usize) -> Vec<u8> {
    // Keys and values are far shorter than 4 GiB, which the callers have checked.
    bytes.extend_from_slice(&(offset as u32).to_le_bytes());
    bytes
}
