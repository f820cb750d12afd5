//! The simulator of a provider, through the adapter that talks to real ones.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use headwater_models::chat::{
    Body, ChatError, ChatEvent, ChatModel, ChatRequest, Finish, Message, Part, Protocol, Role,
    Tool, Usage,
};
use headwater_models_remote::{ApiKey, RemoteChat, RemoteChatSettings};
use headwater_tests::upstream::{Fault, Outcome, Record, Simulator, UPSTREAM_KEY};
use serde_json::json;

const BOTH: [Protocol; 2] = [Protocol::OpenAiChat, Protocol::AnthropicMessages];
const HANG: Duration = Duration::from_secs(10);

fn client(simulator: &Simulator, protocol: Protocol, key: &str) -> RemoteChat {
    let settings = RemoteChatSettings {
        base_url: simulator.base_url(),
        first_byte_timeout_ms: 1_000,
        idle_timeout_ms: 1_000,
        answer_timeout_ms: 1_000,
        ..RemoteChatSettings::of(protocol, ApiKey::new(key))
    };
    RemoteChat::new(settings).expect("a client")
}

fn request(text: &str, stream: bool) -> ChatRequest {
    let messages = vec![Message::text(Role::System, "be brief"), Message::text(Role::User, text)];
    ChatRequest { stream, ..ChatRequest::new("river", messages) }
}

/// What a client has of an answer in the end.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    text: String,
    arguments: String,
    usage: Usage,
    finish: Option<Finish>,
    error: Option<ChatError>,
}

async fn hear(model: &RemoteChat, request: &ChatRequest) -> Heard {
    let mut heard = Heard::default();
    let mut stream = match model.chat(request).await {
        Ok(stream) => stream,
        Err(error) => return Heard { error: Some(error), ..heard },
    };
    while let Some(chunk) = stream.next().await {
        match chunk {
            Err(error) => heard.error = Some(error),
            Ok(chunk) => chunk.events.into_iter().for_each(|event| match event {
                ChatEvent::Text { text, .. } => heard.text.push_str(&text),
                ChatEvent::ToolCall { arguments, .. } => heard.arguments.push_str(&arguments),
                ChatEvent::Usage(usage) => heard.usage = usage,
                ChatEvent::Finished { reason, .. } => heard.finish = Some(reason),
                _ => {}
            }),
        }
    }
    heard
}

/// Runs `test` to its end; the simulator has a runtime of its own.
fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(test)
}

fn only(simulator: &Simulator) -> Record {
    let records = simulator.settled(HANG).expect("the request ends");
    assert_eq!(records.len(), 1);
    records[0].clone()
}

#[test]
fn answers_are_the_same_in_both_protocols_streamed_and_whole() {
    let cases = [
        ("words:5", None, "water runs down from the", 5, Finish::Stop),
        ("words:5", Some(2), "water runs", 2, Finish::Length),
        ("the river at night", None, "the river at night", 4, Finish::Stop),
    ];
    for (words, limit, text, output, finish) in cases {
        for (protocol, stream) in
            BOTH.into_iter().flat_map(|protocol| [(protocol, true), (protocol, false)])
        {
            let simulator = Simulator::start().expect("a simulator");
            let model = client(&simulator, protocol, UPSTREAM_KEY);
            let asked = ChatRequest { max_tokens: limit, ..request(words, stream) };
            let input = 2 + words.split_whitespace().count() as u64;
            let usage = Usage { input, output, ..Usage::default() };
            let heard = run(hear(&model, &asked));
            let finish = Some(finish);
            let expected = Heard { text: text.to_owned(), usage, finish, ..Heard::default() };
            assert_eq!(heard, expected, "{words} {protocol:?} {stream}");
            let record = only(&simulator);
            assert_eq!((record.input, record.output), (input, output));
            assert_eq!((record.outcome, record.stream), (Outcome::Finished, stream));
            assert_eq!(record.model, "river");
            let has_secret = record.headers.iter().any(|(_, value)| value.contains(UPSTREAM_KEY));
            assert!(!has_secret, "{record:?}");
        }
    }
}

