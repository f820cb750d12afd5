//! Keys from typed elements, in an encoding whose byte order is the elements' order.
//! Source: FoundationDB's tuple layer ("design/tuple.md" in its repository), so that keys
//! look the same on every engine and other tools can read them.

use crate::{KeyRange, STAMP_BYTES, Stamp, Stamped, StoreError};

#[cfg(test)]
mod tests;

const NULL: u8 = 0x00;
const BYTES: u8 = 0x01;
const TEXT: u8 = 0x02;
const ZERO: u8 = 0x14;
const STAMP: u8 = 0x33;
const ESCAPE: u8 = 0xff;
/// A stamp, then two bytes that the user orders by.
const STAMP_ELEMENT_BYTES: usize = STAMP_BYTES + 2;

/// One element of a key, in ascending order of kinds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    Null,
    Bytes(Vec<u8>),
    Text(String),
    Integer(i64),
    /// A commit's stamp, and a number that orders several within one transaction.
    Stamp(Stamp, u16),
}

impl From<&str> for Element {
    fn from(text: &str) -> Self {
        Element::Text(text.to_owned())
    }
}

impl From<&[u8]> for Element {
    fn from(bytes: &[u8]) -> Self {
        Element::Bytes(bytes.to_vec())
    }
}

impl From<i64> for Element {
    fn from(number: i64) -> Self {
        Element::Integer(number)
    }
}

impl From<u32> for Element {
    fn from(number: u32) -> Self {
        Element::Integer(i64::from(number))
    }
}

/// The elements as one key.
pub fn pack(elements: &[Element]) -> Vec<u8> {
    let mut key = Vec::new();
    for element in elements {
        match element {
            Element::Null => key.push(NULL),
            Element::Bytes(bytes) => pack_bytes(BYTES, bytes, &mut key),
            Element::Text(text) => pack_bytes(TEXT, text.as_bytes(), &mut key),
            Element::Integer(number) => pack_integer(*number, &mut key),
            Element::Stamp(stamp, order) => {
                key.push(STAMP);
                key.extend_from_slice(stamp);
                key.extend_from_slice(&order.to_be_bytes());
            }
        }
    }
    key
}

/// A key that ends in the stamp of the commit that writes it.
pub fn pack_stamped(elements: &[Element], order: u16) -> Stamped {
    let mut before = pack(elements);
    before.push(STAMP);
    Stamped::between(&before, &order.to_be_bytes())
}

/// All keys that start with these elements and have at least one more.
pub fn below(elements: &[Element]) -> KeyRange {
    let mut begin = pack(elements);
    let mut end = begin.clone();
    begin.push(0x00);
    end.push(0xff);
    KeyRange { begin, end }
}

/// Reads a key made by [`pack`].
///
/// # Errors
/// [`StoreError::Corrupt`] when no elements could have made the key.
pub fn unpack(key: &[u8]) -> Result<Vec<Element>, StoreError> {
    let mut elements = Vec::new();
    let mut rest = key;
    while let Some((kind, body)) = rest.split_first() {
        let (element, behind) = match *kind {
            NULL => (Element::Null, body),
            BYTES => {
                let (bytes, behind) = unpack_bytes(body)?;
                (Element::Bytes(bytes), behind)
            }
            TEXT => {
                let (bytes, behind) = unpack_bytes(body)?;
                let text = String::from_utf8(bytes).map_err(|_| damaged("text is not UTF-8"))?;
                (Element::Text(text), behind)
            }
            0x0c..=0x1c => unpack_integer(*kind, body)?,
            STAMP => unpack_stamp(body)?,
            other => return Err(damaged(&format!("unknown element kind {other:#04x}"))),
        };
        elements.push(element);
        rest = behind;
    }
    Ok(elements)
}

fn damaged(what: &str) -> StoreError {
    StoreError::Corrupt(format!("a key is no tuple: {what}"))
}

/// Zeros inside are followed by 0xff, so that the zero at the end sorts first.
fn pack_bytes(kind: u8, bytes: &[u8], key: &mut Vec<u8>) {
    key.push(kind);
    for byte in bytes {
        key.push(*byte);
        if *byte == 0 {
            key.push(ESCAPE);
        }
    }
    key.push(0);
}

fn unpack_bytes(body: &[u8]) -> Result<(Vec<u8>, &[u8]), StoreError> {
    let mut bytes = Vec::new();
    let mut at = 0;
    loop {
        match (body.get(at), body.get(at + 1)) {
            (Some(0), Some(&ESCAPE)) => {
                bytes.push(0);
                at += 2;
            }
            (Some(0), _) => return Ok((bytes, &body[at + 1..])),
            (Some(byte), _) => {
                bytes.push(*byte);
                at += 1;
            }
            (None, _) => return Err(damaged("a string has no end")),
        }
    }
}

/// The kind says how many bytes follow and on which side of zero; negative numbers are
/// their one's complement, so that bytes and numbers have one order.
fn pack_integer(number: i64, key: &mut Vec<u8>) {
    let size = (8 - number.unsigned_abs().leading_zeros() as usize / 8) as u8;
    let bytes = match number {
        0.. => number.unsigned_abs().to_be_bytes(),
        _ => (!number.unsigned_abs()).to_be_bytes(),
    };
    key.push(if number < 0 { ZERO - size } else { ZERO + size });
    key.extend_from_slice(&bytes[8 - usize::from(size)..]);
}

fn unpack_integer(kind: u8, body: &[u8]) -> Result<(Element, &[u8]), StoreError> {
    let size = usize::from(kind.abs_diff(ZERO));
    if body.len() < size {
        return Err(damaged("a number is cut short"));
    }
    let (digits, behind) = body.split_at(size);
    let is_negative = kind < ZERO;
    let mut bytes = if is_negative { [0xff; 8] } else { [0; 8] };
    bytes[8 - size..].copy_from_slice(digits);
    let raw = u64::from_be_bytes(bytes);
    let number = if is_negative { -i128::from(!raw) } else { i128::from(raw) };
    let number = i64::try_from(number).map_err(|_| damaged("a number is out of range"))?;
    Ok((Element::Integer(number), behind))
}

fn unpack_stamp(body: &[u8]) -> Result<(Element, &[u8]), StoreError> {
    if body.len() < STAMP_ELEMENT_BYTES {
        return Err(damaged("a stamp is cut short"));
    }
    let (bytes, behind) = body.split_at(STAMP_ELEMENT_BYTES);
    let mut stamp: Stamp = [0; STAMP_BYTES];
    stamp.copy_from_slice(&bytes[..STAMP_BYTES]);
    let order = u16::from_be_bytes([bytes[STAMP_BYTES], bytes[STAMP_BYTES + 1]]);
    Ok((Element::Stamp(stamp, order), behind))
}
