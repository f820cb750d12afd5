//! Which records a search may find, by the fields of their documents.

use std::collections::BTreeMap;

/// A field's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Bool(bool),
    Number(f64),
    Text(String),
}

/// A condition on a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// The field has this value.
    Equal(String, Value),
    /// The field has one of these values.
    OneOf(String, Vec<Value>),
    /// The field is a number between both, ends included; an open end is `None`.
    Between(String, Option<f64>, Option<f64>),
    /// The record comes from this document.
    Source(String),
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
}

impl Filter {
    /// Whether a record with these fields passes. A field that is absent passes no comparison.
    pub fn passes(&self, source: &str, fields: &BTreeMap<String, Value>) -> bool {
        match self {
            Filter::Equal(name, value) => fields.get(name) == Some(value),
            Filter::OneOf(name, values) => {
                fields.get(name).is_some_and(|value| values.contains(value))
            }
            Filter::Between(name, low, high) => match fields.get(name) {
                Some(Value::Number(number)) => {
                    low.is_none_or(|low| *number >= low) && high.is_none_or(|high| *number <= high)
                }
                _ => false,
            },
            Filter::Source(wanted) => wanted == source,
            Filter::All(parts) => parts.iter().all(|part| part.passes(source, fields)),
            Filter::Any(parts) => parts.iter().any(|part| part.passes(source, fields)),
            Filter::Not(part) => !part.passes(source, fields),
        }
    }
}
