//! Whole requests: what they mean and their bodies hold the same, and nothing personal.

use headwater_models::chat::{Body, ChatRequest, Message, Part, Protocol, Role, Tool};
use serde_json::{Value, json};

use super::{redactor, session};
use crate::redaction::{Action, RedactError, RedactionSession, redact_request};

const PRIVATE: &[&str] = &["ada@example.com", "Ada Lovelace", "203.0.113.9", "+1 415 555 2671"];

fn redact(session: &mut RedactionSession, request: &mut ChatRequest) {
    redact_request(&redactor(), session, request, &|| false).expect("nothing is blocked");
}

fn body(protocol: Protocol, body: Value) -> Option<Body> {
    let Value::Object(fields) = body else { panic!("a body is an object") };
    Some(Body { protocol, fields, headers: Vec::new() })
}

#[test]
fn nouns_and_body_of_openai_are_redacted_alike() {
    let mut request = ChatRequest::new(
        "m",
        vec![
            Message::text(Role::System, "You serve Ada Lovelace."),
            Message::text(Role::User, "mail ada@example.com"),
            Message {
                role: Role::Assistant,
                parts: vec![Part::ToolCall {
                    id: "call_1".to_owned(),
                    name: "send".to_owned(),
                    arguments: r#"{"id":"ada@example.com","n":1}"#.to_owned(),
                }],
            },
            Message {
                role: Role::User,
                parts: vec![Part::ToolResult {
                    call_id: "call_1".to_owned(),
                    text: "sent from 203.0.113.9".to_owned(),
                    is_error: false,
                }],
            },
            Message::text(Role::User, "and call +1 415 555 2671"),
        ],
    );
    request.user = Some("ada@example.com".to_owned());
    request.body = body(
        Protocol::OpenAiChat,
        json!({
            "model": "m", "user": "ada@example.com", "stop": ["Ada"],
            "metadata": {"who": "Ada Lovelace"},
            "messages": [
                {"role": "system", "content": "You serve Ada Lovelace."},
                {"role": "user", "content": [{"type": "text", "text": "mail ada@example.com"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
                {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function",
                    "function": {"name": "send",
                        "arguments": "{\"id\":\"ada@example.com\",\"n\":1}"}}]},
                {"role": "tool", "tool_call_id": "call_1", "content": "sent from 203.0.113.9"},
                {"role": "user", "content": "and call +1 415 555 2671"},
            ],
            "unknown_field": ["mail ada@example.com"],
        }),
    );
    let mut session = session(Action::Token);
    redact(&mut session, &mut request);
    let told = format!("{request:?}");
    for private in PRIVATE {
        assert!(!told.contains(private), "{private} in {told}");
    }
    let fields = Value::from(request.body.clone().expect("it has a body").fields);
    assert_eq!(fields["messages"][0]["content"], "You serve <PERSON_1>.");
    assert_eq!(fields["messages"][1]["content"][0]["text"], "mail <EMAIL_1>");
    assert_eq!(
        fields["messages"][2]["tool_calls"][0]["function"]["arguments"],
        r#"{"id":"<EMAIL_1>","n":1}"#
    );
    assert_eq!(fields["messages"][4]["content"], "and call <PHONE_1>");
    assert_eq!(fields["unknown_field"][0], "mail <EMAIL_1>");
    assert_eq!(fields["metadata"]["who"], "<PERSON_1>");
    assert_eq!(request.messages[4], Message::text(Role::User, "and call <PHONE_1>"));
    assert_eq!(
        fields["messages"][1]["content"][1]["image_url"]["url"],
        "data:image/png;base64,AAAA"
    );
    assert!(told.contains("call_1") && told.contains("send"));
}

#[test]
fn anthropic_tool_inputs_and_results_are_redacted_and_schemas_stay() {
    let schema = json!({"type": "object", "properties": {"to": {"type": "string",
        "enum": ["ada@example.com"], "description": "such as ada@example.com"}}});
    let mut request = ChatRequest::new("m", vec![Message::text(Role::User, "hello")]);
    request.tools = vec![Tool {
        name: "send".to_owned(),
        description: Some("for Ada Lovelace".to_owned()),
        parameters: schema.clone(),
        strict: None,
    }];
    request.body = body(
        Protocol::AnthropicMessages,
        json!({
            "system": [{"type": "text", "text": "You serve Ada Lovelace."}],
            "tools": [{"name": "send", "description": "for Ada Lovelace", "input_schema": schema}],
            "messages": [
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "send",
                    "input": {"type": "ada@example.com", "deep": ["203.0.113.9"]}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1",
                    "content": [{"type": "text", "text": "ok, +1 415 555 2671"}]}]},
            ],
        }),
    );
    redact(&mut session(Action::Mask), &mut request);
    let fields = Value::from(request.body.clone().expect("it has a body").fields);
    assert_eq!(fields["system"][0]["text"], "You serve [PERSON].");
    let input = &fields["messages"][0]["content"][0]["input"];
    assert_eq!(*input, json!({"type": "[EMAIL]", "deep": ["[IP]"]}));
    assert_eq!(fields["messages"][1]["content"][0]["content"][0]["text"], "ok, [PHONE]");
    for schema in [&fields["tools"][0]["input_schema"], &request.tools[0].parameters] {
        assert_eq!(schema["properties"]["to"]["enum"][0], "ada@example.com");
        assert_eq!(schema["properties"]["to"]["description"], "such as [EMAIL]");
    }
    assert_eq!(fields["tools"][0]["description"], "for [PERSON]");
    assert_eq!(request.tools[0].description.as_deref(), Some("for [PERSON]"));
}

#[test]
fn a_token_anywhere_in_the_request_is_taken() {
    let messages = vec![
        Message::text(Role::User, "mail ada@example.com"),
        Message::text(Role::User, "what did <EMAIL_1> mean?"),
    ];
    let mut request = ChatRequest::new("m", messages);
    redact(&mut session(Action::Token), &mut request);
    assert_eq!(request.messages[0], Message::text(Role::User, "mail <EMAIL_2>"));
}

#[test]
fn a_block_anywhere_refuses_the_request() {
    let messages =
        vec![Message::text(Role::User, "hello"), Message::text(Role::User, "mail ada@example.com")];
    let mut request = ChatRequest::new("m", messages);
    let mut session = session(Action::Block);
    let blocked = redact_request(&redactor(), &mut session, &mut request, &|| false);
    let told = blocked.expect_err("it is blocked");
    assert!(matches!(told, RedactError::Blocked { .. }));
    assert!(!told.to_string().contains("ada"), "the value is not repeated: {told}");
}
