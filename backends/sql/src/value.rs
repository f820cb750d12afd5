//! Values of the server's binary format as JSON.

mod number;
mod time;

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio_postgres::types::{FromSql, Kind, Type};

/// PostgreSQL's own bound.
const DIMENSIONS_MAX: i32 = 6;

/// How values of a type are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    /// A JSON number where that loses nothing, else text.
    Numeric,
    Text,
    /// As it stands, with numbers as JSON has them here: 64 bits.
    Json,
    Jsonb,
    Uuid,
    /// ISO 8601, as the three after it.
    Date,
    Time,
    Timestamp,
    /// RFC 3339, in UTC.
    Timestamptz,
    /// A span of ISO 8601.
    Interval,
    /// Base64.
    Bytea,
    Inet,
    /// What functions give that give nothing.
    Void,
    Array(Box<Form>),
}

impl Form {
    /// None for types that have no form here; a statement may cast them to text.
    pub(crate) fn of(kind: &Type) -> Option<Form> {
        Some(match kind.kind() {
            Kind::Array(member) => Form::Array(Box::new(Form::of(member)?)),
            Kind::Domain(under) => Form::of(under)?,
            Kind::Enum(_) => Form::Text,
            Kind::Simple | Kind::Pseudo => match *kind {
                Type::BOOL => Form::Bool,
                Type::INT2 => Form::Int2,
                Type::INT4 => Form::Int4,
                Type::INT8 => Form::Int8,
                Type::OID => Form::Oid,
                Type::FLOAT4 => Form::Float4,
                Type::FLOAT8 => Form::Float8,
                Type::NUMERIC => Form::Numeric,
                Type::TEXT
                | Type::VARCHAR
                | Type::BPCHAR
                | Type::NAME
                | Type::CHAR
                | Type::XML
                | Type::UNKNOWN => Form::Text,
                Type::JSON => Form::Json,
                Type::JSONB => Form::Jsonb,
                Type::UUID => Form::Uuid,
                Type::DATE => Form::Date,
                Type::TIME => Form::Time,
                Type::TIMESTAMP => Form::Timestamp,
                Type::TIMESTAMPTZ => Form::Timestamptz,
                Type::INTERVAL => Form::Interval,
                Type::BYTEA => Form::Bytea,
                Type::INET | Type::CIDR => Form::Inet,
                Type::VOID => Form::Void,
                _ if kind.name() == "citext" => Form::Text,
                _ => return None,
            },
            _ => return None,
        })
    }

    /// None for bytes that are no value of the form.
    pub(crate) fn read(&self, raw: &[u8]) -> Option<Value> {
        let mut bytes = Bytes(raw);
        let value = match self {
            Form::Bool => Value::Bool(bytes.take::<1>()? != [0]),
            Form::Int2 => i16::from_be_bytes(bytes.take()?).into(),
            Form::Int4 => i32::from_be_bytes(bytes.take()?).into(),
            Form::Int8 => number::whole(i64::from_be_bytes(bytes.take()?)),
            Form::Oid => u32::from_be_bytes(bytes.take()?).into(),
            Form::Float4 => number::single(f32::from_be_bytes(bytes.take()?)),
            Form::Float8 => number::double(f64::from_be_bytes(bytes.take()?)),
            Form::Numeric => number::exact(&number::digits(&mut bytes)?),
            Form::Text => Value::String(bytes.text()?),
            Form::Json => json(bytes.rest()),
            Form::Jsonb if bytes.take::<1>()? == [1] => json(bytes.rest()),
            Form::Jsonb => return None,
            Form::Uuid => Value::String(uuid(bytes.take()?)),
            Form::Date => Value::String(time::date(i32::from_be_bytes(bytes.take()?))),
            Form::Time => Value::String(time::of_day(i64::from_be_bytes(bytes.take()?))),
            Form::Timestamp => Value::String(time::moment(i64::from_be_bytes(bytes.take()?), "")),
            Form::Timestamptz => {
                Value::String(time::moment(i64::from_be_bytes(bytes.take()?), "Z"))
            }
            Form::Interval => {
                let us = i64::from_be_bytes(bytes.take()?);
                let days = i32::from_be_bytes(bytes.take()?);
                let months = i32::from_be_bytes(bytes.take()?);
                Value::String(time::span(months, days, us))
            }
            Form::Bytea => Value::String(STANDARD.encode(bytes.rest())),
            Form::Inet => Value::String(inet(&mut bytes)?),
            Form::Void => Value::Null,
            Form::Array(member) => array(member, &mut bytes)?,
        };
        bytes.0.is_empty().then_some(value)
    }
}

/// A value as the server sent it.
pub(crate) struct Raw<'a>(pub(crate) &'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Raw<'a>, Box<dyn Error + Sync + Send>> {
        Ok(Raw(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Bytes that are still to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take<const COUNT: usize>(&mut self) -> Option<[u8; COUNT]> {
        let (taken, rest) = self.0.split_first_chunk::<COUNT>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn slice(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn text(&mut self) -> Option<String> {
        std::str::from_utf8(self.rest()).ok().map(str::to_owned)
    }
}

/// PostgreSQL takes documents that are no JSON for others, such as numbers beyond all bounds; they
/// come as text.
fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(text).into_owned()))
}

fn uuid(bytes: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&place) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// An address, and the length of its network's prefix where it is not the whole of it.
fn inet(bytes: &mut Bytes<'_>) -> Option<String> {
    let [_, prefix, is_network, length] = bytes.take()?;
    let (address, bits) = match length {
        4 => (IpAddr::from(Ipv4Addr::from(bytes.take::<4>()?)), 32),
        16 => (IpAddr::from(Ipv6Addr::from(bytes.take::<16>()?)), 128),
        _ => return None,
    };
    Some(match prefix == bits && is_network == 0 {
        true => address.to_string(),
        false => format!("{address}/{prefix}"),
    })
}

/// Lists in lists, as many as the array has dimensions.
fn array(member: &Form, bytes: &mut Bytes<'_>) -> Option<Value> {
    let dimensions = i32::from_be_bytes(bytes.take()?);
    let _ = bytes.take::<8>()?;
    if !(0..=DIMENSIONS_MAX).contains(&dimensions) {
        return None;
    }
    let mut lengths = Vec::new();
    for _ in 0..dimensions {
        let length = usize::try_from(i32::from_be_bytes(bytes.take()?)).ok()?;
        // No array has an empty dimension; lists of nothing would cost memory and no bytes.
        lengths.push((length > 0).then_some(length)?);
        let _ = bytes.take::<4>()?;
    }
    match lengths.is_empty() {
        true => Some(Value::Array(Vec::new())),
        false => members(member, &lengths, bytes),
    }
}

fn members(member: &Form, lengths: &[usize], bytes: &mut Bytes<'_>) -> Option<Value> {
    let Some((length, inner)) = lengths.split_first() else {
        let length = i32::from_be_bytes(bytes.take()?);
        return match usize::try_from(length) {
            Ok(length) => member.read(bytes.slice(length)?),
            Err(_) => Some(Value::Null),
        };
    };
    (0..*length)
        .map(|_| members(member, inner, bytes))
        .collect::<Option<Vec<_>>>()
        .map(Value::Array)
}

#[cfg(test)]
mod tests;
