//! What `/v1/embeddings` answers, field by field and bit by bit.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use headwater_models::{Model, OpenOptions, TokenBatch};
use serde_json::{Value, json};

use super::world::{World, floats};

/// What the double answers for this text, computed without the router.
fn expected(model: &impl Model, text: &str) -> Vec<f32> {
    let ids = model.tokenize(text, Some(model.card().max_tokens)).expect("reads").ids;
    let batch = TokenBatch::of([ids]);
    model.open(&OpenOptions::threads(1)).expect("opens").encode(&batch).expect("encodes").values
}

#[tokio::test]
async fn an_answer_has_openais_fields_and_the_models_version() {
    let world = World::new().await;
    let body = json!({
        "model": "plain", "input": ["one", "two words"], "user": "u-1", "encoding_format": "float",
    });
    let answer = world.embeddings(&body).await;
    let version = "double-plain-8-16";
    assert_eq!(answer.header("x-headwater-model-version"), Some(version));
    let body = answer.ok();
    let object = |index: usize| {
        let vector = &body["data"][index]["embedding"];
        json!({"object": "embedding", "index": index, "embedding": vector})
    };
    let shape = json!({
        "object": "list",
        "data": [object(0), object(1)],
        "model": "plain",
        "model_version": version,
        "service_tier": "default",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    });
    assert_eq!(body, shape);
    for (index, text) in ["one", "two words"].into_iter().enumerate() {
        let found = floats(&body["data"][index]["embedding"]);
        assert_eq!(found, expected(&world.plain, text), "the floats survive JSON exactly");
    }
}

#[tokio::test]
async fn every_spelling_of_the_input_and_its_usage() {
    let world = World::new().await;
    let ids = world.plain.pieces("one two", false).expect("reads");
    let ids: Vec<u32> = ids.iter().map(|piece| piece.id).collect();
    // (input, texts that it stands for, tokens with special ones)
    let table = [
        (json!("one two"), vec!["one two"], 4),
        (json!(["one two"]), vec!["one two"], 4),
        (json!(["one", "  "]), vec!["one", ""], 5),
        (json!("caf\u{e9} \u{1f600} \u{0}"), vec!["caf\u{e9} \u{1f600} \u{0}"], 5),
        (json!(ids), vec!["one two"], 4),
        (json!([ids, [ids[0]]]), vec!["one two", "one"], 7),
    ];
    for (input, texts, tokens) in table {
        let body = world.embeddings(&json!({"model": "plain", "input": input})).await.ok();
        let data = body["data"].as_array().expect("a list");
        assert_eq!(data.len(), texts.len(), "{input}");
        for (object, text) in data.iter().zip(&texts) {
            assert_eq!(floats(&object["embedding"]), expected(&world.plain, text), "{input}");
        }
        let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
        assert_eq!(body["usage"], usage, "{input}");
    }
}

#[tokio::test]
async fn formats_hold_the_same_vector() {
    let world = World::new().await;
    let vector = expected(&world.plain, "a text");
    let get = async |format: Value| {
        let body = json!({"model": "plain", "input": "a text", "encoding_format": format});
        world.embeddings(&body).await.ok()["data"][0]["embedding"].clone()
    };
    assert_eq!(floats(&get(json!("float")).await), vector);
    assert_eq!(floats(&get(json!(null)).await), vector);
    let base64 = get(json!("base64")).await;
    let bytes = STANDARD.decode(base64.as_str().expect("a string")).expect("base64");
    let decoded: Vec<f32> = bytes
        .chunks(4)
        .map(|four| f32::from_le_bytes(four.try_into().expect("four bytes")))
        .collect();
    assert_eq!(decoded, vector);
    let steps: Vec<i64> = vector.iter().map(|value| (value * 127.0).round() as i64).collect();
    assert_eq!(get(json!("int8")).await, json!(steps));
    let half = get(json!("float16")).await;
    let half = STANDARD.decode(half.as_str().expect("a string")).expect("base64");
    assert_eq!(half.len(), 2 * vector.len());
    let bits = vector.iter().fold(0u32, |bits, value| bits << 1 | u32::from(*value > 0.0));
    assert_eq!(get(json!("ubinary")).await, json!([bits]));
    assert_eq!(get(json!("binary")).await, json!([i64::from(bits) - 128]));
}

