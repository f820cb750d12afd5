//! Writes that are worked out at the commit: atomic operations and stamps.

use crate::StoreError;

/// Length of a [`Stamp`], in bytes.
pub const STAMP_BYTES: usize = 10;

/// A commit's stamp: 8 bytes of version and 2 of order within it, both big-endian. Later
/// commits have greater stamps.
pub type Stamp = [u8; STAMP_BYTES];

/// Bytes with a place that becomes the commit's [`Stamp`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamped {
    bytes: Vec<u8>,
    offset: usize,
}

impl Stamped {
    /// `before`, then the stamp, then `after`.
    pub fn between(before: &[u8], after: &[u8]) -> Self {
        let mut bytes = before.to_vec();
        let offset = bytes.len();
        bytes.extend_from_slice(&[0xff; STAMP_BYTES]);
        bytes.extend_from_slice(after);
        Stamped { bytes, offset }
    }

    /// The bytes with a placeholder in the stamp's place.
    pub fn placeholder(&self) -> &[u8] {
        &self.bytes
    }

    /// Where the stamp begins.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The bytes with the stamp in its place.
    pub fn fill(&self, stamp: &Stamp) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes[self.offset..self.offset + STAMP_BYTES].copy_from_slice(stamp);
        bytes
    }
}

/// An atomic operation. Operand and value are unsigned little-endian numbers; an absent
/// value counts as zeros (but see [`AtomicOp::Min`]), and the result has the operand's
/// length: longer values are cut, shorter ones padded with zeros.
/// Source: "Atomic operations" in FoundationDB's API reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtomicOp {
    /// The sum, wrapping at the operand's length.
    Add,
    /// The greater of both.
    Max,
    /// The lesser of both; the operand when the value is absent.
    Min,
}

impl AtomicOp {
    /// The new value.
    pub fn apply(self, value: Option<&[u8]>, operand: &[u8]) -> Vec<u8> {
        let Some(value) = value else { return operand.to_vec() };
        let mut old = value[..value.len().min(operand.len())].to_vec();
        old.resize(operand.len(), 0);
        match self {
            AtomicOp::Add => add(&old, operand),
            AtomicOp::Max if old.iter().rev().ge(operand.iter().rev()) => old,
            AtomicOp::Min if old.iter().rev().le(operand.iter().rev()) => old,
            AtomicOp::Max | AtomicOp::Min => operand.to_vec(),
        }
    }
}

fn add(left: &[u8], right: &[u8]) -> Vec<u8> {
    let mut carry = 0u16;
    let digits = left.iter().zip(right).map(|(left, right)| {
        let sum = u16::from(*left) + u16::from(*right) + carry;
        carry = sum >> 8;
        (sum & 0xff) as u8
    });
    digits.collect()
}

/// One write of a transaction, in the order of the calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mutation {
    Set { key: Vec<u8>, value: Vec<u8> },
    ClearRange(crate::KeyRange),
    Atomic { key: Vec<u8>, op: AtomicOp, operand: Vec<u8> },
    StampedKey { key: Stamped, value: Vec<u8> },
    StampedValue { key: Vec<u8>, value: Stamped },
}

impl Mutation {
    /// The keys that this writes, once the stamp is known.
    pub fn written(&self, stamp: &Stamp) -> crate::KeyRange {
        match self {
            Mutation::ClearRange(range) => range.clone(),
            Mutation::StampedKey { key, .. } => crate::KeyRange::of_key(&key.fill(stamp)),
            Mutation::Set { key, .. }
            | Mutation::Atomic { key, .. }
            | Mutation::StampedValue { key, .. } => crate::KeyRange::of_key(key),
        }
    }

    /// What FoundationDB counts against the transaction's size, near enough.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Mutation::Set { key, value } => key.len() + value.len(),
            Mutation::ClearRange(range) => range.begin.len() + range.end.len(),
            Mutation::Atomic { key, operand, .. } => key.len() + operand.len(),
            Mutation::StampedKey { key, value } => key.placeholder().len() + value.len(),
            Mutation::StampedValue { key, value } => key.len() + value.placeholder().len(),
        }
    }
}

/// Where an engine puts the outcome of mutations.
pub trait Target {
    /// # Errors
    /// When the engine cannot read.
    fn read(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// # Errors
    /// When the engine cannot write.
    fn write(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError>;
    /// # Errors
    /// When the engine cannot write.
    fn erase(&mut self, range: &crate::KeyRange) -> Result<(), StoreError>;
}

/// Applies the mutations in their order.
///
/// # Errors
/// The target's.
pub fn apply(
    mutations: &[Mutation],
    stamp: &Stamp,
    target: &mut impl Target,
) -> Result<(), StoreError> {
    for mutation in mutations {
        match mutation {
            Mutation::Set { key, value } => target.write(key, value)?,
            Mutation::ClearRange(range) => target.erase(range)?,
            Mutation::Atomic { key, op, operand } => {
                let old = target.read(key)?;
                target.write(key, &op.apply(old.as_deref(), operand))?;
            }
            Mutation::StampedKey { key, value } => target.write(&key.fill(stamp), value)?,
            Mutation::StampedValue { key, value } => target.write(key, &value.fill(stamp))?,
        }
    }
    Ok(())
}