#[test]
fn a_tool_is_called_and_its_result_repeated() {
    for (protocol, stream) in
        BOTH.into_iter().flat_map(|protocol| [(protocol, true), (protocol, false)])
    {
        let simulator = Simulator::start().expect("a simulator");
        let model = client(&simulator, protocol, UPSTREAM_KEY);
        let mut asked = request("how is it", stream);
        let (name, parameters) = ("weather".to_owned(), json!({"type": "object"}));
        asked.tools = vec![Tool { name, description: None, parameters, strict: None }];
        run(async {
            let heard = hear(&model, &asked).await;
            let arguments: serde_json::Value =
                serde_json::from_str(&heard.arguments).expect("arguments");
            assert_eq!(arguments, json!({"city": "Kyoto"}), "{protocol:?} {stream}");
            assert_eq!((heard.finish, heard.usage.output), (Some(Finish::ToolCalls), 2));
            let call = Part::ToolCall {
                id: "t1".to_owned(),
                name: "weather".to_owned(),
                arguments: heard.arguments,
            };
            let (call_id, text) = ("t1".to_owned(), "it rains".to_owned());
            let result = Part::ToolResult { call_id, text, is_error: false };
            asked.messages.push(Message { role: Role::Assistant, parts: vec![call] });
            asked.messages.push(Message { role: Role::User, parts: vec![result] });
            let heard = hear(&model, &asked).await;
            assert_eq!(heard.text, "The tool says: it rains", "{protocol:?} {stream}");
        });
    }
}

/// What kind of error it is, and with what numbers.
fn kind(error: Option<&ChatError>) -> String {
    match error {
        None => "none".to_owned(),
        Some(ChatError::Refused { status, .. }) => format!("refused {status}"),
        Some(ChatError::Misconfigured { status }) => format!("misconfigured {status}"),
        Some(ChatError::Limited { retry_after_ms, .. }) => format!("limited {retry_after_ms:?}"),
        Some(ChatError::Unavailable { status, .. }) => format!("unavailable {status:?}"),
        Some(ChatError::TimedOut { after_ms }) => format!("timed out {after_ms}"),
        Some(ChatError::Cut { .. }) => "cut".to_owned(),
    }
}

#[test]
fn each_fault_is_the_right_error() {
    let pause = Duration::from_millis(30);
    let long = Duration::from_secs(30);
    let rest = "runs down";
    let all = "water runs down";
    let cases = [
        (Fault::Status(429, Some(7)), "limited Some(7000)", "", Outcome::Refused(429)),
        (Fault::Status(529, None), "limited None", "", Outcome::Refused(529)),
        (Fault::Status(500, None), "unavailable Some(500)", "", Outcome::Refused(500)),
        (Fault::Status(400, None), "refused 400", "", Outcome::Refused(400)),
        (Fault::SlowFirstByte(pause), "none", all, Outcome::Finished),
        (Fault::SlowFirstByte(long), "timed out 1000", "", Outcome::Cancelled),
        (Fault::SlowTokens(pause), "none", all, Outcome::Finished),
        (Fault::SlowTokens(long), "timed out 1000", "", Outcome::Cancelled),
        (Fault::CutAfter(1), "cut", "water", Outcome::Broken),
        (Fault::CutAfter(3), "cut", all, Outcome::Broken),
        (Fault::Garbage, "cut", "water", Outcome::Broken),
        (Fault::ErrorEvent, "cut", "water", Outcome::Broken),
        (Fault::CrLf, "none", all, Outcome::Finished),
        (Fault::ByteByByte, "none", all, Outcome::Finished),
        (Fault::Comments, "none", all, Outcome::Finished),
        (Fault::HugeEvent, "none", rest, Outcome::Finished),
        (Fault::Silence, "timed out 1000", "", Outcome::Cancelled),
    ];
    for (fault, error, text, outcome) in cases {
        for protocol in BOTH {
            let simulator = Simulator::start().expect("a simulator");
            let model = client(&simulator, protocol, UPSTREAM_KEY);
            simulator.next(fault.clone());
            let heard = run(hear(&model, &request("words:3", true)));
            assert_eq!(kind(heard.error.as_ref()), error, "{fault:?} {protocol:?}");
            let said = heard.text.trim_start_matches('x').trim_start();
            assert_eq!(said, text, "{fault:?} {protocol:?}");
            let record = only(&simulator);
            assert_eq!(record.outcome, outcome, "{fault:?} {protocol:?}");
            if outcome == Outcome::Finished {
                assert_eq!(heard.usage.output, record.output, "{fault:?} {protocol:?}");
            }
        }
    }
}

#[test]
fn faults_of_whole_answers_are_the_right_errors() {
    let cases = [
        (Fault::Status(429, Some(7)), "limited Some(7000)"),
        (Fault::CutAfter(1), "cut"),
        (Fault::Garbage, "cut"),
        (Fault::ErrorEvent, "unavailable Some(500)"),
        (Fault::HugeEvent, "none"),
        (Fault::Silence, "timed out 1000"),
    ];
    for (fault, error) in cases {
        for protocol in BOTH {
            let simulator = Simulator::start().expect("a simulator");
            let model = client(&simulator, protocol, UPSTREAM_KEY);
            simulator.next(fault.clone());
            let heard = run(hear(&model, &request("words:3", false)));
            assert_eq!(kind(heard.error.as_ref()), error, "{fault:?} {protocol:?}");
        }
    }
}

