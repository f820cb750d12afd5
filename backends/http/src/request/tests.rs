//! Arguments become a request, or an error that names the argument.

use headwater_backends::{BackendError, Invocation};
use serde_json::{Value, json};

use super::{Ready, build};
use crate::template::Template;
use crate::{Body, Method, Operation};

fn operation(operation: Value) -> Operation {
    let operation: Operation = serde_json::from_value(operation).expect("an operation");
    operation.check().expect("a good operation");
    operation
}

fn issues() -> Operation {
    operation(json!({
        "method": "POST",
        "url": "https://api.example/repos/{repo}/issues?v=2",
        "parameters": [
            {"argument": "repo", "in": "path"},
            {"argument": "labels", "in": "query", "name": "label"},
            {"argument": "fields", "in": "query", "commas": true},
            {"argument": "trace", "in": "header", "name": "x-trace"},
        ],
        "body": {"kind": "rest"},
    }))
}

fn request(operation: &Operation, arguments: Value, dry_run: bool) -> Result<Ready, BackendError> {
    let template = Template::parse(&operation.url).expect("a template");
    let invocation = Invocation {
        tool: "t".to_owned(),
        version: String::new(),
        call: "call-1".to_owned(),
        tenant: "acme".to_owned(),
        session: None,
        arguments,
        dry_run,
        deadline_ms: 1_000,
        output_bytes_max: 1_000,
    };
    build(operation, &template, &invocation)
}

#[test]
fn every_argument_has_its_place() {
    let arguments = json!({
        "repo": "a/b", "labels": ["x&y", 7, true], "fields": ["id", "name"], "trace": "t-1",
        "title": "hello", "nested": {"deep": [1]}, "none": null,
    });
    let ready = request(&issues(), arguments, false).expect("a request");
    assert_eq!(
        ready.url.as_str(),
        "https://api.example/repos/a%2Fb/issues?v=2&label=x%26y&label=7&label=true&\
         fields=id%2Cname"
    );
    assert_eq!(ready.headers["x-trace"], "t-1");
    assert_eq!(ready.headers["idempotency-key"], "call-1");
    let body: Value = serde_json::from_str(&ready.body.expect("a body")).expect("json");
    assert_eq!(body, json!({"title": "hello", "nested": {"deep": [1]}, "none": null}));
}

#[test]
fn the_rest_goes_where_it_is_told_to() {
    let url = "https://api.example/users/{id}";
    let arguments = json!({"id": 7, "q": "a b", "tags": ["x", "y"], "none": null});
    let query = Operation::of(Method::Get, url, Body::Query).expect("an operation");
    let ready = request(&query, arguments.clone(), false).expect("a request");
    assert_eq!(ready.url.as_str(), "https://api.example/users/7?q=a+b&tags=x&tags=y");
    assert_eq!(ready.body, None);
    let json = Operation::of(Method::Put, url, Body::Rest).expect("an operation");
    let ready = request(&json, arguments, false).expect("a request");
    assert_eq!(ready.url.as_str(), url.replace("{id}", "7"));
    assert_eq!(ready.body.as_deref(), Some(r#"{"none":null,"q":"a b","tags":["x","y"]}"#));
    let body = Body::Argument { argument: "items".to_owned() };
    let one = Operation::of(Method::Post, "https://api.example/", body).expect("an operation");
    let ready = request(&one, json!({"items": [1]}), false).expect("a request");
    assert_eq!(ready.body.as_deref(), Some("[1]"));
}

#[test]
fn wrong_arguments_are_named() {
    let get = operation(json!({"method": "GET", "url": "https://api.example/x"}));
    for (operation, arguments, named) in [
        (&issues(), json!([]), "no JSON object"),
        (&issues(), json!({}), "`repo` is missing"),
        (&issues(), json!({"repo": {}}), "`repo` is no text"),
        (&issues(), json!({"repo": ".."}), "`repo` holds"),
        (&issues(), json!({"repo": "r", "labels": [{}]}), "`labels` is no text"),
        (&issues(), json!({"repo": "r", "fields": ["a,b"]}), "`fields` holds"),
        (&issues(), json!({"repo": "r", "trace": "a\r\nb: c"}), "trace holds"),
        (&get, json!({"x": 1}), "`x` has no place"),
    ] {
        let error = request(operation, arguments, false).expect_err(named);
        assert!(matches!(error, BackendError::Arguments { .. }), "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[test]
fn a_dry_run_is_asked_for_or_refused() {
    let error = request(&issues(), json!({"repo": "r"}), true).expect_err("no dry run");
    assert!(matches!(error, BackendError::Refused { .. }), "{error}");
    let mut with = issues();
    with.dry_run = serde_json::from_value(json!({"in": "query", "name": "dry", "value": "yes"}))
        .expect("a dry run");
    let ready = request(&with, json!({"repo": "r"}), true).expect("a request");
    assert_eq!(ready.url.query(), Some("v=2&dry=yes"));
    let ready = request(&with, json!({"repo": "r"}), false).expect("a request");
    assert_eq!(ready.url.query(), Some("v=2"));
    let get = operation(json!({"method": "GET", "url": "https://api.example/x"}));
    request(&get, json!({}), true).expect("reading changes nothing");
}

#[test]
fn an_operation_is_checked() {
    let parameter = |place: &str, name: &str| json!([{"argument": name, "in": place}]);
    for (operation, field) in [
        (json!({"method": "GET", "url": "ftp://a"}), "url"),
        (json!({"method": "GET", "url": "https://a/{b}"}), "url"),
        (
            json!({"method": "GET", "url": "https://a/", "parameters": parameter("path", "b")}),
            "url",
        ),
        (
            json!({"method": "GET", "url": "https://a/", "parameters": parameter("header", "Host")}),
            "parameters.Host",
        ),
        (
            json!({"method": "GET", "url": "https://a/", "parameters": parameter("header", "a b")}),
            "parameters.a b",
        ),
        (json!({"method": "GET", "url": "https://a/", "body": {"kind": "rest"}}), "body"),
        (
            json!({"method": "POST", "url": "https://a/", "parameters": parameter("query", "b"),
                "body": {"kind": "argument", "argument": "b"}}),
            "body",
        ),
        (
            json!({"method": "POST", "url": "https://a/",
                "dry_run": {"in": "path", "name": "a", "value": "b"}}),
            "dry_run.in",
        ),
    ] {
        let parsed: Operation = serde_json::from_value(operation.clone()).expect("parses");
        let error = parsed.check().expect_err("wrong");
        assert_eq!(error.field, field, "{operation}");
    }
    let unknown = json!({"method": "GET", "url": "https://a/", "headers": {}});
    assert!(serde_json::from_value::<Operation>(unknown).is_err());
}
