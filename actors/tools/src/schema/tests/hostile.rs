//! Schemas that somebody wrote to hold the platform up.

use serde_json::{Value, json};

use crate::{SCHEMA_BYTES_MAX, Schema};

fn refused(source: &Value) -> String {
    Schema::compile("input", source).unwrap_err().to_string()
}

#[test]
fn what_is_no_schema_or_too_much_is_refused() {
    let deep = (0..40).fold(json!(true), |below, _| json!({"not": below}));
    let patterns: Value = (0..65).map(|n| (format!("p{n}"), json!({"pattern": "x"}))).collect();
    let long = "x".repeat(SCHEMA_BYTES_MAX);
    let elsewhere = "must be a pointer into the same schema, as in #/$defs/address; nothing is \
                     fetched from elsewhere";
    let by_name = "use $ref with a pointer into the same schema";
    let rows = [
        (json!(1), "input: is no schema; write an object, true or false".to_owned()),
        (json!({"type": "strng"}), "input/type: is no JSON schema: \"strng\" is not valid under any of the schemas listed in the 'anyOf' keyword".to_owned()),
        (json!({"properties": []}), "input/properties: must be an object of schemas".to_owned()),
        (json!({"allOf": {}}), "input/allOf: must be a list of schemas".to_owned()),
        (json!({"minLength": -1}), "input/minLength: is no JSON schema: -1 is less than the minimum of 0".to_owned()),
        (deep, "input: nests deeper than 32; use $defs and $ref".to_owned()),
        (json!({"title": long}), format!("input: has {} bytes as JSON; at most 65536 are allowed", long.len() + 12)),
        (json!({"properties": patterns}), "input/properties/p9/pattern: is one pattern too many; at most 64 are allowed".to_owned()),
        (json!({"pattern": "x".repeat(1_025)}), "input/pattern: has a pattern of more than 1024 characters".to_owned()),
        (json!({"$ref": "https://x.example/schema"}), format!("input/$ref: {elsewhere}")),
        (json!({"$ref": "file:///etc/passwd"}), format!("input/$ref: {elsewhere}")),
        (json!({"$ref": "other.json"}), format!("input/$ref: {elsewhere}")),
        (json!({"$ref": "#name"}), format!("input/$ref: {elsewhere}")),
        (json!({"$ref": "#/$defs/a"}), "input/$ref: points to #/$defs/a, which is not there".to_owned()),
        (json!({"properties": {"a": {"$id": "https://x.example/"}}}), format!("input/properties/a: holds $id; {by_name}")),
        (json!({"$dynamicRef": "#a"}), format!("input: holds $dynamicRef; {by_name}")),
        (json!({"$anchor": "a"}), format!("input: holds $anchor; {by_name}")),
        (json!({"properties": {"a": {"$schema": "https://x.example/"}}}), format!("input/properties/a: holds $schema; {by_name}")),
        (json!({"$schema": "https://x.example/"}), "input/$schema: must be one of https://json-schema.org/draft/2020-12/schema, https://json-schema.org/draft/2019-09/schema, http://json-schema.org/draft-07/schema".to_owned()),
    ];
    for (source, expected) in rows {
        assert_eq!(refused(&source), expected);
    }
    // An ordinary property may be called as what is refused.
    let names = json!({"properties": {"$id": true, "$ref": {"type": "string"}, "$anchor": true}});
    assert!(Schema::compile("input", &names).is_ok());
}

#[test]
fn patterns_are_of_a_linear_engine() {
    let linear = "is no pattern of a linear engine, or a too large one: write it without \
                  look-around, back references and great repetitions";
    for pattern in ["(?=x)y", "(a)\\1", "(", "(\\w{1000}){1000}"] {
        assert_eq!(refused(&json!({"pattern": pattern})), format!("input/pattern: {linear}"));
        let names: Value = [(pattern.to_owned(), json!(true))].into_iter().collect();
        let told = refused(&json!({"patternProperties": names}));
        assert!(told.ends_with(linear), "{pattern}: {told}");
    }
    // A backtracking engine does not come to an end here.
    let schema = Schema::compile("input", &json!({"pattern": "^(a+)+$"})).unwrap();
    assert!(!schema.fits(&json!(format!("{}b", "a".repeat(100_000)))));
    let schema = json!({"patternProperties": {"^(a|a)*$": {"type": "integer"}}});
    let schema = Schema::compile("input", &schema).unwrap();
    let value: Value = [(format!("{}b", "a".repeat(100_000)), json!("x"))].into_iter().collect();
    assert!(schema.fits(&value));
}

