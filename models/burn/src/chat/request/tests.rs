//! What is taken from a request, and what is refused by its name.

use headwater_models::chat::{
    ChatError, ChatRequest, Image, Message, OutputFormat, Part, Role, Sampling, Tool, ToolChoice,
};
use serde_json::json;

use super::Wanted;
use crate::chat::sampler::Draw;

fn plain() -> ChatRequest {
    ChatRequest::new("m", vec![Message::text(Role::User, "hello")])
}

#[test]
fn a_plain_request_has_the_models_own_choices() {
    let wanted = Wanted::of(&plain()).unwrap();
    let draw = Draw {
        temperature: 0.2,
        top_p: 0.9,
        top_k: None,
        seed: None,
        presence: 0.0,
        frequency: 0.0,
    };
    let messages = vec![(Role::User, "hello".to_owned())];
    let expected = Wanted { messages, draw, stop: vec![], max_tokens: None, stream: false };
    assert_eq!(wanted, expected);
}

#[test]
fn parts_are_joined_and_choices_are_kept() {
    let parts = vec![Part::Text("a".to_owned()), Part::Refusal("b".to_owned())];
    let request = ChatRequest {
        messages: vec![Message { role: Role::Assistant, parts }],
        tool_choice: ToolChoice::None,
        parallel_tool_calls: Some(true),
        sampling: Sampling {
            temperature: Some(0.0),
            top_p: Some(1.0),
            top_k: Some(3),
            seed: Some(-1),
            presence_penalty: Some(-2.0),
            frequency_penalty: Some(2.0),
            stop: vec!["x".to_owned()],
        },
        max_tokens: Some(u64::MAX),
        stream: true,
        ..plain()
    };
    let wanted = Wanted::of(&request).unwrap();
    assert_eq!(wanted.messages, [(Role::Assistant, "ab".to_owned())]);
    assert_eq!((wanted.max_tokens, wanted.stream), (Some(usize::MAX), true));
    assert_eq!(wanted.stop, ["x"]);
    let draw = wanted.draw;
    assert_eq!(
        (draw.temperature, draw.top_p, draw.top_k, draw.seed),
        (0.0, 1.0, Some(3), Some(-1))
    );
    assert_eq!((draw.presence, draw.frequency), (-2.0, 2.0));
}

fn with(sampling: Sampling) -> ChatRequest {
    ChatRequest { sampling, ..plain() }
}

fn holding(part: Part) -> ChatRequest {
    let second = Message { role: Role::User, parts: vec![part] };
    ChatRequest { messages: vec![Message::text(Role::User, "a"), second], ..plain() }
}

#[test]
fn the_rest_is_refused_by_its_name() {
    let check = |request: ChatRequest, field: &str, allowed: &str| match Wanted::of(&request) {
        Err(ChatError::Refused { status: 400, message, .. }) => {
            assert!(message.contains(field) && message.contains(allowed), "{field}: {message}");
            assert!(!message.contains("secret"), "{message}");
        }
        other => panic!("{field}: {other:?}"),
    };
    let secret = || "secret".to_owned();
    let tool = Tool { name: secret(), description: None, parameters: json!({}), strict: None };
    check(ChatRequest { tools: vec![tool], ..plain() }, "tools", "send none");
    for tool_choice in [ToolChoice::Required, ToolChoice::Named(secret())] {
        check(ChatRequest { tool_choice, ..plain() }, "tool_choice", "auto or none");
    }
    check(ChatRequest { choices: 2, ..plain() }, "n is 2", "exactly 1");
    check(ChatRequest { choices: 0, ..plain() }, "n is 0", "exactly 1");
    check(ChatRequest { logprobs: Some(0), ..plain() }, "logprobs", "ask for none");
    let schema = OutputFormat::JsonSchema { name: secret(), schema: json!({}), strict: None };
    for format in [OutputFormat::JsonObject, schema] {
        check(ChatRequest { format, ..plain() }, "response_format", "text");
    }
    check(ChatRequest { messages: vec![], ..plain() }, "messages", "at least one");
    check(ChatRequest { max_tokens: Some(0), ..plain() }, "max_tokens", "at least 1");
    check(holding(Part::Image(Image::Url(secret()))), "messages[1] holds an image", "text only");
    let (id, name, arguments) = (secret(), secret(), secret());
    check(holding(Part::ToolCall { id, name, arguments }), "a call of a tool", "text only");
    let result = Part::ToolResult { call_id: secret(), text: secret(), is_error: false };
    check(holding(result), "a result of a tool", "text only");
    let thought = Part::Thinking { text: secret(), signature: None };
    check(holding(thought), "messages[1] holds a thought", "text only");
    let none = Sampling::default;
    for wrong in [-0.1, 2.1, f64::NAN, f64::INFINITY] {
        check(with(Sampling { temperature: Some(wrong), ..none() }), "temperature", "from 0 to 2");
    }
    for wrong in [-0.1, 1.1, f64::NAN] {
        check(with(Sampling { top_p: Some(wrong), ..none() }), "top_p", "from 0 to 1");
    }
    for wrong in [-2.1, 2.1, f64::NAN] {
        let presence = Sampling { presence_penalty: Some(wrong), ..none() };
        check(with(presence), "presence_penalty", "from -2 to 2");
        let frequency = Sampling { frequency_penalty: Some(wrong), ..none() };
        check(with(frequency), "frequency_penalty", "from -2 to 2");
    }
    check(with(Sampling { top_k: Some(0), ..none() }), "top_k", "at least 1");
    check(with(Sampling { stop: vec![secret(); 17], ..none() }), "stop holds 17", "at most 16");
    for wrong in [String::new(), "s".repeat(1025)] {
        check(with(Sampling { stop: vec![wrong], ..none() }), "stop", "1 to 1024 bytes");
    }
}
