//! A filter as it is asked for in JSON: which documents a search may find.
//!
//! An object; all its members must hold. A member is a field with a value (`"year": 2020`), with
//! `{"in": [...]}` or with `{"gte": n, "lte": n}`, or one of `$and` and `$or` (lists of filters),
//! `$not` (a filter) and `$source` (a document's id).

use headwater_vectors::{Filter, Value as Field};
use serde_json::{Map, Value};

/// How deep filters may stand in each other.
const DEPTH: usize = 16;
/// Most conditions and values of one filter.
const PARTS: usize = 1_000;

/// What is wrong with a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct FilterProblem {
    /// The member at fault, such as `filter.$and[1].year`.
    pub path: String,
    /// What is allowed there.
    pub problem: String,
}

/// Reads a filter; see the module.
///
/// # Errors
/// [`FilterProblem`].
pub fn parse_filter(filter: &Value) -> Result<Filter, FilterProblem> {
    let mut left = PARTS;
    read("filter", filter, DEPTH, &mut left)
}

fn wrong(path: &str, problem: &str) -> FilterProblem {
    FilterProblem { path: path.to_owned(), problem: problem.to_owned() }
}

fn count(path: &str, left: &mut usize) -> Result<(), FilterProblem> {
    *left = left.checked_sub(1).ok_or_else(|| {
        wrong(path, &format!("the filter has more than {PARTS} parts; use fewer"))
    })?;
    Ok(())
}

fn read(
    path: &str,
    filter: &Value,
    depth: usize,
    left: &mut usize,
) -> Result<Filter, FilterProblem> {
    count(path, left)?;
    let Some(depth) = depth.checked_sub(1) else {
        return Err(wrong(path, &format!("filters may stand {DEPTH} deep in each other")));
    };
    let Value::Object(members) = filter else {
        return Err(wrong(path, "expected an object of fields, $and, $or, $not or $source"));
    };
    let mut parts = Vec::with_capacity(members.len());
    for (name, member) in members {
        let path = format!("{path}.{name}");
        count(&path, left)?;
        parts.push(match name.as_str() {
            "$and" => Filter::All(list(&path, member, depth, left)?),
            "$or" => Filter::Any(list(&path, member, depth, left)?),
            "$not" => Filter::Not(Box::new(read(&path, member, depth, left)?)),
            "$source" => match member {
                Value::String(document) => Filter::Source(document.clone()),
                _ => return Err(wrong(&path, "expected a document's id, a string")),
            },
            other if other.starts_with('$') => {
                return Err(wrong(&path, "allowed are $and, $or, $not, $source and field names"));
            }
            _ => condition(&path, name, member, left)?,
        });
    }
    Ok(match (parts.pop(), parts.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            parts.extend(last);
            Filter::All(parts)
        }
    })
}

fn list(
    path: &str,
    member: &Value,
    depth: usize,
    left: &mut usize,
) -> Result<Vec<Filter>, FilterProblem> {
    let Value::Array(filters) = member else {
        return Err(wrong(path, "expected a list of filters"));
    };
    let read = |(place, filter)| read(&format!("{path}[{place}]"), filter, depth, left);
    filters.iter().enumerate().map(read).collect()
}

const VALUES: &str = "expected a string, a number, a boolean, {\"in\": [values]} or \
                      {\"gte\": number, \"lte\": number}";

fn condition(
    path: &str,
    name: &str,
    member: &Value,
    left: &mut usize,
) -> Result<Filter, FilterProblem> {
    let Value::Object(comparison) = member else {
        let value = scalar(member).ok_or_else(|| wrong(path, VALUES))?;
        return Ok(Filter::Equal(name.to_owned(), value));
    };
    if let (Some(Value::Array(values)), 1) = (comparison.get("in"), comparison.len()) {
        let mut read = Vec::with_capacity(values.len());
        for (place, value) in values.iter().enumerate() {
            let path = format!("{path}.in[{place}]");
            count(&path, left)?;
            let value = scalar(value);
            read.push(value.ok_or_else(|| wrong(&path, "expected a string, number or boolean"))?);
        }
        return Ok(Filter::OneOf(name.to_owned(), read));
    }
    between(path, name, comparison)
}

fn between(path: &str, name: &str, ends: &Map<String, Value>) -> Result<Filter, FilterProblem> {
    let (mut low, mut high) = (None, None);
    for (kind, value) in ends {
        let end = match kind.as_str() {
            "gte" => &mut low,
            "lte" => &mut high,
            _ => return Err(wrong(path, VALUES)),
        };
        let number = value.as_f64();
        *end = Some(number.ok_or_else(|| wrong(&format!("{path}.{kind}"), "expected a number"))?);
    }
    if low.is_none() && high.is_none() {
        return Err(wrong(path, VALUES));
    }
    Ok(Filter::Between(name.to_owned(), low, high))
}

fn scalar(value: &Value) -> Option<Field> {
    match value {
        Value::Bool(value) => Some(Field::Bool(*value)),
        Value::Number(value) => value.as_f64().map(Field::Number),
        Value::String(value) => Some(Field::Text(value.clone())),
        _ => None,
    }
}
