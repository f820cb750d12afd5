//! Images in `/v1/embeddings`, as data URLs and in no other way.

use headwater_models::double::DoubleModel;
use serde_json::{Value, json};

use super::world::{Setup, World, floats};

async fn world() -> World {
    let clip = DoubleModel::new("clip", 8, 16).with_card(|card| card.images = true);
    World::with(Setup { others: vec![clip], ..Setup::default() }).await
}

/// The bytes `\x89PNG` and one more, in base64.
fn png(last: &str) -> Value {
    json!({"image": format!("data:image/png;base64,iVBOR{last}=")})
}

#[tokio::test]
async fn images_are_embedded_and_charged() {
    let world = world().await;
    let ask = |input: Value| json!({"model": "clip", "input": input});
    let answer = world.embeddings(&ask(json!([png("wE"), png("wI")]))).await.ok();
    let vectors: Vec<Vec<f32>> =
        (0..2).map(|index| floats(&answer["data"][index]["embedding"])).collect();
    assert_eq!((vectors[0].len(), vectors[1].len()), (8, 8));
    assert_ne!(vectors[0], vectors[1]);
    assert_eq!(answer["usage"]["total_tokens"], json!(10), "5 tokens an image");
    let alone = world.embeddings(&ask(png("wE"))).await.ok();
    assert_eq!(floats(&alone["data"][0]["embedding"]), vectors[0]);
    let text = world.embeddings(&ask(json!("a text"))).await.ok();
    assert_eq!(floats(&text["data"][0]["embedding"]).len(), 8);
    assert_eq!(world.get("/v1/models/clip").await.ok()["images"], json!(true));
}

#[tokio::test]
async fn what_is_no_image_is_refused_with_what_to_send() {
    let world = world().await;
    let url = |text: &str| json!({"image": text});
    let table: [(&str, Value, &str, &[&str]); 8] = [
        ("clip", url("https://host/a.png"), "invalid_field", &["not fetched", "data:image/png"]),
        ("clip", url("file:///etc/passwd"), "invalid_field", &["no data URL"]),
        ("clip", url("data:image/png,abc"), "invalid_field", &["not in base64"]),
        ("clip", url("data:image/png;base64,!!"), "invalid_field", &["base64 is broken"]),
        ("clip", json!({"picture": "x"}), "invalid_field", &["image"]),
        ("clip", json!([png("wE"), "text"]), "invalid_field", &["mixes kinds"]),
        ("clip", url("data:image/gif;base64,R0lG"), "unreadable_input", &["input[0]", "PNG"]),
        ("plain", png("wE"), "unreadable_input", &["reads no images"]),
    ];
    for (model, input, code, words) in table {
        let body = json!({"model": model, "input": input});
        let answer = world.embeddings(&body).await;
        println!("{body} -> {} {}", answer.status, answer.text());
        let param = answer.json()["error"]["param"].as_str().unwrap().to_owned();
        assert!(param.starts_with("input"), "{param}");
        answer.is_error(400, code, Some(&param), words);
    }
}
