//! What another version changes.

use serde_json::{Value, json};

use super::{plain, with};
use crate::{Definition, Difference, amend, compare, is_compatible};

fn told(differences: &[Difference]) -> Vec<String> {
    let told = |one: &Difference| format!("{} {}: {}", one.severity.word(), one.path, one.what);
    differences.iter().map(told).collect()
}

fn compared(old: Value, new: Value) -> Vec<Difference> {
    compare(&Definition::read(&old).unwrap(), &Definition::read(&new).unwrap())
}

/// Each row: the old schema, the new one, what an input's caller is told, and an output's.
type Row = (Value, Value, Vec<&'static str>, Vec<&'static str>);

fn check(rows: Vec<Row>) {
    for (old, new, input, output) in rows {
        for (field, expected) in [("input", input), ("output", output)] {
            let side = |schema: &Value| {
                let schema = match field {
                    "input" => with(schema.clone(), json!({"type": "object"})),
                    _ => schema.clone(),
                };
                let more: Value = [(field.to_owned(), schema)].into_iter().collect();
                let backend = json!({"backend": {"mcp": {"server": "a", "tool": "b"}}});
                with(with(plain(), backend), more)
            };
            let expected: Vec<String> = expected
                .iter()
                .map(|line| match line.split_once(' ') {
                    Some((severity, rest)) if rest.starts_with(": ") => {
                        format!("{severity} {field}{rest}")
                    }
                    Some((severity, rest)) => format!("{severity} {field}.{rest}"),
                    None => (*line).to_owned(),
                })
                .collect();
            assert_eq!(told(&compared(side(&old), side(&new))), expected, "{field} {old} {new}");
        }
    }
}

#[test]
fn schemas_are_compared_part_by_part() {
    let object = |properties: Value| json!({"type": "object", "properties": properties});
    let a = |schema: Value| object(json!({"a": schema}));
    let text = || json!({"type": "string"});
    // Each row: the old schema, the new one, what an input's caller is told, and an output's.
    let rows = [
        (a(text()), a(json!({"type": "string", "description": "x"})), vec![], vec![]),
        (
            a(text()),
            object(json!({"a": text(), "b": text()})),
            vec!["compatible properties.b: is new, where anything could be given"],
            vec!["compatible properties.b: is new"],
        ),
        (
            with(a(text()), json!({"additionalProperties": false})),
            with(object(json!({"a": text(), "b": text()})), json!({"additionalProperties": false})),
            vec!["compatible properties.b: is new"],
            vec!["breaking properties.b: is new, where nothing else could come"],
        ),
        (
            object(json!({"a": text(), "b": text()})),
            a(text()),
            vec!["breaking properties.b: is gone"],
            vec!["breaking properties.b: is gone"],
        ),
        (
            a(text()),
            with(a(text()), json!({"required": ["a"]})),
            vec!["breaking properties.a: is required now"],
            vec!["compatible properties.a: is required now"],
        ),
        (
            with(a(text()), json!({"required": ["a"]})),
            a(text()),
            vec!["compatible properties.a: is no longer required"],
            vec!["breaking properties.a: is no longer required"],
        ),
        (
            a(json!({"type": "integer"})),
            a(json!({"type": "number"})),
            vec!["compatible properties.a: type was integer and is integer or number now"],
            vec!["breaking properties.a: type was integer and is integer or number now"],
        ),
        (
            a(text()),
            a(json!({"type": "integer"})),
            vec!["breaking properties.a: type was string and is integer now"],
            vec!["breaking properties.a: type was string and is integer now"],
        ),
        (
            a(json!({"enum": ["x", "y"]})),
            a(json!({"enum": ["x"]})),
            vec!["breaking properties.a: enum was \"x\" or \"y\" and is \"x\" now"],
            vec!["compatible properties.a: enum was \"x\" or \"y\" and is \"x\" now"],
        ),
    ];
    check(Vec::from(rows));
}

