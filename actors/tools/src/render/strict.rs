//! Whether OpenAI's strict mode takes a schema, by the rules of its structured outputs: each object
//! is closed and requires all that it has, and only some keywords are known.

use serde_json::{Map, Value};

use crate::schema::Schema;

const KEYWORDS: [&str; 20] = [
    "$defs",
    "$ref",
    "additionalProperties",
    "anyOf",
    "const",
    "definitions",
    "description",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maximum",
    "minItems",
    "minimum",
    "multipleOf",
    "pattern",
    "title",
    "type",
];
const FORMATS: [&str; 9] =
    ["date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uuid"];
/// Levels of objects and lists.
const DEPTH: usize = 10;
/// Properties, over all objects.
const PROPERTIES: usize = 5_000;
/// Values of enumerations, over all of them.
const VALUES: usize = 1_000;

#[derive(Default)]
struct Count {
    properties: usize,
    values: usize,
}

pub(super) fn allows(schema: &Schema) -> bool {
    let Value::Object(root) = schema.source() else { return false };
    let mut count = Count::default();
    !root.contains_key("anyOf")
        && allows_object(root, DEPTH, &mut count)
        && count.properties <= PROPERTIES
        && count.values <= VALUES
}

fn allows_any(schema: &Value, depth: usize, count: &mut Count) -> bool {
    match schema {
        Value::Object(schema) => allows_object(schema, depth, count),
        _ => false,
    }
}

fn allows_object(schema: &Map<String, Value>, depth: usize, count: &mut Count) -> bool {
    let known = |word: &str| KEYWORDS.contains(&word) || word == "properties" || word == "required";
    let is_of_something = ["type", "anyOf", "$ref", "enum", "const"];
    let is_of_something = is_of_something.iter().any(|word| schema.contains_key(*word));
    if depth == 0
        || !is_of_something
        || !schema.keys().all(|word| known(word))
        || !is_closed(schema)
    {
        return false;
    }
    let format = schema.get("format").map(|format| format.as_str().unwrap_or_default());
    if format.is_some_and(|format| !FORMATS.contains(&format)) {
        return false;
    }
    count.values += schema.get("enum").and_then(Value::as_array).map_or(0, Vec::len);
    let mut below: Vec<(&Value, usize)> = Vec::new();
    for word in ["$defs", "definitions", "properties"] {
        let map = schema.get(word).and_then(Value::as_object);
        let deeper = if word == "properties" { depth - 1 } else { depth };
        below.extend(map.into_iter().flat_map(Map::values).map(|value| (value, deeper)));
    }
    let forms = schema.get("anyOf").and_then(Value::as_array);
    below.extend(forms.into_iter().flatten().map(|form| (form, depth)));
    below.extend(schema.get("items").map(|items| (items, depth - 1)));
    count.properties += schema.get("properties").and_then(Value::as_object).map_or(0, Map::len);
    below.into_iter().all(|(schema, depth)| allows_any(schema, depth, count))
}

/// Whether it is of no object, or of one that takes nothing else and leaves nothing out.
fn is_closed(schema: &Map<String, Value>) -> bool {
    let is_object = match schema.get("type") {
        Some(Value::String(one)) => one == "object",
        Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some("object")),
        _ => schema.contains_key("properties"),
    };
    if !is_object {
        return true;
    }
    let empty = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let required = schema.get("required").and_then(Value::as_array);
    let is_required = |name: &String| {
        required.is_some_and(|all| all.iter().any(|one| one.as_str() == Some(name)))
    };
    schema.get("additionalProperties") == Some(&Value::Bool(false))
        && properties.keys().all(is_required)
}
