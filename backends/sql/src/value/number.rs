//! Numbers as JSON, as text where a double would lose a digit.

use serde_json::{Number, Value};

use super::Bytes;

/// The largest whole number up to which a double holds each.
const WHOLE_MAX: u64 = 1 << 53;
/// Decimal digits of one digit of the server.
const GROUP: usize = 4;

pub(super) fn whole(number: i64) -> Value {
    match number.unsigned_abs() <= WHOLE_MAX {
        true => number.into(),
        false => Value::String(number.to_string()),
    }
}

/// The shortest decimal number that stands for it.
pub(super) fn single(number: f32) -> Value {
    number.to_string().parse().map_or_else(|_| double(number.into()), double)
}

/// NaN and the infinities have no number in JSON.
pub(super) fn double(number: f64) -> Value {
    match Number::from_f64(number) {
        Some(number) => Value::Number(number),
        None if number.is_nan() => Value::String("NaN".to_owned()),
        None => Value::String(if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()),
    }
}

/// A JSON number where it says the same, else the text.
pub(super) fn exact(text: &str) -> Value {
    if !text.contains('.') {
        return text.parse().map_or_else(|_| Value::String(text.to_owned()), whole);
    }
    match text.parse::<f64>() {
        Ok(number) if shortest(&number.to_string()) == shortest(text) => double(number),
        _ => Value::String(text.to_owned()),
    }
}

/// Without the zeros at its end.
fn shortest(text: &str) -> &str {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    }
}

/// A `numeric` as text, as the server itself writes it.
pub(super) fn digits(bytes: &mut Bytes<'_>) -> Option<String> {
    let count = u16::from_be_bytes(bytes.take()?);
    let weight = i32::from(i16::from_be_bytes(bytes.take()?));
    let sign = u16::from_be_bytes(bytes.take()?);
    let scale = usize::from(u16::from_be_bytes(bytes.take()?));
    let mut groups = Vec::with_capacity(count.into());
    for _ in 0..count {
        let group = u16::from_be_bytes(bytes.take()?);
        groups.push((group < 10_000).then_some(group)?);
    }
    let mut text = match sign {
        0x0000 => String::new(),
        0x4000 => "-".to_owned(),
        0xC000 => return Some("NaN".to_owned()),
        0xD000 => return Some("Infinity".to_owned()),
        0xF000 => return Some("-Infinity".to_owned()),
        _ => return None,
    };
    let group = |place: i32| {
        let group = usize::try_from(place).ok().and_then(|place| groups.get(place));
        group.copied().unwrap_or(0)
    };
    if weight < 0 {
        text.push('0');
    }
    for place in 0..=weight {
        match place {
            0 => text.push_str(&group(place).to_string()),
            _ => text.push_str(&format!("{:04}", group(place))),
        }
    }
    if scale > 0 {
        let groups = i32::try_from(scale.div_ceil(GROUP)).ok()?;
        let fraction: String =
            (1..=groups).map(|place| format!("{:04}", group(weight + place))).collect();
        text.push('.');
        text.push_str(&fraction[..scale]);
    }
    Some(text)
}
