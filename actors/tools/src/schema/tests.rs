//! Schemas that are taken and refused, and what is told of values that do not fit.

mod hostile;

use serde_json::{Value, json};

use crate::{Misfits, Schema};

fn schema(source: Value) -> Schema {
    Schema::compile("input", &source).unwrap()
}

fn told(source: Value, value: Value) -> String {
    let schema = schema(source);
    let told = schema.check(&value).map_or_else(|misfits| misfits.to_string(), |()| String::new());
    assert_eq!(told.is_empty(), schema.fits(&value));
    told
}

fn object(properties: Value) -> Value {
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

#[test]
fn what_does_not_fit_is_told() {
    let a = |rule: Value| object(json!({"a": rule}));
    let rows = [
        (a(json!({"type": "string"})), json!({"a": "x"}), ""),
        (a(json!({"type": "string"})), json!({"a": 4}), "/a must be a string, not 4"),
        (
            a(json!({"type": ["integer", "null"]})),
            json!({"a": "x"}),
            "/a must be null or a whole number, not \"x\"",
        ),
        (a(json!({"type": "string"})), json!([]), "the whole must be an object"),
        (json!({"required": ["a", "b/c"]}), json!({}), "/a is missing; /b~1c is missing"),
        (
            a(json!({})),
            json!({"b": 1, "c": 2}),
            "/b is not known; allowed are a; /c is not known; allowed are a",
        ),
        (object(json!({})), json!({"b": 1}), "/b is not allowed; leave it out"),
        (
            a(json!({"enum": ["x", 1, null]})),
            json!({"a": "y"}),
            "/a must be one of \"x\", 1, null, not \"y\"",
        ),
        (a(json!({"const": {"b": 1}})), json!({"a": true}), "/a must be {\"b\":1}, not true"),
        (a(json!({"minimum": 1})), json!({"a": 0.5}), "/a must be at least 1, not 0.5"),
        (a(json!({"exclusiveMaximum": 1})), json!({"a": 1}), "/a must be less than 1, not 1"),
        (a(json!({"multipleOf": 5})), json!({"a": 7}), "/a must be a multiple of 5, not 7"),
        (
            a(json!({"maxLength": 2})),
            json!({"a": "xyz"}),
            "/a must have at most 2 characters, not \"xyz\"",
        ),
        (
            a(json!({"pattern": "^x+$"})),
            json!({"a": "xy"}),
            "/a must match the pattern ^x+$, not \"xy\"",
        ),
        (
            a(json!({"format": "date"})),
            json!({"a": "soon"}),
            "/a must be of the format date, not \"soon\"",
        ),
        (a(json!({"format": "unheard-of"})), json!({"a": "soon"}), ""),
        (a(json!({"minItems": 1})), json!({"a": []}), "/a must have at least 1 entries"),
        (
            a(json!({"uniqueItems": true})),
            json!({"a": [1, 1]}),
            "/a must not have the same entry twice",
        ),
    ];
    for (source, value, expected) in rows {
        assert_eq!(told(source.clone(), value), expected, "{source}");
    }
}

#[test]
fn what_does_not_fit_deeper_is_told() {
    let a = |rule: Value| object(json!({"a": rule}));
    let rows = [
        (
            a(json!({"items": {"type": "integer"}})),
            json!({"a": [1, "x"]}),
            "/a/1 must be a whole number, not \"x\"",
        ),
        (a(json!(false)), json!({"a": 1}), "/a is not allowed; leave it out"),
        (
            a(json!({"not": {"type": "string"}})),
            json!({"a": "x"}),
            "/a must not be of the form that the schema excludes, not \"x\"",
        ),
        (
            json!({"propertyNames": {"maxLength": 1}}),
            json!({"ab": 1}),
            "the whole has a property whose name is not allowed",
        ),
        (json!({"minProperties": 1}), json!({}), "the whole must have at least 1 properties"),
        (
            a(
                json!({"anyOf": [{"type": "object", "required": ["x", "y", "z"]}, object(json!({"b": {"type": "integer"}}))]}),
            ),
            json!({"a": {"b": "1"}}),
            "/a fits none of 2 forms; for the nearest, /a/b must be a whole number, not \"1\"",
        ),
        (
            a(json!({"oneOf": [{"minimum": 1}, {"minimum": 2}]})),
            json!({"a": 3}),
            "/a fits more than one of the forms that exclude each other, not 3",
        ),
        (
            json!({"$defs": {"n": object(json!({"next": {"$ref": "#/$defs/n"}}))}, "$ref": "#/$defs/n"}),
            json!({"next": {"next": {"nxet": 1}}}),
            "/next/next/nxet is not known; allowed are next",
        ),
        (
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}]}),
            json!([1]),
            "/0 must be a string, not 1",
        ),
    ];
    for (source, value, expected) in rows {
        assert_eq!(told(source.clone(), value), expected, "{source}");
    }
}

