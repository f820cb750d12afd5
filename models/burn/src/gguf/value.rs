//! One value of a file's metadata.

use super::bytes::Bytes;
use crate::LoadError;

const TEXT: u32 = 8;
const LIST: u32 = 9;

/// A value; widths of numbers are not kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Flag(bool),
    Text(String),
    Texts(Vec<String>),
    Integers(Vec<i64>),
    Floats(Vec<f64>),
    Flags(Vec<bool>),
}

impl Value {
    pub(super) fn read(bytes: &mut Bytes<'_>, key: &str) -> Result<Value, LoadError> {
        match bytes.u32(key)? {
            TEXT => bytes.text(key).map(Value::Text),
            LIST => Value::read_list(bytes, key),
            code => scalar(bytes, key, code),
        }
    }

    /// Grows with what is read, so that a false count ends at the file's end and not in memory.
    fn read_list(bytes: &mut Bytes<'_>, key: &str) -> Result<Value, LoadError> {
        let code = bytes.u32(key)?;
        let count = bytes.u64(key)?;
        if code == TEXT {
            let texts = (0..count).map(|_| bytes.text(key)).collect::<Result<_, _>>()?;
            return Ok(Value::Texts(texts));
        }
        if code == LIST {
            let allowed = "a list of texts, numbers or flags";
            return Err(LoadError::unsupported(bytes.file(), key, "a list of lists", allowed));
        }
        let mut list = match code {
            6 | 12 => Value::Floats(Vec::new()),
            7 => Value::Flags(Vec::new()),
            _ => Value::Integers(Vec::new()),
        };
        for _ in 0..count {
            let value = scalar(bytes, key, code)?;
            let kept = match (&mut list, value) {
                (Value::Floats(list), Value::Float(value)) => {
                    list.push(value);
                    true
                }
                (Value::Flags(list), Value::Flag(value)) => {
                    list.push(value);
                    true
                }
                (Value::Integers(list), Value::Signed(value)) => {
                    list.push(value);
                    true
                }
                (Value::Integers(list), Value::Unsigned(value)) => {
                    i64::try_from(value).map(|value| list.push(value)).is_ok()
                }
                _ => false,
            };
            if !kept {
                let reason = "holds a number above the largest of 63 bits";
                return Err(LoadError::malformed(bytes.file(), key, reason));
            }
        }
        Ok(list)
    }
}

fn scalar(bytes: &mut Bytes<'_>, key: &str, code: u32) -> Result<Value, LoadError> {
    let unsigned = |number: u64| Ok(Value::Unsigned(number));
    let signed = |number: i64| Ok(Value::Signed(number));
    match code {
        0 => unsigned(u8::from_le_bytes(bytes.number(key)?).into()),
        1 => signed(i8::from_le_bytes(bytes.number(key)?).into()),
        2 => unsigned(u16::from_le_bytes(bytes.number(key)?).into()),
        3 => signed(i16::from_le_bytes(bytes.number(key)?).into()),
        4 => unsigned(bytes.u32(key)?.into()),
        5 => signed(i32::from_le_bytes(bytes.number(key)?).into()),
        6 => Ok(Value::Float(f32::from_le_bytes(bytes.number(key)?).into())),
        7 => match bytes.number(key)? {
            [0] => Ok(Value::Flag(false)),
            [1] => Ok(Value::Flag(true)),
            [other] => {
                let reason = format!("{other} is no flag; allowed: 0 and 1");
                Err(LoadError::malformed(bytes.file(), key, reason))
            }
        },
        10 => unsigned(bytes.u64(key)?),
        11 => signed(i64::from_le_bytes(bytes.number(key)?)),
        12 => Ok(Value::Float(f64::from_le_bytes(bytes.number(key)?))),
        other => Err(LoadError::malformed(
            bytes.file(),
            key,
            format!("{other} is no kind of value; allowed: 0 to 12"),
        )),
    }
}
