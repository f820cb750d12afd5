//! Google's Gemini API: requests as written, answers as read.

use headwater_models::chat::{
    Body, ChatError, ChatEvent, ChatRequest, Finish, Image, Message, OutputFormat, Part, Protocol,
    Role, Tool, ToolChoice, Usage,
};
use serde_json::{Value, json};

use super::{Answer, from_nouns};
use crate::codec::{self, Decoder, Step};
use crate::openai::LimitName;

fn read(stream: &[&str]) -> Result<Vec<ChatEvent>, ChatError> {
    let mut answer = Answer::default();
    let mut events = Vec::new();
    for data in stream {
        match answer.event(data)? {
            Step::Says(said) => events.extend(said),
            Step::Last(_) | Step::End => unreachable!("Gemini's end is the connection's"),
        }
    }
    answer.end().map(|()| events)
}

fn full() -> ChatRequest {
    let thought = Part::Thinking { text: "hm".to_owned(), signature: Some("sealed".to_owned()) };
    let call = Part::ToolCall {
        id: "t1".to_owned(),
        name: "weather".to_owned(),
        arguments: "{\"city\":\"Kyoto\"}".to_owned(),
    };
    let result =
        |is_error| Part::ToolResult { call_id: "t1".to_owned(), text: "rain".to_owned(), is_error };
    let picture = Image::Data { media_type: "image/png".to_owned(), base64: "AAAA".to_owned() };
    let mut request = ChatRequest::new(
        "gemini",
        vec![
            Message::text(Role::System, "be brief"),
            Message {
                role: Role::User,
                parts: vec![Part::Text("look".to_owned()), Part::Image(picture)],
            },
            Message { role: Role::Assistant, parts: vec![thought, call] },
            Message { role: Role::User, parts: vec![result(false), result(true)] },
        ],
    );
    request.tools = vec![Tool {
        name: "weather".to_owned(),
        description: Some("tells it".to_owned()),
        parameters: json!({"type": "object"}),
        strict: Some(true),
    }];
    request.sampling.temperature = Some(0.5);
    request.sampling.stop = vec!["END".to_owned()];
    request.max_tokens = Some(7);
    request.choices = 2;
    let (name, schema) = ("out".to_owned(), json!({"type": "object"}));
    request.format = OutputFormat::JsonSchema { name, schema, strict: None };
    request
}

