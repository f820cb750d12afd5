//! OpenAI's chat completions: requests as written, answers as read.

use headwater_models::chat::{
    Body, ChatError, ChatEvent, ChatRequest, Finish, Image, Message, OutputFormat, Part, Protocol,
    Role, Tool, ToolChoice, Usage,
};
use serde_json::{Value, json};

use super::{Answer, LimitName, from_nouns};
use crate::codec::{self, Decoder, Step};

fn encoded(request: &ChatRequest) -> Result<Value, ChatError> {
    from_nouns(request, LimitName::MaxTokens).map(Value::Object)
}

/// Reads the events of a stream up to its end.
fn read(stream: &[&str]) -> Result<Vec<ChatEvent>, ChatError> {
    let mut answer = Answer::default();
    let mut events = Vec::new();
    for data in stream {
        match answer.event(data)? {
            Step::Says(said) => events.extend(said),
            Step::Last(_) => unreachable!("OpenAI's end says nothing"),
            Step::End => return Ok(events),
        }
    }
    answer.end().map(|()| events)
}

fn started() -> ChatEvent {
    ChatEvent::Started { id: Some("c1".to_owned()), model: Some("m".to_owned()) }
}

fn text(choice: u32, text: &str) -> ChatEvent {
    ChatEvent::Text { choice, text: text.to_owned() }
}

fn finished(choice: u32, reason: Finish) -> ChatEvent {
    ChatEvent::Finished { choice, reason, stop: None }
}

#[test]
fn a_request_with_everything() {
    let call = Part::ToolCall {
        id: "t1".to_owned(),
        name: "weather".to_owned(),
        arguments: "{\"city\":\"Kyoto\"}".to_owned(),
    };
    let result =
        Part::ToolResult { call_id: "t1".to_owned(), text: "rain".to_owned(), is_error: false };
    let failure =
        Part::ToolResult { call_id: "t2".to_owned(), text: "down".to_owned(), is_error: true };
    let picture = Image::Data { media_type: "image/png".to_owned(), base64: "AAAA".to_owned() };
    let mut request = ChatRequest::new(
        "gpt",
        vec![
            Message::text(Role::System, "be brief"),
            Message {
                role: Role::User,
                parts: vec![Part::Text("look".to_owned()), Part::Image(picture)],
            },
            Message { role: Role::Assistant, parts: vec![call] },
            Message { role: Role::User, parts: vec![result, failure] },
            Message::text(Role::User, "and now"),
        ],
    );
    request.tools = vec![Tool {
        name: "weather".to_owned(),
        description: Some("tells it".to_owned()),
        parameters: json!({"type": "object"}),
        strict: Some(true),
    }];
    request.tool_choice = ToolChoice::Named("weather".to_owned());
    request.parallel_tool_calls = Some(false);
    request.sampling.temperature = Some(0.5);
    request.sampling.stop = vec!["END".to_owned()];
    request.max_tokens = Some(7);
    request.choices = 2;
    request.logprobs = Some(3);
    let schema = json!({"type": "object"});
    request.format =
        OutputFormat::JsonSchema { name: "out".to_owned(), schema, strict: Some(true) };
    request.user = Some("u".to_owned());
    request.stream = true;
    let function = json!({"name": "weather", "arguments": "{\"city\":\"Kyoto\"}"});
    let expected = json!({
        "model": "gpt", "stream": true, "stream_options": {"include_usage": true},
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
            {"role": "assistant", "content": null,
             "tool_calls": [{"id": "t1", "type": "function", "function": function}]},
            {"role": "tool", "tool_call_id": "t1", "content": "rain"},
            {"role": "tool", "tool_call_id": "t2", "content": "error: down"},
            {"role": "user", "content": "and now"},
        ],
        "tools": [{"type": "function", "function": {"name": "weather", "description": "tells it",
            "parameters": {"type": "object"}, "strict": true}}],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": false, "temperature": 0.5, "stop": ["END"], "max_tokens": 7,
        "n": 2, "logprobs": true, "top_logprobs": 3, "user": "u",
        "response_format": {"type": "json_schema",
            "json_schema": {"name": "out", "schema": {"type": "object"}, "strict": true}},
    });
    assert_eq!(encoded(&request), Ok(expected));
}

#[test]
fn a_plain_request_asks_for_nothing_more() {
    let request = ChatRequest::new("m", vec![Message::text(Role::User, "hi")]);
    let messages = json!([{"role": "user", "content": "hi"}]);
    let expected = json!({"model": "m", "stream": false, "messages": messages});
    assert_eq!(encoded(&request), Ok(expected));
}

#[test]
fn a_clients_body_goes_as_it_came() {
    let fields = json!({"model": "alias", "messages": [{"role": "developer", "content": "x"}],
        "stream_options": {"include_obfuscation": false}, "service_tier": "flex", "new": [1]});
    let mut request = ChatRequest::new("gpt", Vec::new());
    let body = Body {
        protocol: Protocol::OpenAiChat,
        fields: fields.as_object().expect("an object").clone(),
        headers: Vec::new(),
    };
    request.body = Some(body);
    request.stream = true;
    let encode =
        |request: &ChatRequest| codec::encode(Protocol::OpenAiChat, request, LimitName::MaxTokens);
    let mut expected = fields.clone();
    expected["model"] = json!("gpt");
    expected["stream"] = json!(true);
    expected["stream_options"]["include_usage"] = json!(true);
    assert_eq!(encode(&request).map(Value::Object), Ok(expected));
}

