//! Requests that say where each argument goes.

use serde_json::{Map, Value, json};

use super::{HttpArguments, HttpParameter, HttpPlace, HttpRest};
use crate::{Backend, Definition, Problem};

fn read(http: Value) -> Result<Definition, Problem> {
    Definition::read(&json!({
        "name": "put-pet",
        "description": "Keeps a pet.",
        "owner": "zoo",
        "kind": "stateful",
        "input": {
            "type": "object",
            "properties": {"id": {"type": "integer"}, "tags": {"type": "array"}},
            "required": ["id"],
        },
        "backend": {"http": http},
    }))
}

fn whole() -> Value {
    json!({
        "url": "https://api.example.com/pets/{pet-id}",
        "method": "PUT",
        "parameters": [
            {"argument": "id", "in": "path", "name": "pet-id"},
            {"argument": "tags", "in": "query", "commas": true},
            {"argument": "X-Trace", "in": "header"},
        ],
        "body": {"kind": "rest"},
        "dry_run": {"in": "query", "name": "check", "value": "true"},
    })
}

fn with(fields: Value) -> Value {
    let mut http = whole();
    let fields: Map<String, Value> = serde_json::from_value(fields).unwrap();
    http.as_object_mut().unwrap().extend(fields);
    http
}

#[test]
fn a_whole_request_is_kept() {
    let definition = read(whole()).unwrap();
    assert_eq!(definition.to_json()["backend"]["http"], whole());
    assert_eq!(Definition::read(&definition.to_json()).unwrap(), definition);
    let Backend::Http { method, arguments, .. } = &definition.backend else { panic!("no HTTP") };
    let HttpArguments::Each { parameters, rest, dry_run } = arguments else {
        panic!("by one rule")
    };
    let first = HttpParameter {
        argument: "id".to_owned(),
        place: HttpPlace::Path,
        name: Some("pet-id".to_owned()),
        commas: false,
    };
    assert_eq!((*method, &parameters[0], rest), ("PUT", &first, &HttpRest::Body));
    assert!(dry_run.is_some());
    for body in [
        json!({"kind": "none"}),
        json!({"kind": "query"}),
        json!({"kind": "argument", "argument": "pet"}),
    ] {
        let http = with(json!({"body": body, "dry_run": null}));
        let written = read(http).unwrap().to_json();
        assert_eq!(written["backend"]["http"]["body"], body);
        assert!(written["backend"]["http"].get("dry_run").is_none());
    }
    // A name that says nothing more is left out, and parameters alone are enough.
    let plain = json!({"url": "https://a.example/", "method": "HEAD",
        "parameters": [{"argument": "a", "in": "query", "name": "a", "commas": false}]});
    let expected = json!({"url": "https://a.example/", "method": "HEAD",
        "parameters": [{"argument": "a", "in": "query"}], "body": {"kind": "none"}});
    assert_eq!(read(plain).unwrap().to_json()["backend"]["http"], expected);
}

#[test]
fn what_does_not_fit_together_is_told() {
    let header = |name: &str| {
        let id = whole()["parameters"][0].clone();
        with(json!({"parameters": [id, {"argument": "x", "in": "header", "name": name}]}))
    };
    let cases = [
        (with(json!({"arguments": "json"})), "parameters: is for requests that say"),
        (with(json!({"parameters": []})), "url: has {pet-id} in its path; give it a parameter"),
        (
            with(json!({"parameters": [
                {"argument": "id", "in": "path", "name": "pet-id"}, {"argument": "id", "in": "query"},
            ]})),
            "parameters[1].argument: stands twice",
        ),
        (
            with(json!({"parameters": [
                {"argument": "id", "in": "path", "name": "pet-id"}, {"argument": "b", "in": "path"},
            ]})),
            "parameters[1].name: is not in the path; write {b} there",
        ),
        (
            with(json!({"parameters": [{"argument": "tags", "in": "path", "name": "pet-id"}]})),
            "url: has {pet-id} in its path; name tags in input.required as well",
        ),
        (
            with(json!({"parameters": [{"argument": "a", "in": "cookie"}]})),
            "parameters[0].in: must",
        ),
        (header("Authorization"), "parameters[1].name: 'Authorization' is no header"),
        (header("Proxy-X"), "parameters[1].name: 'Proxy-X' is no header"),
        (header("a b"), "parameters[1].name: 'a b' is no header"),
        (with(json!({"method": "GET"})), "body: must be none or query, for a GET has no body"),
        (
            with(json!({"body": {"kind": "argument", "argument": "id"}})),
            "body: is a parameter already",
        ),
        (with(json!({"body": {"kind": "argument"}})), "body.argument: is missing"),
        (
            with(json!({"body": {"kind": "rest", "argument": "a"}})),
            "body.argument: is for the kind argument",
        ),
        (
            with(json!({"dry_run": {"in": "path", "name": "a", "value": "b"}})),
            "dry_run.in: must be one of query, header",
        ),
    ];
    for (http, expected) in cases {
        let told = read(http).unwrap_err().to_string();
        assert!(told.starts_with(&format!("backend.http.{expected}")), "{told}");
    }
}
