//! Anthropic's messages: requests as written, answers as read.

use headwater_models::chat::{
    Body, ChatError, ChatEvent, ChatRequest, Finish, Image, Message, OutputFormat, Part, Protocol,
    Role, Tool, ToolChoice, Usage,
};
use serde_json::{Value, json};

use super::{Answer, from_nouns};
use crate::codec::{self, Decoder, Step};
use crate::openai::LimitName;

fn read(answer: &mut Answer, stream: &[&str]) -> Result<Vec<ChatEvent>, ChatError> {
    let mut events = Vec::new();
    for data in stream {
        match answer.event(data)? {
            Step::Says(said) => events.extend(said),
            Step::Last(said) => {
                events.extend(said);
                return Ok(events);
            }
            Step::End => unreachable!("Anthropic's end is an event"),
        }
    }
    answer.end().map(|()| events)
}

fn plain(texts: &[&str]) -> ChatRequest {
    let messages = texts.iter().map(|text| Message::text(Role::User, *text)).collect();
    ChatRequest::new("claude", messages)
}

fn tool(name: &str) -> Tool {
    let parameters = json!({"type": "object"});
    Tool { name: name.to_owned(), description: None, parameters, strict: Some(false) }
}

#[test]
fn a_request_with_everything() {
    let call = |id: &str, arguments: &str| Part::ToolCall {
        id: id.to_owned(),
        name: "weather".to_owned(),
        arguments: arguments.to_owned(),
    };
    let result = |id: &str, is_error| Message {
        role: Role::User,
        parts: vec![Part::ToolResult { call_id: id.to_owned(), text: "rain".to_owned(), is_error }],
    };
    let picture = Image::Url("data:image/png;base64,AAAA".to_owned());
    let thought = Part::Thinking { text: "hm".to_owned(), signature: Some("sealed".to_owned()) };
    let unsigned = Part::Thinking { text: "hm".to_owned(), signature: None };
    let mut request = ChatRequest::new(
        "claude",
        vec![
            Message::text(Role::System, "be brief"),
            Message {
                role: Role::User,
                parts: vec![
                    Part::Image(picture),
                    Part::Image(Image::Url("https://x/y.png".to_owned())),
                ],
            },
            Message {
                role: Role::Assistant,
                parts: vec![thought, unsigned, call("t1", "{\"city\":\"Kyoto\"}"), call("t2", "")],
            },
            Message::text(Role::User, "here"),
            result("t1", false),
            result("t2", true),
        ],
    );
    request.tools = vec![tool("weather")];
    request.tool_choice = ToolChoice::Required;
    request.parallel_tool_calls = Some(false);
    request.sampling.top_k = Some(4);
    request.sampling.stop = vec!["END".to_owned()];
    request.user = Some("u".to_owned());
    let base64 = json!({"type": "base64", "media_type": "image/png", "data": "AAAA"});
    let expected = json!({
        "model": "claude", "stream": false, "max_tokens": 4096, "top_k": 4,
        "system": [{"type": "text", "text": "be brief"}],
        "stop_sequences": ["END"], "metadata": {"user_id": "u"},
        "messages": [
            {"role": "user", "content": [
                {"type": "image", "source": base64},
                {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "sealed"},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Kyoto"}},
                {"type": "tool_use", "id": "t2", "name": "weather", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "rain"},
                {"type": "tool_result", "tool_use_id": "t2", "content": "rain", "is_error": true},
                {"type": "text", "text": "here"}]},
        ],
        "tools": [{"name": "weather", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
    });
    assert_eq!(from_nouns(&request).map(Value::Object), Ok(expected));
}

#[test]
fn what_the_protocol_lacks_is_refused_by_name() {
    type Change = fn(&mut ChatRequest);
    let cases: &[(&str, Change)] = &[
        ("`n`", |request| request.choices = 2),
        ("`logprobs`", |request| request.logprobs = Some(0)),
        ("`seed`", |request| request.sampling.seed = Some(1)),
        ("`presence_penalty`", |request| request.sampling.presence_penalty = Some(0.5)),
        ("`frequency_penalty`", |request| request.sampling.frequency_penalty = Some(-1.0)),
        ("`response_format`", |request| request.format = OutputFormat::JsonObject),
        ("arguments", |request| {
            let (id, name, arguments) = ("t".to_owned(), "n".to_owned(), "[1]".to_owned());
            let parts = vec![Part::ToolCall { id, name, arguments }];
            request.messages.push(Message { role: Role::Assistant, parts });
        }),
    ];
    for (field, change) in cases {
        let mut request = plain(&["hi"]);
        change(&mut request);
        match from_nouns(&request) {
            Err(ChatError::Refused { status: 400, message, .. }) => {
                assert!(message.contains(field), "{field}: {message}");
            }
            other => unreachable!("{field}: {other:?}"),
        }
    }
    let mut request = plain(&["hi"]);
    request.sampling.presence_penalty = Some(0.0);
    assert!(from_nouns(&request).is_ok(), "a penalty of 0 asks for nothing");
}

#[test]
fn a_clients_body_goes_as_it_came() {
    let fields = json!({"model": "alias", "thinking": {"type": "enabled"}, "max_tokens": 9});
    let mut request = plain(&[]);
    let fields_map = fields.as_object().expect("an object").clone();
    request.body = Some(Body {
        protocol: Protocol::AnthropicMessages,
        fields: fields_map,
        headers: Vec::new(),
    });
    let body = codec::encode(Protocol::AnthropicMessages, &request, LimitName::MaxTokens);
    let thinking = json!({"type": "enabled"});
    let expected =
        json!({"model": "claude", "stream": false, "thinking": thinking, "max_tokens": 9});
    assert_eq!(body.map(Value::Object), Ok(expected));
}

const START: &str = r#"{"type":"message_start","message":{"id":"m1","model":"claude","usage":{"input_tokens":5,"cache_read_input_tokens":3,"cache_creation_input_tokens":2,"output_tokens":1}}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;

fn started() -> [ChatEvent; 2] {
    let (id, model) = (Some("m1".to_owned()), Some("claude".to_owned()));
    [ChatEvent::Started { id, model }, ChatEvent::Usage(usage(1))]
}

fn usage(output: u64) -> Usage {
    Usage { input: 10, output, input_cached: 3, input_written: 2, reasoning: 0 }
}

fn text(text: &str) -> ChatEvent {
    ChatEvent::Text { choice: 0, text: text.to_owned() }
}

fn thinking(text: &str, signature: Option<&str>) -> ChatEvent {
    let signature = signature.map(str::to_owned);
    ChatEvent::Thinking { choice: 0, text: text.to_owned(), signature }
}

fn call(index: u32, id: Option<&str>, arguments: &str) -> ChatEvent {
    let name = id.map(|_| "weather".to_owned());
    let id = id.map(str::to_owned);
    ChatEvent::ToolCall { choice: 0, index, id, name, arguments: arguments.to_owned() }
}

#[test]
fn a_stream_of_thoughts_text_and_calls() {
    let events = read(
        &mut Answer::new(None),
        &[
            START,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}"#,
            r#"{"type":"ping"}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"sealed"}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Hi"}}"#,
            r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"t1","name":"weather","input":{}}}"#,
            r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":""}}"#,
            r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"a\":1}"}}"#,
            r#"{"type":"content_block_stop","index":2}"#,
            r#"{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"t2","name":"weather","input":{}}}"#,
            r#"{"type":"content_block_stop","index":3}"#,
            r#"{"type":"of_times_to_come"}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}}"#,
            STOP,
        ],
    );
    let mut expected = started().to_vec();
    let reason = Finish::ToolCalls;
    expected.extend([
        thinking("hm", None),
        thinking("", Some("sealed")),
        text("Hi"),
        call(0, Some("t1"), ""),
        call(0, None, "{\"a\":1}"),
        call(1, Some("t2"), ""),
        call(1, None, "{}"),
        ChatEvent::Finished { choice: 0, reason, stop: None },
        ChatEvent::Usage(usage(9)),
    ]);
    assert_eq!(events, Ok(expected));
}

