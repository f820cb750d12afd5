//! Clients of Anthropic's protocol.

use headwater_actors::gateway::{
    ChatEvent, Finish, Image, Message, Part, Protocol, Role, ToolChoice,
};
use headwater_models::chat::double::ScriptedChat;
use serde_json::{Value, json};

use super::{
    CHAT, Chunk, events, everything, finished, json_of, said, saying, started, stream_of, text,
    used,
};
use crate::tests::world::Answer;

const PATH: &str = "/v1/messages";

fn ask() -> Value {
    let messages = json!([{"role": "user", "content": "hi"}]);
    json!({"model": CHAT, "max_tokens": 9, "messages": messages})
}

fn streamed() -> Value {
    let mut body = ask();
    body["stream"] = json!(true);
    body
}

/// All events, checked to be called what they are.
fn stream(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let event = |(name, data): (Option<String>, String)| {
        let data = json_of(&data);
        assert_eq!(name.as_deref(), data["type"].as_str());
        data
    };
    stream_of(&answer.text()).into_iter().map(event).collect()
}

#[tokio::test]
async fn events_become_one_body() {
    let (world, _) = saying(everything()).await;
    let answer = world.post(PATH, &ask()).await;
    let expected = json!({
        "id": "id-1",
        "type": "message",
        "role": "assistant",
        "model": "talker-2026",
        "content": [
            {"type": "thinking", "thinking": "so then", "signature": "seal"},
            {"type": "text", "text": "Hello"},
            {"type": "tool_use", "id": "call-weather", "name": "weather", "input": {"at": "Ulm"}},
            {"type": "tool_use", "id": "call-time", "name": "time", "input": {}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": null,
        "usage": {
            "input_tokens": 30,
            "cache_creation_input_tokens": 10,
            "cache_read_input_tokens": 60,
            "output_tokens": 7,
        },
    });
    assert_eq!(answer.ok(), expected);
    assert_eq!(answer.header("x-headwater-backend"), Some("scripted"));
}

#[tokio::test]
async fn events_become_a_stream() {
    let (world, _) = saying(everything()).await;
    let start = |index: u64, block: Value| {
        let kind = "content_block_start";
        json!({"type": kind, "index": index, "content_block": block})
    };
    let delta = |index: u64, delta: Value| {
        let kind = "content_block_delta";
        json!({"type": kind, "index": index, "delta": delta})
    };
    let stop = |index: u64| json!({"type": "content_block_stop", "index": index});
    let tool = |name: &str| {
        let id = format!("call-{name}");
        json!({"type": "tool_use", "id": id, "name": name, "input": {}})
    };
    let input = |json: &str| json!({"type": "input_json_delta", "partial_json": json});
    let told = stream(&world.post(PATH, &streamed()).await);
    let message = &told[0]["message"];
    assert_eq!(told[0]["type"], "message_start");
    assert_eq!((&message["id"], &message["model"]), (&json!("id-1"), &json!("talker-2026")));
    assert_eq!((&message["content"], &message["role"]), (&json!([]), &json!("assistant")));
    assert_eq!(message["usage"]["output_tokens"], 0);
    let expected = [
        start(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "so "})),
        delta(0, json!({"type": "thinking_delta", "thinking": "then"})),
        delta(0, json!({"type": "signature_delta", "signature": "seal"})),
        stop(0),
        start(1, json!({"type": "text", "text": ""})),
        delta(1, json!({"type": "text_delta", "text": "Hell"})),
        delta(1, json!({"type": "text_delta", "text": "o"})),
        stop(1),
        start(2, tool("weather")),
        delta(2, input("{\"at\":")),
        delta(2, input("\"Ulm\"}")),
        stop(2),
        start(3, tool("time")),
        delta(3, input("{}")),
        stop(3),
        json!({
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": null},
            "usage": {
                "input_tokens": 30,
                "cache_creation_input_tokens": 10,
                "cache_read_input_tokens": 60,
                "output_tokens": 7,
            },
        }),
        json!({"type": "message_stop"}),
    ];
    assert_eq!(told[1..], expected);
}

#[tokio::test]
async fn why_an_answer_ended() {
    let stopped =
        ChatEvent::Finished { choice: 0, reason: Finish::Stop, stop: Some("END".to_owned()) };
    let refusal = ChatEvent::Refusal { choice: 0, text: "no".to_owned() };
    let table = [
        (vec![text("a"), finished(Finish::Stop)], "end_turn", Value::Null),
        (vec![text("a"), stopped], "stop_sequence", json!("END")),
        (vec![text("a"), finished(Finish::Length)], "max_tokens", Value::Null),
        (vec![finished(Finish::Filtered)], "refusal", Value::Null),
        (vec![refusal, finished(Finish::Stop)], "refusal", Value::Null),
    ];
    for (said, reason, stop) in table {
        let (world, _) = saying(events(said)).await;
        let body = world.post(PATH, &ask()).await.ok();
        assert_eq!((&body["stop_reason"], &body["stop_sequence"]), (&json!(reason), &stop));
        let told = stream(&world.post(PATH, &streamed()).await);
        assert_eq!(told[0]["type"], "message_start");
        let delta = &told[told.len() - 2]["delta"];
        assert_eq!((&delta["stop_reason"], &delta["stop_sequence"]), (&json!(reason), &stop));
    }
}

