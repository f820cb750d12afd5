//! Documents read as tools, and what becomes of what no tool can be.

use serde_json::{Value, json};

use super::{Choice, OpenApi, read};
use crate::{Body, Method, ParameterPlace};

fn pets() -> Value {
    json!({
        "openapi": "3.0.3",
        "info": {"title": "Pets", "version": "7"},
        "servers": [{"url": "https://{host}/v1/", "variables": {"host": {"default": "api.example"}}}],
        "paths": {
            "/pets/{id}": {
                "parameters": [{"$ref": "#/components/parameters/id"}],
                "get": {
                    "operationId": "getPetById",
                    "summary": "One pet",
                    "parameters": [
                        {"name": "fields", "in": "query", "explode": false,
                         "schema": {"type": "array", "items": {"type": "string"}}},
                        {"name": "Accept", "in": "header", "schema": {"type": "string"}},
                    ],
                    "responses": {"200": {"content": {"application/json": {
                        "schema": {"$ref": "#/components/schemas/Pet"}}}}},
                },
                "put": {
                    "parameters": [{"name": "X-Trace", "in": "header",
                                    "schema": {"type": "string"}}],
                    "requestBody": {"required": true, "content": {"application/json": {
                        "schema": {"$ref": "#/components/schemas/Pet"}}}},
                },
                "options": {},
            },
            "/pets": {
                "get": {"operationId": "list pets!", "parameters": [
                    {"name": "limit", "in": "query", "required": true, "description": "how many",
                     "schema": {"type": "integer", "minimum": 0, "exclusiveMinimum": true}}]},
                "post": {
                    "operationId": "list-pets",
                    "requestBody": {"content": {"application/json": {
                        "schema": {"type": "array", "items": {"type": "string"}}}}},
                },
            },
            "/upload": {"post": {"requestBody": {"required": true, "content": {
                "multipart/form-data": {"schema": {"type": "object"}}}}}},
            "/cookie": {"get": {"parameters": [
                {"name": "s", "in": "cookie", "required": true, "schema": {}}]}},
        },
        "components": {
            "parameters": {"id": {"name": "id", "in": "path", "required": true,
                                  "schema": {"type": "integer"}}},
            "schemas": {"Pet": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "nullable": true, "example": "Rex"},
                    "friend": {"$ref": "#/components/schemas/Pet"},
                },
            }},
        },
    })
}

fn tools(document: &Value) -> OpenApi {
    read(&document.to_string(), &Choice::default()).expect("a document")
}

#[test]
fn every_operation_is_a_tool_or_told_of() {
    let pets = tools(&pets());
    assert_eq!((pets.title.as_str(), pets.version.as_str()), ("Pets", "7"));
    let named: Vec<&str> = pets.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(named, ["list-pets", "list-pets-2", "get-pet-by-id", "put-pets-id"]);
    let skipped: Vec<(&str, &str)> =
        pets.skipped.iter().map(|one| (one.operation.as_str(), one.why.as_str())).collect();
    assert_eq!(
        skipped,
        [
            ("GET /cookie", "`s` is a cookie that it needs"),
            ("OPTIONS /pets/{id}", "tools have no such method"),
            ("POST /upload", "its body is no JSON"),
        ]
    );
}