#[test]
fn work_that_multiplies_is_refused() {
    let both = |next: &str| json!([{"$ref": next}, {"$ref": next}]);
    let chain = |word: &str, count: usize| {
        let mut defs: serde_json::Map<String, Value> = (0..count)
            .map(|n| (format!("d{n}"), json!({word: both(&format!("#/$defs/d{}", n + 1))})))
            .collect();
        defs.insert(format!("d{count}"), json!({"type": "string"}));
        json!({"$defs": defs, "$ref": "#/$defs/d0"})
    };
    let node = |rule: Value| json!({"$defs": {"n": rule}, "$ref": "#/$defs/n"});
    let circle = "input: has a $ref that leads back to itself at the same value; let it go through \
                  a property or an item";
    let many = "input: applies more than 512 subschemas to one value; make fewer alternatives, or \
                several tools";
    let again = "input: could check one value more than 64 times; let fewer references lead to the \
                 same subschema";
    let rows = [
        (json!({"$ref": "#"}), circle),
        (json!({"not": {"$ref": "#"}}), circle),
        (
            json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
            circle,
        ),
        (node(json!({"allOf": [{"$ref": "#/$defs/n"}, {"$ref": "#/$defs/n"}]})), circle),
        (chain("anyOf", 40), many),
        (chain("allOf", 12), many),
        // At each level of the value twice as often.
        (node(json!({"items": {"anyOf": both("#/$defs/n")}})), again),
        (node(json!({"properties": {"x": {"oneOf": both("#/$defs/n")}}})), again),
        (
            node(
                json!({"anyOf": [{"properties": {"x": {"$ref": "#/$defs/n"}}}, {"properties": {"x": {"$ref": "#/$defs/n"}}}]}),
            ),
            again,
        ),
        (
            node(
                json!({"patternProperties": {"x": {"$ref": "#/$defs/n"}, "y": {"$ref": "#/$defs/n"}}}),
            ),
            again,
        ),
        (node(json!({"contains": {"$ref": "#/$defs/n"}, "items": {"$ref": "#/$defs/n"}})), again),
    ];
    for (source, expected) in rows {
        assert_eq!(refused(&source), expected, "{source}");
    }
    // Trees, lists and the syntax of a language do not multiply, however deep.
    let n = || json!({"$ref": "#/$defs/n"});
    let tree = json!({"properties": {"left": n(), "right": n()}, "additionalProperties": false});
    let form = |properties: Value, required: &str| json!({"type": "object", "properties": properties, "required": [required]});
    let syntax = json!({"oneOf": [
        {"type": "integer"},
        form(json!({"left": n(), "right": n(), "op": {"const": "+"}}), "op"),
        form(json!({"not": n()}), "not"),
    ]});
    let with_rest = json!({"properties": {"a": n()}, "additionalProperties": n()});
    let perhaps = json!({"properties": {
        "left": {"anyOf": [n(), {"type": "null"}]}, "right": {"anyOf": [n(), {"type": "null"}]}}});
    let pairs = json!({"prefixItems": [n(), n()], "items": n()});
    for rule in [tree, syntax.clone(), with_rest, perhaps, pairs, json!({"items": n()})] {
        assert!(Schema::compile("input", &node(rule.clone())).is_ok(), "{rule}");
    }
    let syntax = Schema::compile("input", &node(syntax)).unwrap();
    let deep = (0..60).fold(json!(1), |below, _| json!({"op": "+", "left": below, "right": 1}));
    assert!(syntax.fits(&deep));
    let deep = (0..60).fold(json!("no"), |below, _| json!({"op": "+", "left": below, "right": 1}));
    assert!(syntax.check(&deep).is_err());
}

#[test]
fn odd_references_are_answered() {
    // References to places that are no schemas, or are ones by chance: refused or taken, never a
    // panic or an endless walk.
    let rows = [
        (json!({"properties": {"type": {"type": "string"}}, "$ref": "#/properties"}), false),
        (json!({"required": ["a"], "$ref": "#/required"}), false),
        (json!({"enum": [{"type": "string"}], "items": {"$ref": "#/enum/0"}}), true),
        (json!({"x-mine": {"a~b/c": {"type": "string"}}, "$ref": "#/x-mine/a~0b~1c"}), true),
        (json!({"items": {"$ref": "#"}}), true),
        (json!({"$ref": "#/$defs/a%20b", "$defs": {"a b": true}}), false),
        (
            json!({"$id": "https://x.example/root", "items": {"$ref": "#/$defs/a"}, "$defs": {"a": true}}),
            true,
        ),
    ];
    for (source, is_taken) in rows {
        assert_eq!(Schema::compile("input", &source).is_ok(), is_taken, "{source}");
    }
}
