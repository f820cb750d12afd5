//! Clients of OpenAI's protocol.

use headwater_actors::gateway::{
    ChatEvent, Finish, Image, Message, OutputFormat, Part, Protocol, Role, ToolChoice,
};
use headwater_models::chat::double::ScriptedChat;
use serde_json::{Value, json};

use super::{
    CHAT, call, events, everything, finished, json_of, said, saying, started, stream_of, text, used,
};
use crate::tests::world::Answer;

const PATH: &str = "/v1/chat/completions";

fn ask() -> Value {
    json!({"model": CHAT, "messages": [{"role": "user", "content": "hi"}]})
}

fn streamed(include_usage: bool) -> Value {
    let mut body = ask();
    body["stream"] = json!(true);
    if include_usage {
        body["stream_options"] = json!({"include_usage": true});
    }
    body
}

/// All chunks, checked to end as they should.
fn chunks(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(answer.header(name), Some(value));
    }
    let mut stream = stream_of(&answer.text());
    assert_eq!(stream.pop(), Some((None, "[DONE]".to_owned())));
    let chunk = |(name, data): (Option<String>, String)| {
        assert_eq!(name, None);
        json_of(&data)
    };
    stream.into_iter().map(chunk).collect()
}

#[tokio::test]
async fn events_become_one_body() {
    let (world, _) = saying(everything()).await;
    let answer = world.post(PATH, &ask()).await;
    let mut body = answer.ok();
    assert!(body["created"].as_u64().expect("seconds") > 1_700_000_000);
    body["created"] = json!(0);
    let call = |id: &str, name: &str, arguments: &str| {
        let function = json!({"name": name, "arguments": arguments});
        json!({"id": id, "type": "function", "function": function})
    };
    let message = json!({
        "role": "assistant",
        "content": "Hello",
        "refusal": null,
        "reasoning_content": "so then",
        "tool_calls": [
            call("call-weather", "weather", "{\"at\":\"Ulm\"}"),
            call("call-time", "time", "{}"),
        ],
    });
    let choice = json!({
        "index": 0, "message": message, "logprobs": null, "finish_reason": "tool_calls",
    });
    let expected = json!({
        "id": "id-1",
        "object": "chat.completion",
        "created": 0,
        "model": "talker-2026",
        "choices": [choice],
        "usage": {
            "prompt_tokens": 100,
            "completion_tokens": 7,
            "total_tokens": 107,
            "prompt_tokens_details": {"cached_tokens": 60},
            "completion_tokens_details": {"reasoning_tokens": 3},
        },
    });
    assert_eq!(body, expected);
    assert_eq!(answer.header("x-headwater-backend"), Some("scripted"));
    assert_eq!(answer.header("x-headwater-retries"), Some("0"));
    assert!(answer.header("x-headwater-model").is_some());
}

#[tokio::test]
async fn events_become_a_stream() {
    let (world, _) = saying(everything()).await;
    for include_usage in [false, true] {
        let chunks = chunks(&world.post(PATH, &streamed(include_usage)).await);
        let deltas: Vec<_> = chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]).collect();
        let call = |call: Value| json!({"tool_calls": [call]});
        let mut expected = vec![
            json!({"role": "assistant", "content": ""}),
            json!({"reasoning_content": "so "}),
            json!({"reasoning_content": "then"}),
            json!({"content": "Hell"}),
            json!({"content": "o"}),
            call(json!({"index": 0, "id": "call-weather", "type": "function",
                "function": {"name": "weather", "arguments": ""}})),
            call(json!({"index": 0, "function": {"arguments": "{\"at\":"}})),
            call(json!({"index": 0, "function": {"arguments": "\"Ulm\"}"}})),
            call(json!({"index": 1, "id": "call-time", "type": "function",
                "function": {"name": "time", "arguments": "{}"}})),
            json!({}),
        ];
        expected.extend(include_usage.then_some(Value::Null));
        assert_eq!(deltas, expected.iter().collect::<Vec<_>>());
        assert_eq!(chunks[9]["choices"][0]["finish_reason"], "tool_calls");
        for chunk in &chunks {
            assert_eq!(chunk["object"], "chat.completion.chunk");
            assert_eq!((&chunk["id"], &chunk["model"]), (&json!("id-1"), &json!("talker-2026")));
        }
        if include_usage {
            assert_eq!(chunks[10]["choices"], json!([]));
            assert_eq!(chunks[10]["usage"]["total_tokens"], 107);
        }
    }
}