#[test]
fn schemas_are_written_out_and_cycles_are_cut() {
    let pets = tools(&pets());
    let get = &pets.tools[2];
    let pet = json!({
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": ["string", "null"]}, "friend": {}},
    });
    assert_eq!(get.output_schema, Some(pet.clone()));
    let input = json!({
        "type": "object",
        "properties": {
            "id": {"type": "integer"},
            "fields": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["id"],
        "additionalProperties": false,
    });
    assert_eq!(get.input_schema, input);
    assert_eq!(get.notes.len(), 1, "{:?}", get.notes);
    let list = &pets.tools[0];
    let limit = json!({"type": "integer", "exclusiveMinimum": 0, "description": "how many"});
    assert_eq!(list.input_schema["properties"]["limit"], limit);
    let put = &pets.tools[3];
    assert_eq!(put.operation.method, Method::Put);
    assert_eq!(put.operation.url, "https://api.example/v1/pets/{id}");
    assert_eq!(put.operation.body, Body::Rest);
    assert_eq!(put.operation.parameters[1].place, ParameterPlace::Header);
    assert_eq!(put.input_schema["required"], json!(["id", "name"]));
    assert_eq!(put.input_schema["properties"]["name"], pet["properties"]["name"]);
    let post = &pets.tools[1];
    assert_eq!(post.operation.body, Body::Argument { argument: "body".to_owned() });
}

#[test]
fn a_definition_has_the_shape_of_the_registry() {
    let pets = tools(&pets());
    let list = pets.tools[0].definition("search");
    assert_eq!(
        list,
        json!({
            "name": "list-pets",
            "description": "GET /pets",
            "owner": "search",
            "kind": "read_only",
            "idempotent": true,
            "input": pets.tools[0].input_schema,
            "egress": [{"host": "api.example", "ports": [443], "methods": ["GET"]}],
            "backend": {"http": {"url": "https://api.example/v1/pets", "method": "GET",
                                 "arguments": "query"}},
        })
    );
    let put = pets.tools[3].definition("search");
    assert_eq!((&put["kind"], &put["idempotent"]), (&json!("stateful"), &json!(true)));
    assert_eq!(put["backend"]["http"]["body"], json!({"kind": "rest"}));
    assert_eq!(put["backend"]["http"]["parameters"][0], json!({"argument": "id", "in": "path"}));
    let operation = serde_json::from_value(put["backend"]["http"].clone());
    assert_eq!(pets.tools[3].operation, operation.expect("an operation"));
}

#[test]
fn documents_that_are_none_are_refused() {
    let old = json!({"swagger": "2.0", "paths": {}}).to_string();
    let relative =
        json!({"openapi": "3.1.0", "servers": [{"url": "/v1"}], "paths": {}}).to_string();
    for (text, base, why) in [
        ("{openapi: 3.0.0", None, "no JSON"),
        ("a: [", None, "neither JSON nor YAML"),
        ("swagger: '2.0'", None, "no `openapi`"),
        (old.as_str(), None, "no `openapi`"),
        (relative.as_str(), None, "no absolute server"),
        (relative.as_str(), Some("https://a/{b}"), "no absolute server"),
    ] {
        let error = read(text, &Choice { base, ..Choice::default() }).expect_err(why);
        assert!(error.to_string().contains(why), "{error}");
    }
    let choice = Choice { base: Some("https://a/v1"), ..Choice::default() };
    assert!(read(&relative, &choice).expect("a document").tools.is_empty());
}

#[test]
fn operations_are_chosen_and_named() {
    let only = ["getPetById".to_owned(), "PUT /pets/{id}".to_owned()];
    let choice = Choice { prefix: "zoo-", only: &only, ..Choice::default() };
    let chosen = read(&pets().to_string(), &choice).expect("a document");
    let named: Vec<&str> = chosen.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!((named, chosen.skipped), (vec!["zoo-get-pet-by-id", "zoo-put-pets-id"], vec![]));
    let only = ["getPetById".to_owned(), "fly".to_owned()];
    let error = read(&pets().to_string(), &Choice { only: &only, ..Choice::default() });
    assert!(error.expect_err("no such operation").why.contains("no operation `fly`"));
}

#[test]
fn yaml_is_read_as_json_is() {
    let yaml = "
openapi: 3.1.0
info: {title: Pets, version: '7'}
servers:
  - url: https://api.example
paths:
  /pets:
    get:
      operationId: listPets
      responses:
        200:
          content:
            application/json:
              schema: &pets {type: array, items: {type: string}}
    post:
      requestBody:
        content: {application/json: {schema: *pets}}
";
    let pets = read(yaml, &Choice::default()).expect("a document");
    let list = json!({"type": "array", "items": {"type": "string"}});
    assert_eq!(pets.tools[0].output_schema, Some(list.clone()));
    assert_eq!(pets.tools[1].input_schema["properties"]["body"], list);
}

#[test]
fn secrets_are_headers_that_no_argument_fills() {
    let schemes = json!({
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "user_token": {"type": "http", "scheme": "Bearer"},
        "3scale": {"type": "oauth2", "flows": {}},
        "login": {"type": "http", "scheme": "basic"},
        "query": {"type": "apiKey", "in": "query", "name": "key"},
    });
    let operation = |security: Value| {
        json!({"security": security, "parameters": [
            {"name": "x-api-key", "in": "header", "required": true, "schema": {"type": "string"}}]})
    };
    let document = json!({
        "openapi": "3.0.3",
        "servers": [{"url": "http://api.example"}],
        "security": [{"login": []}, {"apiKey": [], "user_token": []}],
        "paths": {
            "/a": {"get": {}},
            "/b": {"get": operation(json!([{"apiKey": []}]))},
            "/c": {"get": operation(json!([]))},
            "/d": {"get": operation(json!([{"3scale": ["read"]}]))},
            "/e": {"get": operation(json!([{"query": []}, {"login": []}]))},
            "/f": {"get": operation(json!([{"user_token": [], "3scale": []}]))},
            "/g": {"get": operation(json!([{"nobody": []}]))},
        },
        "components": {"securitySchemes": schemes},
    });
    let read = tools(&document);
    let headers = |place: usize| -> Vec<(&str, &str)> {
        let headers = read.tools[place].headers.iter();
        headers.map(|one| (one.header.as_str(), one.secret.as_str())).collect()
    };
    assert_eq!(headers(0), [("x-api-key", "API_KEY"), ("authorization", "USER_TOKEN")]);
    assert_eq!(headers(1), [("x-api-key", "API_KEY")]);
    assert!(read.tools[1].operation.parameters.is_empty());
    assert!(headers(2).is_empty() && read.tools[2].operation.parameters.len() == 1);
    assert_eq!(headers(3), [("authorization", "KEY_3SCALE")]);
    assert_eq!(read.tools[3].notes.len(), 2, "{:?}", read.tools[3].notes);
    let skipped: Vec<&str> = read.skipped.iter().map(|one| one.why.as_str()).collect();
    assert_eq!(
        skipped,
        [
            "it asks for `query`, a secret outside of headers",
            "it asks for two secrets in the header `authorization`",
            "it asks for `nobody`, which is not there",
        ]
    );
    let egress = json!([{
        "host": "api.example", "ports": [80], "methods": ["GET"], "tls": "originate",
        "headers": [{"header": "x-api-key", "secret": "API_KEY"}],
    }]);
    assert_eq!(read.tools[1].definition("zoo")["egress"], egress);
}

#[test]
fn hostile_documents_end() {
    let mut deep = json!({"type": "string"});
    for _ in 0..50 {
        deep = json!({"type": "array", "items": deep});
    }
    // Each schema holds the next one twice: written out whole, it would be 2 to the 40.
    let wide: Value = (0..40)
        .map(|n| {
            let next = json!({"$ref": format!("#/components/schemas/S{}", n + 1)});
            (format!("S{n}"), json!({"type": "object", "properties": {"a": next, "b": next}}))
        })
        .collect::<serde_json::Map<String, Value>>()
        .into();
    let mut schemas = wide;
    schemas["Deep"] = deep;
    let body = |name: &str| {
        json!({"post": {"requestBody": {"content": {"application/json": {
            "schema": {"$ref": format!("#/components/schemas/{name}")}}}}}})
    };
    let document = json!({
        "openapi": "3.1.0",
        "servers": [{"url": "https://api.example"}],
        "paths": {"/deep": body("Deep"), "/wide": body("S0"), "/loop": {"$ref": "#/paths/~1loop"}},
        "components": {"schemas": schemas},
    });
    let read = tools(&document);
    assert_eq!(read.tools.len(), 2);
    assert!(read.tools.iter().all(|tool| !tool.notes.is_empty()));
    assert!(read.tools.iter().all(|tool| tool.input_schema.to_string().len() < 400_000));
    assert_eq!(read.skipped.len(), 1);
}