#[test]
fn few_misfits_are_told_and_no_long_value() {
    let numbers = json!({"items": {"type": "integer"}});
    let nine =
        schema(numbers.clone()).check(&json!(["a"; 0].iter().chain(&["a"; 9]).collect::<Vec<_>>()));
    let nine = nine.unwrap_err();
    assert_eq!((nine.list.len(), nine.are_all), (8, false));
    assert!(nine.to_string().ends_with("/7 must be a whole number, not \"a\"; and more"));
    let eight = schema(numbers.clone()).check(&json!(["a"].repeat(8))).unwrap_err();
    assert_eq!((eight.list.len(), eight.are_all), (8, true));
    // 62 letters and two quotes are 64 characters.
    for (letters, is_told) in [(62, true), (63, false), (100_000, false)] {
        let long = "é".repeat(letters);
        let told = told(numbers.clone(), json!([long]));
        assert_eq!(told.contains('é'), is_told, "{letters}");
    }
    let name = "n".repeat(100_000);
    let many: Value = (0..50).map(|n| (format!("{name}{n}"), json!(1))).collect();
    let told = told(object(json!({"a": {}})), many);
    assert!(told.len() < 4_000, "{}", told.len());
    let deep = (0..70).fold(json!(1), |below, _| json!([below]));
    let told = schema(json!(true)).check(&deep).unwrap_err().to_string();
    assert_eq!(told, "the whole must not nest deeper than 64");
    assert!(!schema(json!(true)).fits(&deep));
}

#[test]
fn no_secret_is_repeated() {
    let secret = json!({"type": "string", "minLength": 50, "x-secret": true});
    let only = json!({"type": "string", "minLength": 50, "writeOnly": true});
    let named = |rule: &Value| object(json!({"key": rule}));
    let by_reference = json!({
        "$defs": {"s": secret}, "type": "object",
        "properties": {"key": {"allOf": [{"$ref": "#/$defs/s"}]}},
    });
    let deep = object(json!({"all": {"items": {"properties": {"key": {
        "x-secret": true, "properties": {"inner": {"type": "integer"}}}}}}}));
    let forms = object(json!({"a": {"anyOf": [named(&secret), {"type": "integer"}]}}));
    let conditional = json!({"if": {"required": ["b"]}, "then": named(&secret), "else": {
        "properties": {"key": {"maxLength": 1}}}});
    let recursive =
        json!({"properties": {"below": {"$ref": "#"}, "key": secret, "a": {"maxLength": 1}}});
    let rows = [
        (named(&secret), json!({"key": "hunter2"})),
        (named(&only), json!({"key": "hunter2"})),
        (named(&json!({"x-secret": true, "enum": ["hunter2"]})), json!({"key": "hunter22"})),
        (named(&json!({"x-secret": true, "const": "hunter2"})), json!({"key": 3})),
        (by_reference, json!({"key": "hunter2"})),
        (deep, json!({"all": [{"key": {"inner": "hunter2"}}]})),
        // Put one level too high.
        (
            object(json!({"login": {"type": "object", "properties": {"key": secret}}})),
            json!({"login": "hunter2"}),
        ),
        (json!({"type": "object", "properties": {"key": secret}}), json!("hunter2")),
        (forms, json!({"a": {"key": "hunter2"}})),
        (conditional, json!({"key": "hunter2"})),
        (json!({"patternProperties": {"^k": secret}}), json!({"key": "hunter2"})),
        (json!({"additionalProperties": secret}), json!({"key": "hunter2"})),
        (json!({"prefixItems": [true, secret]}), json!([1, "hunter2"])),
        (json!({"items": secret}), json!(["hunter2"])),
        (json!({"contains": secret}), json!(["hunter2"])),
        (recursive, json!({"below": {"below": {"key": "hunter2"}}})),
    ];
    for (source, value) in rows {
        let told = told(source.clone(), value.clone());
        assert!(!told.is_empty(), "{source} takes {value}");
        assert!(!told.contains("hunter2"), "{source}: {told}");
        let masked = schema(source.clone()).masked(&value).to_string();
        assert!(!masked.contains("hunter2") && masked.contains("[secret]"), "{source}: {masked}");
    }
    // What is beside a secret is told, and stays in sight.
    let source = object(json!({"key": secret, "a": {"maxLength": 1}}));
    assert!(told(source.clone(), json!({"a": "xy"})).ends_with("not \"xy\""));
    let value = json!({"a": ["x", null], "key": "hunter2", "b": {"c": 1}});
    let masked = json!({"a": ["x", null], "key": "[secret]", "b": {"c": 1}});
    assert_eq!(schema(source.clone()).masked(&value), masked);
    // A schema that knows nothing of it is told by the one that does.
    let other = schema(json!({"properties": {"key": {"pattern": "^k"}}}));
    let value = json!({"key": "hunter2"});
    assert!(other.check(&value).unwrap_err().to_string().contains("hunter2"));
    let beside = |misfits: Result<(), Misfits>| misfits.unwrap_err().to_string();
    assert!(!beside(other.check_beside(&schema(source), &value)).contains("hunter2"));
    assert!(!beside(other.check_blindly(&value)).contains("hunter2"));
}
