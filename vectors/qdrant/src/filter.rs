//! The port's filters as Qdrant's.
//!
//! Qdrant's `match` takes texts, booleans and integers, so a number is a range of itself. An
//! empty `should` would let everything pass there, and an empty choice lets nothing pass here.

use headwater_vectors::{Filter, SinkError, Value};
use serde_json::{Value as Json, json};

/// Deepest nesting, which Qdrant's parser of JSON takes too.
const DEPTH_MAX: usize = 50;

/// The filter as a condition of Qdrant's, which is a filter itself.
pub(crate) fn translate(filter: &Filter) -> Result<Json, SinkError> {
    translate_at(filter, 0)
}

fn translate_at(filter: &Filter, depth: usize) -> Result<Json, SinkError> {
    if depth > DEPTH_MAX {
        return Err(SinkError::Request(format!(
            "the filter is nested deeper than {DEPTH_MAX} levels; flatten it"
        )));
    }
    let each = |parts: &[Filter]| -> Result<Vec<Json>, SinkError> {
        parts.iter().map(|part| translate_at(part, depth + 1)).collect()
    };
    Ok(match filter {
        Filter::Equal(name, value) => json!({ "must": [equal(&key(name)?, value)] }),
        Filter::OneOf(name, values) => {
            let key = key(name)?;
            one_of(values.iter().map(|value| equal(&key, value)).collect())
        }
        Filter::Between(name, low, high) => {
            let (low, high) = (low.unwrap_or(f64::MIN), high.unwrap_or(f64::MAX));
            json!({ "must": [range(&key(name)?, low, high)] })
        }
        Filter::Source(source) => {
            json!({ "must": [{ "key": "source", "match": { "value": source } }] })
        }
        Filter::All(parts) => json!({ "must": each(parts)? }),
        Filter::Any(parts) => one_of(each(parts)?),
        Filter::Not(part) => json!({ "must_not": [translate_at(part, depth + 1)?] }),
    })
}

/// Passes when one of the conditions does; none when there are none.
fn one_of(conditions: Vec<Json>) -> Json {
    if conditions.is_empty() {
        return json!({ "must": [nothing()] });
    }
    json!({ "should": conditions })
}

/// Passes never.
fn nothing() -> Json {
    json!({ "has_id": [] })
}

/// A field's path in the payload, quoted so that its name may hold dots and brackets.
fn key(name: &str) -> Result<String, SinkError> {
    if name.is_empty() || name.contains(['"', '\\']) {
        return Err(SinkError::Request(format!(
            "the filter names the field '{name}'; Qdrant can filter by names that are not empty \
             and hold no quotation mark and no backslash"
        )));
    }
    Ok(format!("fields.\"{name}\""))
}

fn equal(key: &str, value: &Value) -> Json {
    match value {
        Value::Bool(value) => json!({ "key": key, "match": { "value": value } }),
        Value::Text(value) => json!({ "key": key, "match": { "value": value } }),
        Value::Number(value) => range(key, *value, *value),
    }
}

fn range(key: &str, low: f64, high: f64) -> Json {
    // JSON has no infinity and no NaN, and would leave the end open.
    if low.is_nan() || high.is_nan() || low > high {
        return nothing();
    }
    let (low, high) = (low.clamp(f64::MIN, f64::MAX), high.clamp(f64::MIN, f64::MAX));
    json!({ "key": key, "range": { "gte": low, "lte": high } })
}