#[test]
fn a_whole_answer() {
    let body = r#"{"id":"m1","model":"claude","type":"message","content":[{"type":"thinking","thinking":"hm","signature":"sealed"},{"type":"text","text":"Hi"},{"type":"tool_use","id":"t1","name":"weather","input":{"a":1}},{"type":"tool_use","id":"t2","name":"weather","input":{}}],"stop_reason":"stop_sequence","stop_sequence":"END","usage":{"input_tokens":5,"cache_read_input_tokens":3,"cache_creation_input_tokens":2,"output_tokens":4}}"#;
    let (reason, stop) = (Finish::Stop, Some("END".to_owned()));
    let expected = vec![
        started()[0].clone(),
        thinking("hm", Some("sealed")),
        text("Hi"),
        call(0, Some("t1"), "{\"a\":1}"),
        call(1, Some("t2"), ""),
        call(1, None, "{}"),
        ChatEvent::Finished { choice: 0, reason, stop },
        ChatEvent::Usage(usage(4)),
    ];
    assert_eq!(Answer::new(None).whole(body), Ok(expected));
}

#[test]
fn a_schema_is_a_forced_tool_whose_input_is_the_text() {
    let mut request = plain(&["hi"]);
    let schema = json!({"type": "object", "required": ["a"]});
    let name = "out".to_owned();
    request.format = OutputFormat::JsonSchema { name, schema: schema.clone(), strict: Some(true) };
    let body = from_nouns(&request).map(Value::Object).expect("a body");
    assert_eq!(body["tools"][0]["input_schema"], schema);
    assert_eq!(body["tools"][0]["strict"], true);
    assert_eq!(body["tool_choice"]["name"], "out");
    let mut decoder = codec::decoder(Protocol::AnthropicMessages, &request);
    let mut events = Vec::new();
    for data in [
        START,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t1","name":"out","input":{}}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"a\":1}"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}}"#,
    ] {
        match decoder.event(data) {
            Ok(Step::Says(said)) => events.extend(said),
            other => unreachable!("{other:?}"),
        }
    }
    let mut expected = started().to_vec();
    let finished = ChatEvent::Finished { choice: 0, reason: Finish::Stop, stop: None };
    expected.extend([text("{\"a\":1}"), finished, ChatEvent::Usage(usage(9))]);
    assert_eq!(events, expected);
    request.tools = vec![tool("weather")];
    assert!(from_nouns(&request).is_err(), "a schema and tools exclude each other");
}

