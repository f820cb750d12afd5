//! JSON schemas of strangers: compiled with bounds, checked with errors that a model can act on and
//! that repeat no secret.

mod graph;
mod misfit;
mod work;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use crate::problem::{Problem, cut};
use graph::Graph;
use misfit::Sight;

pub use misfit::{MISFITS_MAX, Misfit, Misfits};

/// Bytes of the largest schema, as JSON.
pub const SCHEMA_BYTES_MAX: usize = 65_536;
/// How deep a schema's own JSON may nest.
const SCHEMA_DEPTH: usize = 32;
/// How deep a value may nest that is checked.
const VALUE_DEPTH: usize = 64;
/// Bytes that one pattern may compile to.
const PATTERN_BYTES: usize = 262_144;
/// What stands for a secret in [`Schema::masked`].
const MASK: &str = "[secret]";

/// A compiled schema. A clone is cheap.
#[derive(Clone)]
pub struct Schema {
    inner: Arc<Inner>,
}

struct Inner {
    source: Value,
    validator: jsonschema::Validator,
    graph: Graph,
}

impl Schema {
    /// Compiles a schema of the drafts 7, 2019-09 or 2020-12 (the default). It may be `true` or
    /// `false`. Formats are checked; patterns are those of a linear engine.
    ///
    /// # Errors
    /// When it is no schema, or more than the bounds allow; the path begins with `field`.
    pub fn compile(field: &str, source: &Value) -> Result<Schema, Problem> {
        if depth_exceeds(source, SCHEMA_DEPTH) {
            let problem = format!("nests deeper than {SCHEMA_DEPTH}; use $defs and $ref");
            return Err(Problem::new(field, problem));
        }
        let bytes = source.to_string().len();
        if bytes > SCHEMA_BYTES_MAX {
            let problem =
                format!("has {bytes} bytes as JSON; at most {SCHEMA_BYTES_MAX} are allowed");
            return Err(Problem::new(field, problem));
        }
        let graph = Graph::of(field, source)?;
        work::check(field, &graph)?;
        let patterns = jsonschema::PatternOptions::regex()
            .size_limit(PATTERN_BYTES)
            .dfa_size_limit(PATTERN_BYTES);
        let validator = jsonschema::options()
            .offline()
            .with_pattern_options(patterns)
            .should_validate_formats(true)
            .build(source)
            .map_err(|error| no_schema(field, &error))?;
        Ok(Schema { inner: Arc::new(Inner { source: source.clone(), validator, graph }) })
    }

    /// Compiles a schema whose root says `"type": "object"`, as functions of models need it.
    ///
    /// # Errors
    /// As [`Schema::compile`], and when it is of something else.
    pub fn of_object(field: &str, source: &Value) -> Result<Schema, Problem> {
        match source.get("type") {
            Some(Value::String(kind)) if kind == "object" => Schema::compile(field, source),
            _ => {
                Err(Problem::new(field, "must be a JSON schema of an object, with type \"object\""))
            }
        }
    }

    /// The schema as it was written.
    pub fn source(&self) -> &Value {
        &self.inner.source
    }

    /// Whether its root is of an object and of nothing else.
    pub fn is_of_object(&self) -> bool {
        self.inner.source.get("type").and_then(Value::as_str) == Some("object")
    }

    /// Whether a value fits, as [`Schema::check`] says.
    pub fn fits(&self, value: &Value) -> bool {
        !depth_exceeds(value, VALUE_DEPTH) && self.inner.validator.is_valid(value)
    }

    /// # Errors
    /// What does not fit, the first eight; no secret is repeated, and no long value.
    pub fn check(&self, value: &Value) -> Result<(), Misfits> {
        self.check_with(value, Sight { graph: &self.inner.graph, beside: None, is_blind: false })
    }

    /// As [`Schema::check`], where what is secret by the other schema is not repeated either.
    ///
    /// # Errors
    /// As [`Schema::check`].
    pub fn check_beside(&self, other: &Schema, value: &Value) -> Result<(), Misfits> {
        let beside = Some(&other.inner.graph);
        self.check_with(value, Sight { graph: &self.inner.graph, beside, is_blind: false })
    }

    /// As [`Schema::check`], where no value at all is repeated.
    ///
    /// # Errors
    /// As [`Schema::check`].
    pub fn check_blindly(&self, value: &Value) -> Result<(), Misfits> {
        self.check_with(value, Sight { graph: &self.inner.graph, beside: None, is_blind: true })
    }

    fn check_with(&self, value: &Value, sight: Sight<'_>) -> Result<(), Misfits> {
        if depth_exceeds(value, VALUE_DEPTH) {
            return Err(Misfits::too_deep(VALUE_DEPTH));
        }
        if self.inner.validator.is_valid(value) {
            return Ok(());
        }
        Err(Misfits::of(self.inner.validator.iter_errors(value), sight))
    }

    /// The value with each part that the schema marks `writeOnly` or `x-secret` put out of sight:
    /// for records and for people who are asked to confirm.
    pub fn masked(&self, value: &Value) -> Value {
        let graph = &self.inner.graph;
        mask(graph, &graph.start(), value, VALUE_DEPTH)
    }

    /// Names of properties, at any depth, each once, sorted.
    pub(crate) fn property_names(&self) -> Vec<&str> {
        self.inner.graph.property_names()
    }
}

impl PartialEq for Schema {
    fn eq(&self, other: &Schema) -> bool {
        self.inner.source == other.inner.source
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Schema({})", self.inner.source)
    }
}

fn no_schema(field: &str, error: &ValidationError<'_>) -> Problem {
    let at = format!("{field}{}", error.instance_path());
    let problem = match error.kind() {
        ValidationErrorKind::Format { format } if format == "regex" => {
            "is no pattern of a linear engine, or a too large one: write it without look-around, \
             back references and great repetitions"
                .to_owned()
        }
        _ => format!("is no JSON schema: {}", cut(&error.to_string(), 256)),
    };
    Problem::new(at, problem)
}

fn depth_exceeds(value: &Value, most: usize) -> bool {
    let below = |value: &Value| most == 0 || depth_exceeds(value, most - 1);
    match value {
        Value::Array(entries) => entries.iter().any(below),
        Value::Object(fields) => fields.values().any(below),
        _ => false,
    }
}

fn mask(graph: &Graph, at: &[usize], value: &Value, depth: usize) -> Value {
    if graph.is_secret(at) || depth == 0 {
        return MASK.into();
    }
    match value {
        Value::Array(entries) => {
            let entries = entries.iter().enumerate();
            entries
                .map(|(place, entry)| mask(graph, &graph.entry(at, place), entry, depth - 1))
                .collect()
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, field)| {
                (name.clone(), mask(graph, &graph.property(at, name), field, depth - 1))
            });
            fields.collect()
        }
        // A secret may have been put one level too high: `"password"` for `{"value": "password"}`.
        plain if graph.leads_to_secret(at) && !plain.is_null() => MASK.into(),
        plain => plain.clone(),
    }
}
