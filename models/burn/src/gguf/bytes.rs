//! A position in a file that never leaves it.

use crate::LoadError;

pub(super) struct Bytes<'a> {
    file: &'a str,
    data: &'a [u8],
    position: usize,
}

impl<'a> Bytes<'a> {
    pub(super) fn new(file: &'a str, data: &'a [u8]) -> Self {
        Bytes { file, data, position: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn file(&self) -> &'a str {
        self.file
    }

    /// The next `count` bytes; `field` is what they are read for.
    pub(super) fn take(&mut self, field: &str, count: u64) -> Result<&'a [u8], LoadError> {
        let rest = self.data.get(self.position..).unwrap_or_default();
        let taken = usize::try_from(count).ok().and_then(|count| rest.get(..count));
        let Some(taken) = taken else {
            let reason = format!(
                "{count} bytes are named, {} are left in the file; fetch it again",
                rest.len()
            );
            return Err(LoadError::malformed(self.file, field, reason));
        };
        self.position += taken.len();
        Ok(taken)
    }

    pub(super) fn number<const N: usize>(&mut self, field: &str) -> Result<[u8; N], LoadError> {
        let taken = self.take(field, N as u64)?;
        let mut number = [0; N];
        number.copy_from_slice(taken);
        Ok(number)
    }

    pub(super) fn u32(&mut self, field: &str) -> Result<u32, LoadError> {
        self.number(field).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, field: &str) -> Result<u64, LoadError> {
        self.number(field).map(u64::from_le_bytes)
    }

    pub(super) fn text(&mut self, field: &str) -> Result<String, LoadError> {
        let length = self.u64(field)?;
        let taken = self.take(field, length)?;
        String::from_utf8(taken.to_vec())
            .map_err(|error| LoadError::malformed(self.file, field, error.to_string()))
    }
}