#[test]
fn words_models_and_keys_choose_the_error() {
    let cases = [
        ("please fault:429:2 now", "river", UPSTREAM_KEY, "limited Some(2000)"),
        ("fault:500", "river", UPSTREAM_KEY, "unavailable Some(500)"),
        ("fault:cut", "river", UPSTREAM_KEY, "cut"),
        ("fault:unknown", "river", UPSTREAM_KEY, "none"),
        ("hi", "missing", UPSTREAM_KEY, "misconfigured 404"),
        ("hi", "river", "another-key", "misconfigured 401"),
    ];
    for (text, model_name, key, error) in cases {
        for protocol in BOTH {
            let simulator = Simulator::start().expect("a simulator");
            let model = client(&simulator, protocol, key);
            let mut asked = request(text, true);
            asked.model = model_name.to_owned();
            let heard = run(hear(&model, &asked));
            assert_eq!(kind(heard.error.as_ref()), error, "{text} {model_name} {protocol:?}");
        }
    }
}

#[test]
fn the_simulator_notices_at_once_that_a_client_leaves() {
    for protocol in BOTH {
        let simulator = Simulator::start().expect("a simulator");
        let model = client(&simulator, protocol, UPSTREAM_KEY);
        simulator.next(Fault::SlowTokens(Duration::from_millis(100)));
        let asked = request("words:1000", true);
        let left_at = run(async {
            let mut stream = model.chat(&asked).await.expect("a stream");
            for _ in 0..4 {
                assert!(stream.next().await.is_some_and(|chunk| chunk.is_ok()));
            }
            drop(stream);
            let left_at = Instant::now();
            // The connection closes on the runtime, which must live on for that.
            tokio::time::sleep(Duration::from_millis(500)).await;
            left_at
        });
        let record = only(&simulator);
        assert_eq!(record.outcome, Outcome::Cancelled);
        assert!((1..20).contains(&record.output), "{record:?}");
        let after = record.ended_at.map(|ended_at| ended_at.saturating_duration_since(left_at));
        assert!(after.is_some_and(|after| after < Duration::from_millis(400)), "{after:?}");
    }
}

#[test]
fn vectors_come_from_a_provider_of_openais_protocol_and_from_no_other() {
    let texts = ["the river", "runs down to the sea"];
    let messages = texts.iter().map(|text| Message::text(Role::User, *text)).collect();
    let mut fields = serde_json::Map::new();
    fields.insert("dimensions".to_owned(), json!(2));
    let protocol = Protocol::OpenAiEmbeddings;
    let body = Some(Body { protocol, fields, headers: Vec::new() });
    let asked = ChatRequest { body, ..ChatRequest::new("river", messages) };
    for protocol in BOTH {
        let simulator = Simulator::start().expect("a simulator");
        let model = client(&simulator, protocol, UPSTREAM_KEY);
        let heard = run(async {
            let mut stream = model.chat(&asked).await?;
            let chunk = stream.next().await.expect("a chunk")?;
            assert!(stream.next().await.is_none());
            Ok::<_, ChatError>(chunk.events)
        });
        if protocol == Protocol::AnthropicMessages {
            assert_eq!(kind(heard.err().as_ref()), "refused 400");
            assert!(simulator.records().is_empty(), "it is not asked");
            continue;
        }
        let events = heard.expect("vectors");
        let vectors = events.iter().find_map(|event| match event {
            ChatEvent::Vectors { data } => Some(data.clone()),
            _ => None,
        });
        let vectors = vectors.expect("vectors");
        assert_eq!(vectors[0]["embedding"], json!([2, 9]));
        assert_eq!(vectors[1]["embedding"], json!([5, 20]));
        let usage = Usage { input: 7, ..Usage::default() };
        assert!(events.contains(&ChatEvent::Usage(usage)), "{events:?}");
        let record = only(&simulator);
        assert_eq!((record.path.as_str(), record.input, record.output), ("/v1/embeddings", 7, 0));
        let faulty = ChatRequest {
            messages: vec![Message::text(Role::User, "fault:429:7")],
            ..asked.clone()
        };
        let refused = run(model.chat(&faulty)).err();
        assert_eq!(kind(refused.as_ref()), "limited Some(7000)");
    }
}
