//! GGUF files made for tests.

use crate::gguf::{Kind, Value};

/// A file in the making.
#[derive(Default)]
pub(crate) struct Made {
    metadata: Vec<(String, Value)>,
    tensors: Vec<(String, Vec<u64>, u32, Vec<u8>)>,
}

impl Made {
    pub(crate) fn set(&mut self, key: &str, value: Value) -> &mut Made {
        self.metadata.retain(|(known, _)| known != key);
        self.metadata.push((key.to_owned(), value));
        self
    }

    pub(crate) fn remove(&mut self, key: &str) -> &mut Made {
        self.metadata.retain(|(known, _)| known != key);
        self.tensors.retain(|(known, ..)| known != key);
        self
    }

    /// A tensor of the shape `lengths`, the columns first.
    pub(crate) fn tensor(
        &mut self,
        name: &str,
        lengths: &[u64],
        code: u32,
        bytes: Vec<u8>,
    ) -> &mut Made {
        self.tensors.retain(|(known, ..)| known != name);
        self.tensors.push((name.to_owned(), lengths.to_vec(), code, bytes));
        self
    }

    pub(crate) fn floats(&mut self, name: &str, lengths: &[u64], values: &[f32]) -> &mut Made {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensor(name, lengths, code(Kind::F32), bytes)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            text(&mut out, key);
            write(&mut out, value);
        }
        let mut offset = 0u64;
        for (name, lengths, code, bytes) in &self.tensors {
            text(&mut out, name);
            out.extend((lengths.len() as u32).to_le_bytes());
            lengths.iter().for_each(|length| out.extend(length.to_le_bytes()));
            out.extend(code.to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset += (bytes.len() as u64).next_multiple_of(32);
        }
        for (.., bytes) in &self.tensors {
            out.resize(out.len().next_multiple_of(32), 0);
            out.extend(bytes);
        }
        out
    }
}

pub(crate) fn code(kind: Kind) -> u32 {
    (0..32).find(|code| Kind::of(*code) == Some(kind)).unwrap()
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn list<T>(out: &mut Vec<u8>, code: u32, list: &[T], each: impl Fn(&mut Vec<u8>, &T)) {
    out.extend(9u32.to_le_bytes());
    out.extend(code.to_le_bytes());
    out.extend((list.len() as u64).to_le_bytes());
    list.iter().for_each(|item| each(out, item));
}

fn write(out: &mut Vec<u8>, value: &Value) {
    let mut scalar = |code: u32, bytes: &[u8]| {
        out.extend(code.to_le_bytes());
        out.extend(bytes);
    };
    match value {
        Value::Unsigned(number) => scalar(4, &(*number as u32).to_le_bytes()),
        Value::Signed(number) => scalar(11, &number.to_le_bytes()),
        Value::Float(number) => scalar(6, &(*number as f32).to_le_bytes()),
        Value::Flag(flag) => scalar(7, &[u8::from(*flag)]),
        Value::Text(value) => {
            scalar(8, &[]);
            text(out, value);
        }
        Value::Texts(texts) => list(out, 8, texts, |out, item| text(out, item)),
        Value::Integers(numbers) => {
            list(out, 5, numbers, |out, item| out.extend((*item as i32).to_le_bytes()));
        }
        Value::Floats(numbers) => {
            list(out, 12, numbers, |out, item| out.extend(item.to_le_bytes()));
        }
        Value::Flags(flags) => list(out, 7, flags, |out, item| out.push(u8::from(*item))),
    }
}