#[tokio::test]
async fn shorter_vectors_of_a_matryoshka_model_have_length_one() {
    let world = World::new().await;
    let whole = expected(&world.nested, "a text");
    for dimensions in [2usize, 4, 8] {
        let body = json!({"model": "org/nested", "input": "a text", "dimensions": dimensions});
        let body = world.embeddings(&body).await.ok();
        let found = floats(&body["data"][0]["embedding"]);
        assert_eq!(found.len(), dimensions);
        let length = found.iter().map(|value| value * value).sum::<f32>().sqrt();
        assert!((length - 1.0).abs() < 1e-6, "length {length}");
        let scale = whole[0] / found[0];
        for (cut, full) in found.iter().zip(&whole) {
            assert!((cut * scale - full).abs() < 1e-6, "another direction");
        }
    }
}

#[tokio::test]
async fn a_cut_text_is_marked_and_counted_as_read() {
    let world = World::new().await;
    let long = vec!["word"; 40].join(" ");
    for truncate in [json!(true), json!(false), json!(null)] {
        let body = json!({"model": "plain", "input": ["short", long], "truncate": truncate});
        let answer = world.embeddings(&body).await;
        if truncate != json!(true) {
            answer.is_error(400, "input_too_long", Some("input[1]"), &["42 tokens", "at most 16"]);
            continue;
        }
        let body = answer.ok();
        assert_eq!(body["data"][0].get("truncated"), None);
        assert_eq!(body["data"][1]["truncated"], json!(true));
        assert_eq!(body["usage"]["prompt_tokens"], json!(3 + 16));
        assert_eq!(floats(&body["data"][1]["embedding"]), expected(&world.plain, &long));
    }
}

#[tokio::test]
async fn an_input_type_puts_the_models_prefix_before_the_text() {
    let world = World::new().await;
    let table = [
        (json!(null), "a"),
        (json!("query"), "query: a"),
        (json!("search_query"), "query: a"),
        (json!("document"), "a"),
        (json!("passage"), "a"),
        (json!("search_document"), "a"),
    ];
    for (input_type, read_as) in table {
        let body = json!({"model": "plain", "input": "a", "input_type": input_type});
        let body = world.embeddings(&body).await.ok();
        let found = floats(&body["data"][0]["embedding"]);
        assert_eq!(found, expected(&world.plain, read_as), "{input_type}");
    }
}

#[tokio::test]
async fn an_alias_answers_with_the_models_own_name() {
    let world = World::new().await;
    let body = world.embeddings(&json!({"model": "babbage", "input": "a"})).await.ok();
    assert_eq!(body["model"], json!("org/nested"));
}

#[tokio::test]
async fn models_are_listed_and_described() {
    let world = World::new().await;
    let describe = |name: &str, shorter: Value| {
        json!({
            "id": name,
            "object": "model",
            "created": 0,
            "owned_by": "headwater",
            "model_version": format!("double-{name}-8-16"),
            "task": "embed",
            "images": false,
            "dimensions": 8,
            "matryoshka_dimensions": shorter,
            "max_tokens": 16,
            "pooling": "mean",
            "normalised": true,
            "arithmetic": "double",
            "state": "serving",
            "here": true,
            "replicas": {
                "query": {"live": 1, "wanted": 1},
                "ingest": {"live": 0, "wanted": 0},
            },
        })
    };
    let (nested, plain) = (describe("org/nested", json!([2, 4])), describe("plain", json!([])));
    let all = json!({"object": "list", "data": [nested, plain]});
    assert_eq!(world.get("/v1/models").await.ok(), all);
    let table = [
        ("/v1/models/plain", &plain),
        ("/v1/models/org/nested", &nested),
        ("/v1/models/org%2Fnested", &nested),
        ("/v1/models/babbage", &nested),
    ];
    for (path, expected) in table {
        assert_eq!(&world.get(path).await.ok(), expected, "{path}");
    }
    let unknown = world.get("/v1/models/org/other").await;
    unknown.is_error(404, "model_not_found", Some("model"), &["'org/other'", "plain"]);
    let broken = world.get("/v1/models/%FF").await;
    broken.is_error(400, "invalid_path", Some("model"), &["UTF-8"]);
}
