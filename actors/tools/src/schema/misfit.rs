//! What does not fit a schema, told so that a model can mend it.

use std::fmt;

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::Value;

use super::graph::{Graph, escaped};
use crate::problem::{cut, short};

/// The most misfits that are told.
pub const MISFITS_MAX: usize = 8;
/// The most names or values of a list that are told.
const LISTED: usize = 12;
/// Characters of a value that is repeated; a longer one is not.
const VALUE_CHARACTERS: usize = 64;
const POINTER_CHARACTERS: usize = 256;

/// One part of a value that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// A JSON pointer to the part; empty for the whole value.
    pub pointer: String,
    /// What was expected, as in `must be a string`.
    pub expected: String,
    /// The value as JSON, when it is plain, at most 64 characters long, and no secret.
    pub given: Option<String>,
}

/// What does not fit, at most eight.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Misfits {
    pub list: Vec<Misfit>,
    /// There are none beside those in the list.
    pub are_all: bool,
}

impl fmt::Display for Misfit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.pointer.is_empty() { "the whole" } else { &self.pointer };
        write!(out, "{place} {}", self.expected)?;
        match &self.given {
            Some(given) => write!(out, ", not {given}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Misfits {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, misfit) in self.list.iter().enumerate() {
            out.write_str(if place == 0 { "" } else { "; " })?;
            misfit.fmt(out)?;
        }
        out.write_str(if self.are_all { "" } else { "; and more" })
    }
}

impl Misfits {
    pub(super) fn too_deep(most: usize) -> Misfits {
        let expected = format!("must not nest deeper than {most}");
        Misfits {
            list: vec![Misfit { pointer: String::new(), expected, given: None }],
            are_all: true,
        }
    }

    pub(super) fn of<'e>(
        errors: impl Iterator<Item = ValidationError<'e>>,
        sight: Sight<'_>,
    ) -> Misfits {
        let mut list: Vec<Misfit> = Vec::new();
        for error in errors {
            for misfit in describe(&error, sight) {
                if list.contains(&misfit) {
                    continue;
                }
                if list.len() == MISFITS_MAX {
                    return Misfits { list, are_all: false };
                }
                list.push(misfit);
            }
        }
        Misfits { list, are_all: true }
    }
}

/// What may be repeated of a value.
#[derive(Clone, Copy)]
pub(super) struct Sight<'g> {
    pub(super) graph: &'g Graph,
    /// Another schema of the same value, whose secrets are secrets as well.
    pub(super) beside: Option<&'g Graph>,
    /// No value is repeated.
    pub(super) is_blind: bool,
}

impl Sight<'_> {
    fn hides(self, pointer: &str) -> bool {
        let is_secret = |graph: &Graph| {
            let (at, is_secret) = walk(graph, pointer);
            is_secret || graph.leads_to_secret(&at)
        };
        self.is_blind || is_secret(self.graph) || self.beside.is_some_and(is_secret)
    }
}

/// Mostly one; several where an object has several properties too many.
fn describe(error: &ValidationError<'_>, sight: Sight<'_>) -> Vec<Misfit> {
    let pointer = error.instance_path().as_str();
    let misfit = |name: &str, expected: String| {
        let pointer = cut(&format!("{pointer}/{}", escaped(name)), POINTER_CHARACTERS);
        Misfit { pointer, expected, given: None }
    };
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            vec![misfit(property.as_str().unwrap_or_default(), "is missing".to_owned())]
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let expected = unknown(sight.graph, &walk(sight.graph, pointer).0);
            let names = unexpected.iter().take(MISFITS_MAX + 1);
            names.map(|name| misfit(name, expected.clone())).collect()
        }
        kind => {
            let hides = sight.hides(pointer);
            let tells = !hides && !matches!(kind, ValidationErrorKind::FalseSchema);
            let given = if tells { plain(error.instance()) } else { None };
            let expected = expected(kind, sight, hides);
            vec![Misfit { pointer: cut(pointer, POINTER_CHARACTERS), expected, given }]
        }
    }
}

/// The nodes that apply to a part, and whether any on the way to it is secret.
fn walk(graph: &Graph, pointer: &str) -> (Vec<usize>, bool) {
    let mut at = graph.start();
    let mut is_secret = graph.is_secret(&at);
    for part in pointer.split('/').skip(1) {
        let name = part.replace("~1", "/").replace("~0", "~");
        let mut below = graph.property(&at, &name);
        if let Ok(place) = part.parse::<usize>() {
            // A number may be an entry's place or a property's name: both count.
            below.extend(graph.entry(&at, place));
        }
        at = below;
        is_secret |= graph.is_secret(&at);
    }
    (at, is_secret)
}

