//! Schemas of a document, with its references written out.

use serde_json::{Map, Value, json};

/// How deep a schema may nest when its references are written out.
const DEPTH_MAX: usize = 24;
/// Most parts of one schema.
const NODES_MAX: usize = 4_000;

/// Words of OpenAPI 3.0 that JSON Schema has not.
const DROPPED: [&str; 8] =
    ["discriminator", "xml", "externalDocs", "example", "examples", "$schema", "$id", "$anchor"];

/// Writes references of one document out; cycles and what is too deep become `{}`, which takes
/// anything.
pub(super) struct Schemas<'a> {
    document: &'a Value,
    nodes: usize,
    open: Vec<String>,
    pub(super) notes: Vec<String>,
}

impl<'a> Schemas<'a> {
    pub(super) fn new(document: &'a Value) -> Schemas<'a> {
        Schemas { document, nodes: 0, open: Vec::new(), notes: Vec::new() }
    }

    /// What a reference of any kind points to, followed to its end; the value itself where it is
    /// none.
    pub(super) fn follow(document: &'a Value, value: &'a Value) -> Option<&'a Value> {
        let mut value = value;
        for _ in 0..16 {
            let Some(to) = value.get("$ref").and_then(Value::as_str) else {
                return Some(value);
            };
            value = document.pointer(to.strip_prefix('#')?)?;
        }
        None
    }

    pub(super) fn inline(&mut self, schema: &Value) -> Value {
        self.schema(schema, 0)
    }

    fn schema(&mut self, schema: &Value, depth: usize) -> Value {
        self.nodes += 1;
        if depth > DEPTH_MAX || self.nodes > NODES_MAX {
            self.note("a schema is too deep or too large; a part of it takes anything");
            return json!({});
        }
        let Some(map) = schema.as_object() else {
            return if schema.is_boolean() { schema.clone() } else { json!({}) };
        };
        if let Some(to) = map.get("$ref").and_then(Value::as_str) {
            return self.reference(to, map, depth);
        }
        let mut made = Map::new();
        for (word, value) in map {
            if DROPPED.contains(&word.as_str()) || (word.starts_with("x-") && word != "x-secret") {
                continue;
            }
            let value = match word.as_str() {
                "properties" | "patternProperties" | "$defs" | "dependentSchemas" => {
                    self.each(value, depth)
                }
                "items"
                | "additionalProperties"
                | "not"
                | "contains"
                | "propertyNames"
                | "if"
                | "then"
                | "else" => self.schema(value, depth + 1),
                "allOf" | "anyOf" | "oneOf" | "prefixItems" => self.list(value, depth),
                _ => value.clone(),
            };
            made.insert(word.clone(), value);
        }
        modern(&mut made);
        Value::Object(made)
    }

    fn reference(&mut self, to: &str, beside: &Map<String, Value>, depth: usize) -> Value {
        let Some(target) = to.strip_prefix('#').and_then(|to| self.document.pointer(to)) else {
            self.note(&format!("`{}` is not in the document; it takes anything", short(to)));
            return json!({});
        };
        if self.open.iter().any(|open| open == to) {
            self.note(&format!("`{}` holds itself; within itself it takes anything", short(to)));
            return json!({});
        }
        self.open.push(to.to_owned());
        let mut made = self.schema(target, depth);
        self.open.pop();
        if let (Some(map), Some(description)) = (made.as_object_mut(), beside.get("description")) {
            map.insert("description".to_owned(), description.clone());
        }
        made
    }

    fn each(&mut self, value: &Value, depth: usize) -> Value {
        let Some(map) = value.as_object() else { return json!({}) };
        let made = map.iter().map(|(name, schema)| (name.clone(), self.schema(schema, depth + 1)));
        Value::Object(made.collect())
    }

    fn list(&mut self, value: &Value, depth: usize) -> Value {
        let Some(list) = value.as_array() else { return json!([]) };
        list.iter().map(|schema| self.schema(schema, depth + 1)).collect()
    }

    fn note(&mut self, note: &str) {
        if !self.notes.iter().any(|known| known == note) {
            self.notes.push(note.to_owned());
        }
    }
}

/// What OpenAPI 3.0 says in its own words, in those of JSON Schema 2020-12.
fn modern(schema: &mut Map<String, Value>) {
    if schema.remove("nullable") == Some(Value::Bool(true)) {
        if let Some(Value::String(kind)) = schema.get("type").cloned() {
            schema.insert("type".to_owned(), json!([kind, "null"]));
        }
        if let Some(Value::Array(values)) = schema.get_mut("enum")
            && !values.contains(&Value::Null)
        {
            values.push(Value::Null);
        }
    }
    for (limit, exclusive) in [("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")] {
        match schema.get(exclusive) {
            Some(Value::Bool(true)) => match schema.remove(limit) {
                Some(bound) => schema.insert(exclusive.to_owned(), bound),
                None => schema.remove(exclusive),
            },
            Some(Value::Bool(false)) => schema.remove(exclusive),
            _ => None,
        };
    }
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}
