//! Wrong requests to `/v1/embeddings`: each names its field, what is allowed and a code.

use serde_json::{Value, json};

use super::world::World;

struct Case {
    body: Value,
    status: u16,
    code: &'static str,
    param: Option<&'static str>,
    words: &'static [&'static str],
}

fn case(
    body: Value,
    status: u16,
    code: &'static str,
    param: &'static str,
    words: &'static [&'static str],
) -> Case {
    Case { body, status, code, param: (!param.is_empty()).then_some(param), words }
}

async fn check(cases: Vec<Case>) {
    let world = World::new().await;
    for Case { body, status, code, param, words } in cases {
        let answer = world.embeddings(&body).await;
        println!("{body} -> {} {}", answer.status, answer.text());
        answer.is_error(status, code, param, words);
    }
}

fn words(count: usize) -> String {
    vec!["word"; count].join(" ")
}

#[tokio::test]
async fn limits() {
    let many = json!({"model": "plain", "input": ["a", "b", "c", "d", "e"]});
    let long = json!({"model": "plain", "input": ["short", words(15)]});
    let total = json!({"model": "plain", "input": [words(14), words(14), words(14)]});
    let cut = json!({"model": "plain", "input": vec![words(99); 3], "truncate": true});
    check(vec![
        case(
            json!({"model": "plain", "input": []}),
            400,
            "empty_input",
            "input",
            &["input is empty", "at least one"],
        ),
        case(many, 400, "too_many_inputs", "input", &["5 texts", "at most 4"]),
        case(
            long,
            400,
            "input_too_long",
            "input[1]",
            &["input[1]", "17 tokens", "at most 16", "\"truncate\": true"],
        ),
        case(total, 400, "too_many_tokens", "input", &["48 tokens", "at most 40", "split"]),
        case(cut, 400, "too_many_tokens", "input", &["48 tokens", "at most 40"]),
    ])
    .await;
}

#[tokio::test]
async fn token_ids() {
    let input = |input: Value| json!({"model": "plain", "input": input});
    check(vec![
        case(input(json!([[5], []])), 400, "empty_input", "input[1]", &["input[1]", "no tokens"]),
        case(input(json!(["a", ""])), 400, "empty_input", "input[1]", &["input[1]", "no tokens"]),
        case(
            input(json!([[5], [6, 30_000]])),
            400,
            "unreadable_input",
            "input[1]",
            &["input[1]", "30000", "vocabulary of 30000"],
        ),
        case(
            input(json!([29_999, 30_000])),
            400,
            "unreadable_input",
            "input[0]",
            &["vocabulary of 30000"],
        ),
        case(input(json!([1, -1])), 400, "invalid_field", "input[1]", &["-1", "4294967295"]),
        case(
            input(json!([[1, 4_294_967_296u64]])),
            400,
            "invalid_field",
            "input[0][1]",
            &["4294967296"],
        ),
        case(input(json!([1.5])), 400, "invalid_field", "input[0]", &["1.5", "token id"]),
    ])
    .await;
}

#[tokio::test]
async fn types() {
    let with = |field: &str, value: Value| {
        let mut body = json!({"model": "plain", "input": "a"});
        body[field] = value;
        body
    };
    check(vec![
        case(json!({"input": "a"}), 400, "invalid_body", "", &["missing field `model`"]),
        case(json!({"model": "plain"}), 400, "invalid_body", "", &["missing field `input`"]),
        case(json!([]), 400, "invalid_body", "", &["request body"]),
        case(json!("text"), 400, "invalid_body", "", &["request body"]),
        case(with("model", json!(7)), 400, "invalid_field", "model", &["model", "string"]),
        case(with("input", json!(null)), 400, "invalid_field", "input", &["a list of strings"]),
        case(with("input", json!(7)), 400, "invalid_field", "input", &["a list of strings"]),
        case(with("input", json!({"a": 1})), 400, "invalid_field", "input", &["`image`"]),
        case(with("input", json!(["a", 1])), 400, "invalid_field", "input", &["mixes kinds"]),
        case(with("input", json!([1, "a"])), 400, "invalid_field", "input", &["mixes kinds"]),
        case(with("input", json!([[1], 2])), 400, "invalid_field", "input", &["mixes kinds"]),
        case(with("input", json!(["a", null])), 400, "invalid_field", "input[1]", &["null"]),
        case(with("input", json!([[["a"]]])), 400, "invalid_field", "input[0][0]", &["u32"]),
        case(with("truncate", json!("yes")), 400, "invalid_field", "truncate", &["boolean"]),
        case(with("user", json!(7)), 400, "invalid_field", "user", &["string"]),
        case(with("dimensions", json!("8")), 400, "invalid_field", "dimensions", &["usize"]),
        case(with("dimensions", json!(-8)), 400, "invalid_field", "dimensions", &["-8"]),
    ])
    .await;
}

#[tokio::test]
async fn choices() {
    let with = |field: &str, value: Value| {
        let mut body = json!({"model": "plain", "input": "a"});
        body[field] = value;
        body
    };
    let nested =
        |dimensions| json!({"model": "org/nested", "input": "a", "dimensions": dimensions});
    check(vec![
        case(
            with("encoding_format", json!("hex")),
            400,
            "invalid_field",
            "encoding_format",
            &["encoding_format", "hex", "float, base64, float16, int8, binary, ubinary"],
        ),
        case(
            with("input_type", json!("image")),
            400,
            "invalid_field",
            "input_type",
            &["input_type", "image", "query, document and passage"],
        ),
        case(
            with("dimensions", json!(4)),
            400,
            "invalid_dimensions",
            "dimensions",
            &["'plain'", "8 dimensions, not 4"],
        ),
        case(
            nested(3),
            400,
            "invalid_dimensions",
            "dimensions",
            &["org/nested", "2, 4, 8 dimensions, not 3"],
        ),
        case(nested(0), 400, "invalid_dimensions", "dimensions", &["not 0"]),
        case(
            with("model", json!("gpt-4")),
            404,
            "model_not_found",
            "model",
            &["'gpt-4'", "org/nested, plain"],
        ),
        case(
            with("frobnicate", json!(1)),
            400,
            "invalid_field",
            "frobnicate",
            &["unknown field", "`dimensions`"],
        ),
    ])
    .await;
}