fn expected(kind: &ValidationErrorKind, sight: Sight<'_>, hides: bool) -> String {
    use ValidationErrorKind as Kind;
    match kind {
        Kind::Type { kind } => format!("must be {}", types(kind)),
        Kind::Enum { .. } | Kind::Constant { .. } if hides => {
            "must be one of the values that the schema names".to_owned()
        }
        Kind::Enum { options } => format!("must be one of {}", values(options)),
        Kind::Constant { expected_value } => format!("must be {}", told(expected_value)),
        Kind::Minimum { limit } => format!("must be at least {limit}"),
        Kind::Maximum { limit } => format!("must be at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("must be more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        Kind::MinLength { limit } => format!("must have at least {limit} characters"),
        Kind::MaxLength { limit } => format!("must have at most {limit} characters"),
        Kind::MinItems { limit } => format!("must have at least {limit} entries"),
        Kind::MaxItems { limit } => format!("must have at most {limit} entries"),
        Kind::MinProperties { limit } => format!("must have at least {limit} properties"),
        Kind::MaxProperties { limit } => format!("must have at most {limit} properties"),
        Kind::AdditionalItems { limit } => format!("must have at most {limit} entries"),
        Kind::UnevaluatedItems { .. } => "has entries that are not allowed".to_owned(),
        Kind::UniqueItems => "must not have the same entry twice".to_owned(),
        Kind::Contains => "must have an entry of the kind that the schema asks for".to_owned(),
        Kind::Pattern { pattern } => format!("must match the pattern {}", short(pattern)),
        Kind::Format { format } => format!("must be of the format {}", short(format)),
        Kind::PropertyNames { .. } => "has a property whose name is not allowed".to_owned(),
        Kind::FalseSchema => "is not allowed; leave it out".to_owned(),
        Kind::Not { .. } => "must not be of the form that the schema excludes".to_owned(),
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => forms(context, sight),
        Kind::OneOfMultipleValid { .. } => {
            "fits more than one of the forms that exclude each other".to_owned()
        }
        Kind::ContentEncoding { content_encoding } => {
            format!("must be encoded as {}", short(content_encoding))
        }
        Kind::ContentMediaType { content_media_type } => {
            format!("must be of the media type {}", short(content_media_type))
        }
        other => format!("does not fit '{}' of the schema", short(other.keyword())),
    }
}

/// The form that is missed by the least says what to do.
fn forms(context: &[Vec<ValidationError<'static>>], sight: Sight<'_>) -> String {
    let count = context.len();
    let depth = |errors: &Vec<ValidationError<'static>>| {
        let first = errors.first().map(|first| first.instance_path().as_str());
        first.map_or(0, |path| path.matches('/').count())
    };
    let nearest = context.iter().filter(|errors| !errors.is_empty());
    let nearest = nearest.min_by_key(|errors| (errors.len(), std::cmp::Reverse(depth(errors))));
    let first = nearest.and_then(|errors| errors.first());
    let first = first.filter(|first| !is_of_forms(first.kind()));
    match first.and_then(|first| describe(first, sight).into_iter().next()) {
        Some(first) => format!("fits none of {count} forms; for the nearest, {first}"),
        None => format!("fits none of {count} forms"),
    }
}

fn is_of_forms(kind: &ValidationErrorKind) -> bool {
    matches!(kind, ValidationErrorKind::AnyOf { .. } | ValidationErrorKind::OneOfNotValid { .. })
}

fn unknown(graph: &Graph, at: &[usize]) -> String {
    let named = graph.named(at);
    let list: Vec<String> = named.iter().take(LISTED).map(|name| short(name)).collect();
    let more = if named.len() > LISTED { " and others" } else { "" };
    match list.is_empty() {
        true => "is not allowed; leave it out".to_owned(),
        false => format!("is not known; allowed are {}{more}", list.join(", ")),
    }
}

fn types(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => type_name(one.as_str()).to_owned(),
        TypeKind::Multiple(set) => {
            let names: Vec<&str> = set.iter().map(|one| type_name(one.as_str())).collect();
            names.join(" or ")
        }
    }
}

fn type_name(word: &str) -> &str {
    match word {
        "string" => "a string",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "an object",
        other => other,
    }
}

fn values(options: &Value) -> String {
    let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
    let list: Vec<String> = options.iter().take(LISTED).map(told).collect();
    let more = if options.len() > LISTED { " and others" } else { "" };
    format!("{}{more}", list.join(", "))
}

/// A value that the schema itself names.
fn told(value: &Value) -> String {
    short(&value.to_string())
}

/// A value that somebody gave, if it may be repeated at all.
fn plain(value: &Value) -> Option<String> {
    if value.is_object() || value.is_array() {
        return None;
    }
    let text = value.to_string();
    (text.chars().count() <= VALUE_CHARACTERS).then_some(text)
}
