//! Clients of OpenAI's older form.

use headwater_actors::gateway::{Message, Role};
use headwater_models::chat::double::ScriptedChat;
use serde_json::{Value, json};

use super::{CHAT, json_of, saying, stream_of};

const PATH: &str = "/v1/completions";

fn ask(field: &str, value: Value) -> Value {
    let mut body = json!({"model": CHAT, "prompt": "once"});
    body[field] = value;
    body
}

#[tokio::test]
async fn a_prompt_is_answered_at_once_and_part_by_part() {
    let (world, model) = saying(ScriptedChat::words(3, &["upon ", "a time"])).await;
    for prompt in [json!("once"), json!(["once"])] {
        let answer = world.post(PATH, &ask("prompt", prompt)).await.ok();
        assert_eq!(answer["object"], "text_completion");
        let choice = json!({
            "index": 0, "text": "upon a time", "logprobs": null, "finish_reason": "stop",
        });
        assert_eq!(answer["choices"], json!([choice]));
        assert_eq!(answer["usage"]["total_tokens"], 5);
        let asked = model.asked().pop().expect("asked");
        assert_eq!(asked.messages, [Message::text(Role::User, "once")]);
    }
    for include_usage in [false, true] {
        let mut body = ask("stream", json!(true));
        body["stream_options"] = json!({"include_usage": include_usage});
        let mut stream = stream_of(&world.post(PATH, &body).await.text());
        assert_eq!(stream.pop(), Some((None, "[DONE]".to_owned())));
        let chunks: Vec<Value> = stream.iter().map(|(_, data)| json_of(data)).collect();
        let texts: Vec<_> =
            chunks.iter().filter_map(|chunk| chunk["choices"][0]["text"].as_str()).collect();
        assert_eq!(texts, ["upon ", "a time", ""]);
        assert_eq!(chunks[2]["choices"][0]["finish_reason"], "stop");
        assert_eq!(
            chunks.get(3).map(|chunk| chunk["usage"]["total_tokens"] == 5),
            include_usage.then_some(true)
        );
    }
}

#[tokio::test]
async fn what_a_chat_model_cannot_do_is_refused() {
    let (world, model) = saying(ScriptedChat::words(1, &["ok"])).await;
    for (field, value, words) in [
        ("prompt", json!(["a", "b"]), "a list of one"),
        ("prompt", json!([1, 2]), "a list of one"),
        ("suffix", json!("end"), "left out"),
        ("echo", json!(true), "false"),
        ("logprobs", json!(3), "/v1/chat/completions"),
        ("best_of", json!(2), "1 to 1"),
        ("temperature", json!(9), "0 to 2"),
    ] {
        let answer = world.post(PATH, &ask(field, value)).await;
        answer.is_error(400, "invalid_field", Some(field), &[words]);
    }
    assert!(model.asked().is_empty());
}
