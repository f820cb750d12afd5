//! Calibrated bytes that a client can read, and the header that tells what was cached.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::world::{Setup, World, floats};

const PATIENCE: Duration = Duration::from_secs(60);

async fn int8(world: &World, model: &str, input: &str, dimensions: usize) -> Value {
    let body = json!({
        "model": model, "input": input, "encoding_format": "int8", "dimensions": dimensions,
    });
    world.embeddings(&body).await.ok()
}

#[tokio::test]
async fn int8_says_by_what_it_is_read_and_changes_once() {
    let world = World::with(Setup { calibration_sample: 20, ..Setup::default() }).await;
    assert_eq!(int8(&world, "plain", "text 0", 8).await["calibration"], "fixed");
    let text = |number: usize| format!("text {number}");
    for number in 1..20 {
        let body = json!({"model": "plain", "input": text(number)});
        let answer = world.embeddings(&body).await.ok();
        assert_eq!(answer.get("calibration"), None, "only int8 is scaled");
    }
    let learnt = async {
        loop {
            let answer = int8(&world, "plain", "text 3", 8).await;
            if answer["calibration"] != "fixed" {
                return answer;
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    let answer = timeout(PATIENCE, learnt).await.expect("never learns");
    let ranges = world.get("/v1/models/plain/calibration").await.ok();
    assert_eq!(ranges["model_version"], answer["model_version"]);
    let range = &ranges["data"][0];
    assert_eq!((&range["calibration"], &range["sampled"]), (&answer["calibration"], &json!(20)));
    let whole = world.embeddings(&json!({"model": "plain", "input": "text 3"})).await.ok();
    let codes = floats(&answer["data"][0]["embedding"]);
    let ends = floats(&range["low"]).into_iter().zip(floats(&range["high"]));
    for ((code, value), (low, high)) in
        codes.iter().zip(floats(&whole["data"][0]["embedding"])).zip(ends)
    {
        let step = (high - low) / 255.0;
        let read = low + (code + 128.0) * step;
        assert!((read - value).abs() <= step * 0.51, "{value} is read as {read}");
    }
    for number in 20..60 {
        int8(&world, "plain", &text(number), 8).await;
    }
    assert_eq!(int8(&world, "plain", "text 3", 8).await, answer, "the ranges stand");
}

#[tokio::test]
async fn each_length_has_ranges_and_the_fixed_ones_are_read_by_the_same_formula() {
    let world = World::new().await;
    let answer = int8(&world, "org/nested", "a text", 4).await;
    assert_eq!(answer["calibration"], "fixed");
    let ranges = world.get("/v1/models/org/nested/calibration").await.ok();
    let lengths: Vec<&Value> = ranges["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|range| &range["dimensions"])
        .collect();
    assert_eq!(lengths, [&json!(2), &json!(4), &json!(8)]);
    let range = &ranges["data"][1];
    let (low, high) = (floats(&range["low"])[0], floats(&range["high"])[0]);
    for code in floats(&answer["data"][0]["embedding"]) {
        let read = low + (code + 128.0) * (high - low) / 255.0;
        assert!((read - code / 127.0).abs() < 1e-6);
    }
    let unknown = world.get("/v1/models/other/calibration").await;
    unknown.is_error(404, "model_not_found", Some("model"), &["other"]);
    assert_eq!(world.get("/v1/models/org/nested").await.ok()["id"], "org/nested");
}

#[tokio::test]
async fn a_header_tells_how_many_vectors_were_cached() {
    let world = World::with(Setup { cache_bytes: 1 << 20, ..Setup::default() }).await;
    let ask = async |path: &str, body: Value| {
        let answer = world.post(path, &body).await;
        let usage = answer.ok()["usage"]["total_tokens"].clone();
        (answer.header("x-headwater-cache").map(str::to_owned), usage)
    };
    let openai = |input: Value| json!({"model": "plain", "input": input});
    let told = |header: &str| Some(header.to_owned());
    let first = ask("/v1/embeddings", openai(json!(["a", "b"]))).await;
    assert_eq!(first, (told("0/2"), json!(6)));
    let second = ask("/v1/embeddings", openai(json!(["b", "c", "a"]))).await;
    assert_eq!(second, (told("2/3"), json!(9)), "hits cost tokens as well");
    let tei = ask("/embed", json!({"inputs": ["c", "d"]})).await;
    assert_eq!(tei.0, told("1/2"));
    let off = World::new().await;
    for _ in 0..2 {
        let answer = off.embeddings(&openai(json!("a"))).await;
        assert_eq!(answer.header("x-headwater-cache"), Some("0/1"));
    }
}
