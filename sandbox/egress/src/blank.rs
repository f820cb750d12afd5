//! Stars over secrets in what comes back.

use crate::secret::Secret;

/// Finds the values in a stream of bytes, over the borders of its pieces, and writes stars over them.
#[derive(Default)]
pub(crate) struct Blank {
    values: Vec<Secret>,
    /// The end of what came, which may be the beginning of a value.
    held: Vec<u8>,
}

impl Blank {
    pub(crate) fn new(values: Vec<Secret>) -> Self {
        let values = values.into_iter().filter(|value| !value.expose().is_empty()).collect();
        Self { values, held: Vec::new() }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.values.is_empty()
    }

    /// Writes stars over every value in these bytes.
    pub(crate) fn cover(&self, bytes: &mut [u8]) {
        for value in &self.values {
            let finder = memchr::memmem::Finder::new(value.expose());
            let found: Vec<usize> = finder.find_iter(bytes).collect();
            for at in found {
                bytes[at..at + value.expose().len()].fill(b'*');
            }
        }
    }

    /// The bytes that can pass now.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(piece);
        self.cover(&mut bytes);
        let keep = self.values.iter().map(|value| begun(&bytes, value.expose())).max().unwrap_or(0);
        self.held = bytes.split_off(bytes.len() - keep);
        bytes
    }

    /// What was held back, at the end.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

/// How many bytes at the end are the beginning of the value.
fn begun(bytes: &[u8], value: &[u8]) -> usize {
    let most = bytes.len().min(value.len() - 1);
    (1..=most).rev().find(|len| bytes.ends_with(&value[..*len])).unwrap_or(0)
}
