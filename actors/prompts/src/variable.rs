//! Typed variables: what a caller may put into a template.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::marker::holds_marker;
use crate::problem::Problem;

/// Bytes of the longest text that a variable without a limit of its own takes.
const DEFAULT_LENGTH: usize = 100_000;

/// What a value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    #[default]
    String,
    Integer,
    Number,
    Boolean,
    /// Any list; templates go over it.
    List,
    /// Any object.
    Object,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::String => "a string",
            Kind::Integer => "a whole number",
            Kind::Number => "a number",
            Kind::Boolean => "true or false",
            Kind::List => "a list",
            Kind::Object => "an object",
        }
    }

    fn fits(self, value: &Value) -> bool {
        match self {
            Kind::String => value.is_string(),
            Kind::Integer => value.is_i64() || value.is_u64(),
            Kind::Number => value.is_number(),
            Kind::Boolean => value.is_boolean(),
            Kind::List => value.is_array(),
            Kind::Object => value.is_object(),
        }
    }
}

/// A variable of a template.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Variable {
    #[serde(rename = "type")]
    pub kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Taken when the caller gives none; without it the caller must.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Characters of a string, or entries of a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
    /// Of a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The only values that are allowed; all are without it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Value>,
}

impl Variable {
    /// Whether the declaration itself makes sense.
    pub(crate) fn check(&self, field: &str) -> Result<(), Problem> {
        if let (Some(min), Some(max)) = (self.min, self.max)
            && min > max
        {
            return Err(Problem::new(format!("{field}.min"), "is above max; swap them"));
        }
        let is_number = matches!(self.kind, Kind::Integer | Kind::Number);
        if !is_number && (self.min.is_some() || self.max.is_some()) {
            return Err(Problem::new(
                format!("{field}.min"),
                "and max are for numbers; leave them out, or change the type",
            ));
        }
        if self.max_length.is_some() && !matches!(self.kind, Kind::String | Kind::List) {
            return Err(Problem::new(
                format!("{field}.max_length"),
                "is for strings and lists; leave it out, or change the type",
            ));
        }
        let wrong = self.values.iter().find(|value| !self.kind.fits(value));
        if let Some(wrong) = wrong {
            let problem = format!("holds {wrong}, which is not {}", self.kind.name());
            return Err(Problem::new(format!("{field}.values"), problem));
        }
        match &self.default {
            Some(default) => self.check_value(&format!("{field}.default"), default),
            None => Ok(()),
        }
    }

    fn check_value(&self, field: &str, value: &Value) -> Result<(), Problem> {
        let refused = |problem: String| Err(Problem::new(field, problem));
        if !self.kind.fits(value) {
            return refused(format!("must be {}", self.kind.name()));
        }
        if !self.values.is_empty() && !self.values.contains(value) {
            let allowed: Vec<String> = self.values.iter().map(Value::to_string).collect();
            return refused(format!("must be one of {}", allowed.join(", ")));
        }
        let most = self.max_length.unwrap_or(DEFAULT_LENGTH);
        let (length, of) = match value {
            Value::String(text) => (text.chars().count(), "characters"),
            Value::Array(entries) => (entries.len(), "entries"),
            _ => (0, ""),
        };
        if length > most {
            return refused(format!("has {length} {of}; at most {most} are allowed"));
        }
        if let Some(number) = value.as_f64()
            && (self.min.is_some_and(|min| number < min)
                || self.max.is_some_and(|max| number > max))
        {
            let bound =
                |bound: Option<f64>| bound.map_or("any".to_owned(), |bound| bound.to_string());
            return refused(format!("must be {} to {}", bound(self.min), bound(self.max)));
        }
        if holds_marker(value) {
            return refused("holds a character of the private use area that stands for secrets here (U+F8F0, U+F8F1); remove it".to_owned());
        }
        Ok(())
    }
}

/// The values that a template gets: the caller's, checked, and the defaults of the rest.
///
/// # Errors
/// The first variable that is missing, unknown or not allowed.
pub(crate) fn bind(
    declared: &BTreeMap<String, Variable>,
    given: &Map<String, Value>,
) -> Result<BTreeMap<String, Value>, Problem> {
    if let Some(unknown) = given.keys().find(|name| !declared.contains_key(*name)) {
        let known: Vec<&str> = declared.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let problem = format!("is no variable of this prompt; it has: {known}");
        return Err(Problem::new(format!("variables.{unknown}"), problem));
    }
    let mut bound = BTreeMap::new();
    for (name, variable) in declared {
        let field = format!("variables.{name}");
        let value = match given.get(name) {
            // A null is what a client without a value sends.
            Some(value) if !value.is_null() => {
                variable.check_value(&field, value)?;
                value
            }
            _ => variable.default.as_ref().ok_or_else(|| {
                Problem::new(&field, format!("is missing; give {}", variable.kind.name()))
            })?,
        };
        bound.insert(name.clone(), value.clone());
    }
    Ok(bound)
}