#[tokio::test]
async fn what_was_said_in_the_same_protocol_is_told_word_for_word() {
    let own = Protocol::AnthropicMessages;
    let body = "{\"id\": \"x\",  \"odd\": 1.50}";
    let (world, _) =
        saying(Ok(vec![Ok(said(own, None, body, vec![finished(Finish::Stop)]))])).await;
    assert_eq!(world.post(PATH, &ask()).await.text(), body);
    let word = |name: &'static str, data: &str| (name, data.to_owned());
    let words = [
        word("message_start", "{\"type\": \"message_start\",  \"message\": {}}"),
        word("ping", "{\"type\": \"ping\"}"),
        word("odd", "{\"type\": \"odd\"}"),
        word("message_stop", "{\"type\": \"message_stop\"}"),
    ];
    let meant = || vec![text("a"), finished(Finish::Stop)];
    let chunks = words.iter().map(|(name, data)| Ok(said(own, Some(name), data, meant())));
    let (world, _) = saying(Ok(chunks.collect())).await;
    let expected: String =
        words.iter().map(|(name, data)| format!("event: {name}\ndata: {data}\n\n")).collect();
    assert_eq!(world.post(PATH, &streamed()).await.text(), expected);
}

#[tokio::test]
async fn the_beginning_tells_the_usage_that_is_known() {
    let first = Chunk::of(vec![started(), used()]);
    let last = Chunk::of(vec![text("a"), finished(Finish::Stop)]);
    let (world, _) = saying(Ok(vec![Ok(first), Ok(last)])).await;
    let told = stream(&world.post(PATH, &streamed()).await);
    assert_eq!(told[0]["message"]["usage"]["cache_read_input_tokens"], 60);
}

#[tokio::test]
async fn a_request_arrives_with_all_that_it_means_and_all_that_was_sent() {
    let (world, model) = saying(ScriptedChat::words(1, &["ok"])).await;
    let base64 = json!({"type": "base64", "media_type": "image/png", "data": "QUJD"});
    let body = json!({
        "model": CHAT,
        "max_tokens": 7,
        "system": [{"type": "text", "text": "be kind", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "seal"},
                {"type": "redacted_thinking", "data": "xyz"},
                {"type": "tool_use", "id": "c1", "name": "weather", "input": {"at": "Ulm"}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "c1", "is_error": true, "content": [
                    {"type": "text", "text": "dry"},
                    {"type": "image", "source": base64},
                    {"type": "text", "text": "warm"},
                ]},
                {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}},
            ]},
        ],
        "tools": [{"name": "weather", "description": "d", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
        "stop_sequences": ["END"], "temperature": 1, "top_p": 0.5, "top_k": 4,
        "metadata": {"user_id": "u-1"},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "unheard_of": [1],
    });
    world.post(PATH, &body).await.ok();
    let asked = model.asked().remove(0);
    assert_eq!(asked.body_of(Protocol::AnthropicMessages).map(|map| json!(map)), Some(body));
    let image = Image::Data { media_type: "image/png".to_owned(), base64: "QUJD".to_owned() };
    let called = Part::ToolCall {
        id: "c1".to_owned(),
        name: "weather".to_owned(),
        arguments: "{\"at\":\"Ulm\"}".to_owned(),
    };
    let thought = Part::Thinking { text: "hm".to_owned(), signature: Some("seal".to_owned()) };
    let result =
        Part::ToolResult { call_id: "c1".to_owned(), text: "dry\nwarm".to_owned(), is_error: true };
    let url = Image::Url("https://a.example/b.png".to_owned());
    let seen = vec![result, Part::Image(image), Part::Image(url)];
    let expected = [
        Message::text(Role::System, "be kind"),
        Message::text(Role::User, "hi"),
        Message { role: Role::Assistant, parts: vec![thought, called] },
        Message { role: Role::User, parts: seen },
    ];
    assert_eq!(asked.messages, expected);
    assert_eq!(asked.tools[0].parameters, json!({"type": "object"}));
    assert_eq!((asked.tool_choice, asked.parallel_tool_calls), (ToolChoice::Required, Some(false)));
    assert_eq!((asked.sampling.top_k, asked.sampling.temperature), (Some(4), Some(1.0)));
    assert_eq!((asked.max_tokens, asked.user.as_deref()), (Some(7), Some("u-1")));
}

#[tokio::test]
async fn tokens_are_counted_without_asking_the_model() {
    let (world, model) = saying(ScriptedChat::words(1, &["ok"])).await;
    let path = "/v1/messages/count_tokens";
    let mut body = ask();
    body.as_object_mut().expect("an object").remove("max_tokens");
    let answer = world.post(path, &body).await.ok();
    assert!(answer["input_tokens"].as_u64().expect("a number") > 0);
    body["model"] = json!("ghost");
    let unknown = world.post(path, &body).await;
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.json()["error"]["type"], "not_found_error");
    assert!(model.asked().is_empty());
}