#[test]
fn bounds_and_lists_are_compared() {
    let object = |properties: Value| json!({"type": "object", "properties": properties});
    let a = |schema: Value| object(json!({"a": schema}));
    let text = || json!({"type": "string"});
    // Each row: the old schema, the new one, what an input's caller is told, and an output's.
    let rows = [
        (
            a(json!({"type": "string", "maxLength": 9, "minLength": 2})),
            a(json!({"type": "string", "maxLength": 8, "minLength": 1})),
            vec![
                "compatible properties.a: minLength is wider now",
                "breaking properties.a: maxLength is tighter now",
            ],
            vec![
                "breaking properties.a: minLength is wider now",
                "compatible properties.a: maxLength is tighter now",
            ],
        ),
        (
            a(text()),
            a(json!({"type": "string", "pattern": "x"})),
            vec!["breaking properties.a: pattern is asked for now"],
            vec!["compatible properties.a: pattern is asked for now"],
        ),
        (
            a(json!({"type": "string", "pattern": "y"})),
            a(json!({"type": "string", "pattern": "x"})),
            vec!["unclear properties.a: pattern has changed"],
            vec!["unclear properties.a: pattern has changed"],
        ),
        (
            a(json!({"type": "array", "items": text()})),
            a(json!({"type": "array", "items": {"type": ["string", "null"]}})),
            vec!["compatible properties.a.items: type was string and is null or string now"],
            vec!["breaking properties.a.items: type was string and is null or string now"],
        ),
        (
            a(text()),
            with(a(text()), json!({"additionalProperties": false})),
            vec!["breaking : takes no other properties now"],
            vec!["compatible : takes no other properties now"],
        ),
        (
            a(text()),
            with(a(text()), json!({"additionalProperties": {"type": "string"}})),
            vec!["breaking additionalProperties: takes less than anything now"],
            vec!["compatible additionalProperties: takes less than anything now"],
        ),
        (
            with(a(text()), json!({"anyOf": [{"required": ["a"]}]})),
            with(a(text()), json!({"anyOf": [{"required": ["b"]}]})),
            vec!["unclear : anyOf has changed"],
            vec!["unclear : anyOf has changed"],
        ),
    ];
    check(Vec::from(rows));
}

#[test]
fn other_fields_are_compared() {
    let rows = [
        (
            json!({"kind": "stateful", "idempotent": true}),
            "breaking kind: was read_only and is stateful now",
        ),
        (json!({"asynchronous": true}), "breaking asynchronous: was false and is true now"),
        (
            json!({"confirmation": "always"}),
            "breaking confirmation: is needed now: calls wait for a person",
        ),
        (json!({"idempotent": false}), "breaking idempotent: is no longer so"),
        (json!({"dry_run": true}), "compatible dry_run: is so now"),
        (json!({"timeout_ms": 5_000}), "unclear timeout_ms: leaves callers less than before"),
        (
            json!({"output_bytes_max": 1_000_000}),
            "compatible output_bytes_max: leaves callers more than before",
        ),
        (
            json!({"cost_microdollars": 7}),
            "unclear cost_microdollars: leaves callers less than before",
        ),
        (json!({"redact": true}), "unclear redact: has changed"),
        (json!({"owner": "other"}), "compatible owner: has changed"),
        (json!({"output": {"type": "object"}}), "compatible output: is promised now"),
        (
            json!({"backend": {"mcp": {"server": "a", "tool": "b"}}}),
            "unclear backend: runs in another way; what it answers cannot be compared",
        ),
    ];
    for (fields, expected) in rows {
        let mut found = compared(plain(), with(plain(), fields.clone()));
        found.retain(|one| one.path != "idempotent" || fields.get("kind").is_none());
        assert_eq!(told(&found), [expected], "{fields}");
        assert_eq!(is_compatible(&found), expected.starts_with("compatible"));
    }
    assert!(is_compatible(&compared(plain(), plain())));
}

#[test]
fn what_is_published_stays() {
    let read = |fields: Value| Definition::read(&with(plain(), fields)).unwrap();
    let published = read(json!({}));
    let ends = json!({"deprecation": {"since": "2027-03-01", "ends": "2027-03-31"}});
    for fields in [json!({"description": "Better said."}), ends, json!({})] {
        assert_eq!(amend(&published, &read(fields)), Ok(()));
    }
    for (fields, name) in [
        (json!({"redact": true}), "redact"),
        (json!({"input": {"type": "object"}}), "input"),
        (json!({"name": "other"}), "name"),
    ] {
        let told = amend(&published, &read(fields)).unwrap_err();
        assert_eq!(told.field, name);
        assert!(told.problem.ends_with("publish a new version"), "{told}");
    }
}