#[test]
fn a_request_with_everything() {
    let call = json!({"id": "t1", "name": "weather", "args": {"city": "Kyoto"}});
    let result = |field: &str| json!({"id": "t1", "name": "weather", "response": {field: "rain"}});
    let expected = json!({
        "systemInstruction": {"parts": [{"text": "be brief"}]},
        "contents": [
            {"role": "user", "parts": [
                {"text": "look"}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]},
            {"role": "model", "parts": [{"functionCall": call, "thoughtSignature": "sealed"}]},
            {"role": "user", "parts": [
                {"functionResponse": result("result")}, {"functionResponse": result("error")}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "weather", "description": "tells it",
            "parametersJsonSchema": {"type": "object"}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"}},
        "generationConfig": {"temperature": 0.5, "stopSequences": ["END"], "maxOutputTokens": 7,
            "candidateCount": 2, "responseMimeType": "application/json",
            "responseJsonSchema": {"type": "object"}},
    });
    assert_eq!(from_nouns(&full()).map(Value::Object), Ok(expected));
}

#[test]
fn a_call_whose_signature_no_client_kept_says_so_to_models_that_ask() {
    let call = |id: &str| Part::ToolCall {
        id: id.to_owned(),
        name: "weather".to_owned(),
        arguments: "{}".to_owned(),
    };
    let skip = "skip_thought_signature_validator";
    for (model, first) in [
        ("gemini-3-pro-preview", Some(skip)),
        ("models/gemini-3.5-flash", Some(skip)),
        ("gemini-10", Some(skip)),
        ("gemini-2.5-flash", None),
        ("gemma-3", None),
    ] {
        let parts = vec![call("a"), call("b")];
        let request = ChatRequest::new(model, vec![Message { role: Role::Assistant, parts }]);
        let body = from_nouns(&request).expect("a body");
        let signature = |place: usize| {
            body["contents"][0]["parts"][place]["thoughtSignature"].as_str().map(str::to_owned)
        };
        assert_eq!((signature(0).as_deref(), signature(1)), (first, None), "{model}");
    }
}

#[test]
fn the_choice_of_a_tool() {
    let cases = [
        (ToolChoice::None, json!({"mode": "NONE"})),
        (ToolChoice::Required, json!({"mode": "ANY"})),
        (
            ToolChoice::Named("weather".to_owned()),
            json!({"mode": "ANY", "allowedFunctionNames": ["weather"]}),
        ),
    ];
    for (choice, expected) in cases {
        let mut request = full();
        request.tool_choice = choice;
        let body = from_nouns(&request).expect("a body");
        assert_eq!(body["toolConfig"]["functionCallingConfig"], expected);
    }
}

#[test]
fn what_the_protocol_lacks_is_refused_by_name() {
    type Change = fn(&mut ChatRequest);
    let cases: &[(&str, Change)] = &[
        ("`logprobs`", |request| request.logprobs = Some(1)),
        ("`parallel_tool_calls`", |request| request.parallel_tool_calls = Some(false)),
        ("image_url", |request| {
            let parts = vec![Part::Image(Image::Url("https://x/y.png".to_owned()))];
            request.messages.push(Message { role: Role::User, parts });
        }),
        ("tool_call_id", |request| {
            let (call_id, text) = ("unknown".to_owned(), String::new());
            let parts = vec![Part::ToolResult { call_id, text, is_error: false }];
            request.messages.push(Message { role: Role::User, parts });
        }),
    ];
    for (field, change) in cases {
        let mut request = full();
        change(&mut request);
        match from_nouns(&request) {
            Err(ChatError::Refused { status: 400, message, .. }) => {
                assert!(message.contains(field), "{field}: {message}");
            }
            other => unreachable!("{field}: {other:?}"),
        }
    }
}

#[test]
fn a_clients_body_goes_as_it_came() {
    let fields = json!({"contents": [], "safetySettings": [1]});
    let mut request = ChatRequest::new("gemini", Vec::new());
    request.stream = true;
    let fields_map = fields.as_object().expect("an object").clone();
    request.body =
        Some(Body { protocol: Protocol::Gemini, fields: fields_map, headers: Vec::new() });
    let body = codec::encode(Protocol::Gemini, &request, LimitName::MaxTokens);
    assert_eq!(body.map(Value::Object), Ok(fields));
}

const FIRST: &str = r#"{"candidates":[{"content":{"parts":[{"text":"hm","thought":true},{"text":"Hi"}]}}],"usageMetadata":{"promptTokenCount":5},"modelVersion":"gemini","responseId":"r1"}"#;
const STOP: &str = r#"{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":5,"cachedContentTokenCount":2,"candidatesTokenCount":3,"thoughtsTokenCount":4}}"#;

fn first() -> Vec<ChatEvent> {
    let (id, model) = (Some("r1".to_owned()), Some("gemini".to_owned()));
    vec![
        ChatEvent::Started { id, model },
        ChatEvent::Thinking { choice: 0, text: "hm".to_owned(), signature: None },
        ChatEvent::Text { choice: 0, text: "Hi".to_owned() },
        ChatEvent::Usage(Usage { input: 5, ..Usage::default() }),
    ]
}

fn last(reason: Finish) -> [ChatEvent; 2] {
    let usage = Usage { input: 5, output: 7, input_cached: 2, input_written: 0, reasoning: 4 };
    [ChatEvent::Finished { choice: 0, reason, stop: None }, ChatEvent::Usage(usage)]
}

#[test]
fn a_stream_of_text_counts_thoughts_as_output() {
    let mut expected = first();
    expected.extend(last(Finish::Stop));
    assert_eq!(read(&[FIRST, STOP]), Ok(expected));
}

#[test]
fn calls_have_ids_and_signatures() {
    let calls = r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"w","args":{"a":1}},"thoughtSignature":"sealed"},{"functionCall":{"id":"own","name":"v"}}]}}]}"#;
    let call = |index, id: &str, name: &str, arguments: &str| ChatEvent::ToolCall {
        choice: 0,
        index,
        id: Some(id.to_owned()),
        name: Some(name.to_owned()),
        arguments: arguments.to_owned(),
    };
    let signature = Some("sealed".to_owned());
    let mut expected = first();
    expected.extend([
        ChatEvent::Thinking { choice: 0, text: String::new(), signature },
        call(0, "call-r1-0-0", "w", "{\"a\":1}"),
        call(1, "own", "v", "{}"),
    ]);
    expected.extend(last(Finish::ToolCalls));
    assert_eq!(read(&[FIRST, calls, STOP]), Ok(expected));
}

#[test]
fn what_is_withheld_is_filtered() {
    let blocked = r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#;
    let unsafe_answer = r#"{"candidates":[{"index":0,"finishReason":"SAFETY"}]}"#;
    let finished = ChatEvent::Finished { choice: 0, reason: Finish::Filtered, stop: None };
    for body in [blocked, unsafe_answer] {
        let expected = vec![ChatEvent::Started { id: None, model: None }, finished.clone()];
        assert_eq!(read(&[body]), Ok(expected.clone()), "{body}");
        assert_eq!(Answer::default().whole(body), Ok(expected), "{body} whole");
    }
}

#[test]
fn what_is_no_complete_answer_is_cut() {
    let error = r#"{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}"#;
    let wrong_call = r#"{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL"}]}"#;
    let other = r#"{"candidates":[{"index":1,"content":{"parts":[{"text":"B"}]}}]}"#;
    let streams: &[&[&str]] =
        &[&[], &[FIRST], &[FIRST, error], &[FIRST, other, STOP], &[wrong_call], &["{}"], &["x"]];
    for stream in streams {
        let answer = read(stream);
        assert!(matches!(answer, Err(ChatError::Cut { .. })), "{stream:?}: {answer:?}");
    }
    let told = read(&[FIRST, error]);
    assert!(format!("{told:?}").contains("(UNAVAILABLE): overloaded"), "{told:?}");
}