#[test]
fn the_limits_name_is_the_hosts() {
    for host in ["api.openai.com", "openai.com", "eu.openai.azure.com"] {
        assert_eq!(LimitName::of_host(host), LimitName::MaxCompletionTokens, "{host}");
    }
    for host in ["127.0.0.1", "notopenai.com", "openai.com.example.org"] {
        assert_eq!(LimitName::of_host(host), LimitName::MaxTokens, "{host}");
    }
}

#[test]
fn parts_in_the_wrong_place_are_refused() {
    let refused = Part::Refusal("no".to_owned());
    let image = Part::Image(Image::Url("https://x/y.png".to_owned()));
    for (role, part) in
        [(Role::User, refused), (Role::Assistant, image.clone()), (Role::System, image)]
    {
        let request = ChatRequest::new("m", vec![Message { role, parts: vec![part] }]);
        let answer = encoded(&request);
        assert!(matches!(answer, Err(ChatError::Refused { status: 400, .. })), "{answer:?}");
    }
}

#[test]
fn a_stream_of_two_choices_with_thoughts_and_usage() {
    let events = read(&[
        r#"{"id":"c1","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}"#,
        r#"{"id":"c1","model":"m","choices":[{"index":0,"delta":{"reasoning_content":"hm"}}],"usage":{"prompt_tokens":5,"completion_tokens":1}}"#,
        r#"{"choices":[{"index":1,"delta":{"content":"B"},"logprobs":{"content":[{"token":"B"}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"content":"A"}},{"index":1,"delta":{"refusal":"no"},"finish_reason":"content_filter"}]}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop","stop_reason":"END"}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":2},"completion_tokens_details":{"reasoning_tokens":1}}}"#,
        "[DONE]",
    ]);
    let first = Usage { input: 5, output: 1, ..Usage::default() };
    let last = Usage { input: 5, output: 4, input_cached: 2, reasoning: 1, ..Usage::default() };
    let thought = ChatEvent::Thinking { choice: 0, text: "hm".to_owned(), signature: None };
    let stop = Some("END".to_owned());
    let expected = vec![
        started(),
        thought,
        ChatEvent::Usage(first),
        text(1, "B"),
        ChatEvent::Logprobs { choice: 1, content: json!([{"token": "B"}]) },
        text(0, "A"),
        ChatEvent::Refusal { choice: 1, text: "no".to_owned() },
        finished(1, Finish::Filtered),
        ChatEvent::Finished { choice: 0, reason: Finish::Stop, stop },
        ChatEvent::Usage(last),
    ];
    assert_eq!(events, Ok(expected));
}

fn call(index: u32, id: Option<&str>, name: Option<&str>, arguments: &str) -> ChatEvent {
    let (id, name) = (id.map(str::to_owned), name.map(str::to_owned));
    ChatEvent::ToolCall { choice: 0, index, id, name, arguments: arguments.to_owned() }
}

#[test]
fn calls_of_tools_streamed_and_whole() {
    let events = read(&[
        r#"{"id":"c1","model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"t1","type":"function","function":{"name":"w","arguments":""}}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}},{"index":1,"id":"t2","function":{"name":"v","arguments":"{}"}}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}}]}"#,
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
        "[DONE]",
    ]);
    let expected = vec![
        started(),
        call(0, Some("t1"), Some("w"), ""),
        call(0, None, None, "{\"a\""),
        call(1, Some("t2"), Some("v"), "{}"),
        call(0, None, None, ":1}"),
        finished(0, Finish::ToolCalls),
    ];
    assert_eq!(events, Ok(expected));
    let whole = r#"{"id":"c1","model":"m","object":"chat.completion","choices":[{"index":0,"message":{"content":"so","tool_calls":[{"id":"t1","function":{"name":"w","arguments":"{}"}},{"id":"t2","function":{"name":"v","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    let expected = vec![
        started(),
        text(0, "so"),
        call(0, Some("t1"), Some("w"), "{}"),
        call(1, Some("t2"), Some("v"), "{}"),
        finished(0, Finish::ToolCalls),
        ChatEvent::Usage(Usage { input: 1, output: 2, ..Usage::default() }),
    ];
    assert_eq!(Answer::default().whole(whole), Ok(expected));
}

#[test]
fn what_is_no_complete_answer_is_cut() {
    let begun = r#"{"choices":[{"index":0,"delta":{"content":"A"}}]}"#;
    let stopped = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let aborted = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}"#;
    let error = r#"{"error":{"message":"engine died","code":500}}"#;
    let streams: &[&[&str]] = &[
        &[],
        &[begun],
        &[begun, stopped],
        &[begun, "[DONE]"],
        &["[DONE]"],
        &[begun, error],
        &[begun, aborted],
        &[begun, "{\"choices\":[{"],
        &["<html>"],
        &["[]"],
        &["{}"],
        &[r#"{"choices":7}"#],
    ];
    for stream in streams {
        let answer = read(stream);
        assert!(matches!(answer, Err(ChatError::Cut { .. })), "{stream:?}: {answer:?}");
    }
    let told = read(&[begun, error]);
    assert!(format!("{told:?}").contains("engine died"), "{told:?}");
    for whole in ["{}", "nothing", r#"{"choices":[]}"#, r#"{"choices":[{"message":{}}]}"#, error] {
        let answer = Answer::default().whole(whole);
        assert!(matches!(answer, Err(ChatError::Cut { .. })), "{whole}: {answer:?}");
    }
}