#[test]
fn what_is_no_complete_answer_is_cut() {
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let ended = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{}}"#;
    let streams: &[&[&str]] = &[
        &[],
        &[START],
        &[START, STOP],
        &[START, ended],
        &[ended, STOP],
        &[START, error],
        &[START, "{\"type\":"],
    ];
    for stream in streams {
        let answer = read(&mut Answer::new(None), stream);
        assert!(matches!(answer, Err(ChatError::Cut { .. })), "{stream:?}: {answer:?}");
    }
    let told = read(&mut Answer::new(None), &[START, error]);
    assert!(format!("{told:?}").contains("(overloaded_error): Overloaded"), "{told:?}");
    for whole in ["{}", "[]", r#"{"content":[]}"#, error] {
        let answer = Answer::new(None).whole(whole);
        assert!(matches!(answer, Err(ChatError::Cut { .. })), "{whole}: {answer:?}");
    }
}

#[test]
fn counts_beyond_reason_do_not_panic() {
    let most = u64::MAX;
    let start = json!({"type": "message_start", "message": {"usage": {"input_tokens": most,
        "cache_read_input_tokens": most, "cache_creation_input_tokens": most}}})
    .to_string();
    let later = r#"{"type":"message_delta","delta":{},"usage":{"output_tokens":1}}"#;
    let mut answer = Answer::new(None);
    assert!(answer.event(&start).is_ok());
    assert!(answer.event(later).is_ok());
}