#[tokio::test]
async fn choices_refusals_and_probabilities() {
    let token = |word: &str| json!({"token": word, "logprob": -0.5});
    let second = ChatEvent::Text { choice: 1, text: "B".to_owned() };
    let beside = |word| ChatEvent::Logprobs { choice: 1, content: json!([token(word)]) };
    let (world, model) = saying(Ok(vec![
        Ok(super::Chunk::of(vec![started()])),
        Ok(super::Chunk::of(vec![second, beside("B")])),
        Ok(super::Chunk::of(vec![beside("C"), beside("D")])),
        Ok(super::Chunk::of(vec![
            ChatEvent::Refusal { choice: 0, text: "no".to_owned() },
            finished(Finish::Filtered),
            ChatEvent::Finished { choice: 1, reason: Finish::Length, stop: None },
        ])),
    ]))
    .await;
    let body = world.post(PATH, &ask()).await.ok();
    assert_eq!(body["choices"][0]["message"]["refusal"], "no");
    assert_eq!(body["choices"][0]["message"]["content"], Value::Null);
    assert_eq!(body["choices"][0]["finish_reason"], "content_filter");
    assert_eq!(body["choices"][1]["finish_reason"], "length");
    let all = json!([token("B"), token("C"), token("D")]);
    assert_eq!(body["choices"][1]["logprobs"]["content"], all);
    let chunks = chunks(&world.post(PATH, &streamed(false)).await);
    let told: Vec<_> = chunks.iter().map(|chunk| chunk["choices"][0].clone()).collect();
    assert_eq!(told[1]["delta"], json!({"role": "assistant", "content": ""}));
    assert_eq!(told[1]["index"], 1);
    assert_eq!(told[2]["logprobs"]["content"], json!([token("B")]));
    assert_eq!(told[3]["logprobs"]["content"], json!([token("C"), token("D")]));
    assert_eq!(told[4]["delta"], json!({"refusal": "no"}));
    assert_eq!(model.asked().len(), 2);
}

#[tokio::test]
async fn what_was_said_in_the_same_protocol_is_told_word_for_word() {
    let own = Protocol::OpenAiChat;
    let body = "{\n \"id\": \"x\",  \"odd\": 1.50,\"choices\": []}";
    let end = || finished(Finish::Stop);
    let other = vec![text("not this"), end()];
    let (world, _) = saying(Ok(vec![Ok(said(own, None, body, other))])).await;
    assert_eq!(world.post(PATH, &ask()).await.text(), body);

    let word = r#"{"choices": [{"index":0, "delta":{"content":"a"}}], "new_field": {}}"#;
    let usage = r#"{"choices": [], "usage": {"prompt_tokens": 1}}"#;
    let script = vec![
        Ok(said(own, None, word, vec![text("a")])),
        Ok(said(own, None, "{\"choices\":[],\"odd\":true}", vec![end()])),
        Ok(said(own, None, usage, vec![used()])),
        Ok(said(own, None, "[DONE]", vec![])),
    ];
    let (world, _) = saying(Ok(script)).await;
    let odd = "data: {\"choices\":[],\"odd\":true}\n\n";
    for (include_usage, told) in [(false, String::new()), (true, format!("data: {usage}\n\n"))] {
        let answer = world.post(PATH, &streamed(include_usage)).await;
        let expected = format!("data: {word}\n\n{odd}{told}data: [DONE]\n\n");
        assert_eq!(answer.text(), expected);
    }
    // The other protocol's words are told by what they mean.
    let other = Protocol::AnthropicMessages;
    let (world, _) =
        saying(Ok(vec![Ok(said(other, None, "{}", vec![text("meant"), end()]))])).await;
    let body = world.post(PATH, &ask()).await.ok();
    assert_eq!(body["choices"][0]["message"]["content"], "meant");
}

