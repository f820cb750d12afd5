//! `/embed` and `/tokenize` in TEI's shape.

use serde_json::{Value, json};

use super::world::{World, floats};

#[tokio::test]
async fn embed_answers_with_bare_vectors() {
    let world = World::new().await;
    let openai = world.embeddings(&json!({"model": "plain", "input": ["a", "b c"]})).await.ok();
    let vectors = [&openai["data"][0]["embedding"], &openai["data"][1]["embedding"]];
    let table = [
        (json!({"inputs": "a"}), json!([vectors[0]])),
        (json!({"inputs": ["a", "b c"]}), json!(vectors)),
        (json!({"inputs": ["a"], "normalize": true, "truncate": false}), json!([vectors[0]])),
        (
            json!({
                "inputs": "a", "normalize": null, "truncate": null, "prompt_name": null,
                "truncation_direction": "Right", "dimensions": null, "model": null,
            }),
            json!([vectors[0]]),
        ),
        (json!({"inputs": "a", "model": "ada"}), json!([vectors[0]])),
    ];
    for (body, expected) in table {
        let answer = world.post("/embed", &body).await;
        assert_eq!(answer.ok(), expected, "{body}");
        assert_eq!(answer.header("x-headwater-truncated"), None);
    }
    let short = json!({"inputs": "a", "model": "org/nested", "dimensions": 2});
    assert_eq!(floats(&world.post("/embed", &short).await.ok()[0]).len(), 2);
    let query = world.post("/embed", &json!({"inputs": "a", "prompt_name": "query"})).await.ok();
    let prefixed = world.post("/embed", &json!({"inputs": "query: a"})).await.ok();
    assert_eq!(query, prefixed);
}

#[tokio::test]
async fn cut_inputs_are_named_in_a_header() {
    let world = World::new().await;
    let long = vec!["word"; 40].join(" ");
    let body = json!({"inputs": [long, "a", long], "truncate": true});
    let answer = world.post("/embed", &body).await;
    assert_eq!(answer.header("x-headwater-truncated"), Some("[0,2]"));
    assert_eq!(answer.ok().as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn refusals_have_teis_shape() {
    let world = World::new().await;
    let long = vec!["word"; 40].join(" ");
    let with = |field: &str, value: Value| {
        let mut body = json!({"inputs": "a"});
        body[field] = value;
        body
    };
    let table: [(&str, Value, u16, &str, &[&str]); 16] = [
        ("/embed", json!({"inputs": []}), 400, "Empty", &["inputs is empty"]),
        ("/embed", json!({"inputs": [[1], []]}), 400, "Empty", &["inputs[1]"]),
        ("/embed", json!({"inputs": vec!["a"; 5]}), 400, "Validation", &["5 texts", "at most 4"]),
        ("/embed", json!({"inputs": long}), 400, "Validation", &["42 tokens", "at most 16"]),
        ("/embed", json!({"inputs": [[30_000]]}), 400, "Tokenizer", &["inputs[0]", "30000"]),
        ("/embed", with("normalize", json!(false)), 400, "Validation", &["normalize is true"]),
        (
            "/embed",
            with("truncation_direction", json!("Left")),
            400,
            "Validation",
            &["truncation_direction is 'Left'", "only Right"],
        ),
        ("/embed", with("prompt_name", json!("x")), 400, "Validation", &["prompt_name is 'x'"]),
        ("/embed", with("dimensions", json!(4)), 400, "Validation", &["8 dimensions, not 4"]),
        ("/embed", with("model", json!("gpt")), 404, "Validation", &["'gpt'", "org/nested, plain"]),
        ("/embed", json!({"text": "a"}), 400, "Validation", &["text"]),
        ("/embed", json!(["a"]), 400, "Validation", &["request body"]),
        ("/tokenize", json!({"inputs": []}), 400, "Empty", &["inputs is empty"]),
        ("/tokenize", json!({"inputs": vec!["a"; 5]}), 400, "Validation", &["at most 4"]),
        ("/tokenize", json!({"inputs": [1, 2]}), 400, "Validation", &["token ids already"]),
        ("/tokenize", with("model", json!("gpt")), 404, "Validation", &["'gpt'"]),
    ];
    for (path, body, status, error_type, words) in table {
        let answer = world.post(path, &body).await;
        println!("{path} {body} -> {} {}", answer.status, answer.text());
        answer.is_tei_error(status, error_type, words);
    }
}

#[tokio::test]
async fn tokenize_gives_every_piece_with_its_place() {
    let world = World::new().await;
    let body = json!({"inputs": ["ab  cd", ""]});
    let found = world.post("/tokenize", &body).await.ok();
    let special = |id: u32, text: &str| {
        let none = Value::Null;
        json!({"id": id, "text": text, "special": true, "start": none, "stop": none})
    };
    let piece = |place: usize, text: &str, start: usize, stop: usize| {
        let id = &found[0][place]["id"];
        assert!(id.is_u64());
        json!({"id": id, "text": text, "special": false, "start": start, "stop": stop})
    };
    let first =
        [special(1, "[CLS]"), piece(1, "ab", 0, 2), piece(2, "cd", 4, 6), special(2, "[SEP]")];
    assert_eq!(found, json!([first, [special(1, "[CLS]"), special(2, "[SEP]")]]));
    let bare = json!({"inputs": "ab  cd", "add_special_tokens": false});
    let bare = world.post("/tokenize", &bare).await.ok();
    assert_eq!(bare, json!([[first[1], first[2]]]));
    // The ids are the ones that the encoder takes.
    let ids = json!([[bare[0][0]["id"], bare[0][1]["id"]]]);
    let by_ids = world.post("/embed", &json!({"inputs": ids})).await.ok();
    assert_eq!(by_ids, world.post("/embed", &json!({"inputs": "ab cd"})).await.ok());
}
