//! Values of a call as the server reads them: text, which it reads by the type that it expects.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use serde_json::{Number, Value};
use tokio_postgres::types::{Format, IsNull, Kind, ToSql, Type, to_sql_checked};

/// Whole doubles below this are written as whole numbers: models write `3.0` for 3.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

#[derive(Debug)]
pub(crate) struct Parameter<'a>(pub(crate) &'a Value);

impl ToSql for Parameter<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        if self.0.is_null() {
            return Ok(IsNull::Yes);
        }
        out.put_slice(text(kind, self.0)?.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// # Errors
/// What the value must be instead.
pub(crate) fn text(kind: &Type, value: &Value) -> Result<String, String> {
    let kind = under(kind);
    if matches!(*kind, Type::JSON | Type::JSONB) {
        return Ok(value.to_string());
    }
    match (kind.kind(), value) {
        (Kind::Array(member), Value::Array(values)) => list(member, values),
        (Kind::Array(_), Value::Bool(_) | Value::Number(_)) => {
            Err(format!("must be a list, for its type is {}", kind.name()))
        }
        (_, Value::Null) => Ok("NULL".to_owned()),
        (_, Value::Bool(truth)) => Ok(truth.to_string()),
        (_, Value::Number(number)) => Ok(plain(number)),
        (_, Value::String(text)) => Ok(text.clone()),
        (_, Value::Array(_) | Value::Object(_)) => {
            Err(format!("must be one value, for its type is {}", kind.name()))
        }
    }
}

fn under(kind: &Type) -> &Type {
    match kind.kind() {
        Kind::Domain(inner) => under(inner),
        _ => kind,
    }
}

fn plain(number: &Number) -> String {
    match number.as_f64() {
        Some(double) if number.is_f64() && double.fract() == 0.0 && double.abs() < WHOLE_MAX => {
            (double as i64).to_string()
        }
        _ => number.to_string(),
    }
}

/// An array as PostgreSQL writes one.
fn list(member: &Type, values: &[Value]) -> Result<String, String> {
    let entry = |value: &Value| match value {
        Value::Null => Ok("NULL".to_owned()),
        Value::Array(inner) if !matches!(*under(member), Type::JSON | Type::JSONB) => {
            list(member, inner)
        }
        value => text(member, value).map(|text| quoted(&text)),
    };
    let entries = values.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("{{{}}}", entries.join(",")))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests;