#[tokio::test]
async fn a_request_arrives_with_all_that_it_means_and_all_that_was_sent() {
    let (world, model) = saying(ScriptedChat::words(1, &["ok"])).await;
    let call = json!({"name": "weather", "arguments": "{}"});
    let body = json!({
        "model": CHAT,
        "messages": [
            {"role": "developer", "content": "be kind"},
            {"role": "user", "name": "Ada", "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
                {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
            ]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "c1", "type": "function", "function": call},
            ]},
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "dry"}]},
            {"role": "assistant", "content": "no", "refusal": "never"},
        ],
        "tools": [{"type": "function", "function": {"name": "weather", "strict": true}}],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": false,
        "temperature": 0.5, "top_p": 0.25, "seed": -4, "stop": "END", "n": 2,
        "presence_penalty": -2, "frequency_penalty": 2,
        "max_tokens": 5, "max_completion_tokens": 6,
        "logprobs": true, "top_logprobs": 3,
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}},
        "user": "u-1", "unheard_of": [1, {"a": null}],
    });
    world.post(PATH, &body).await.ok();
    let asked = model.asked().remove(0);
    assert_eq!(asked.body_of(Protocol::OpenAiChat).map(|map| json!(map)), Some(body));
    let image = Image::Data { media_type: "image/png".to_owned(), base64: "QUJD".to_owned() };
    let url = Image::Url("https://a.example/b.png".to_owned());
    let parts = vec![Part::Text("look".to_owned()), Part::Image(image), Part::Image(url)];
    let called = Part::ToolCall {
        id: "c1".to_owned(),
        name: "weather".to_owned(),
        arguments: "{}".to_owned(),
    };
    let result =
        Part::ToolResult { call_id: "c1".to_owned(), text: "dry".to_owned(), is_error: false };
    let refused = vec![Part::Text("no".to_owned()), Part::Refusal("never".to_owned())];
    let expected = [
        Message::text(Role::System, "be kind"),
        Message { role: Role::User, parts },
        Message { role: Role::Assistant, parts: vec![called] },
        Message { role: Role::User, parts: vec![result] },
        Message { role: Role::Assistant, parts: refused },
    ];
    assert_eq!(asked.messages, expected);
    assert_eq!(asked.tools[0].parameters, json!({"type": "object", "properties": {}}));
    assert_eq!(asked.tool_choice, ToolChoice::Named("weather".to_owned()));
    assert_eq!(asked.parallel_tool_calls, Some(false));
    let sampling = asked.sampling;
    assert_eq!((sampling.temperature, sampling.top_p), (Some(0.5), Some(0.25)));
    assert_eq!((sampling.seed, sampling.stop), (Some(-4), vec!["END".to_owned()]));
    assert_eq!((sampling.presence_penalty, sampling.frequency_penalty), (Some(-2.0), Some(2.0)));
    assert_eq!((asked.max_tokens, asked.choices, asked.logprobs), (Some(6), 2, Some(3)));
    assert!(matches!(asked.format, OutputFormat::JsonSchema { name, .. } if name == "s"));
    assert_eq!((asked.user.as_deref(), asked.stream), (Some("u-1"), false));
}

#[tokio::test]
async fn a_call_without_words_has_no_content() {
    let script = events(vec![started(), call(0, Some("f"), "{}"), finished(Finish::ToolCalls)]);
    let (world, _) = saying(script).await;
    let body = world.post(PATH, &ask()).await.ok();
    assert_eq!(body["choices"][0]["message"]["content"], Value::Null);
    assert_eq!(body["usage"], Value::Null);
}
