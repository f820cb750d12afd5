//! The adapter against a server: addresses, headers, streams, faults, times and cancellation.

mod server;

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use headwater_models::chat::{
    ChatError, ChatEvent, ChatModel, ChatRequest, Chunk, Message, Protocol, Role,
};
use reqwest::Url;

use crate::{ApiKey, RemoteChat, RemoteChatSettings};
use server::{Act, Seen, Server, stream_end, stream_head, whole};

const KEY: &str = "sk-secret";
const OPENAI: &[&str] = &[
    "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Kyōto \"}}]}\n\n",
    ": keep-alive\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"京都\"},\"finish_reason\":\"stop\"}]}\n\n",
    "data: [DONE]\n\n",
];

fn settings(protocol: Protocol, port: u16) -> RemoteChatSettings {
    let base_url = format!("http://127.0.0.1:{port}/v1/");
    RemoteChatSettings { base_url, ..RemoteChatSettings::of(protocol, ApiKey::new(KEY)) }
}

fn request(stream: bool) -> ChatRequest {
    let mut request = ChatRequest::new("some-model", vec![Message::text(Role::User, "hi")]);
    request.stream = stream;
    request
}

/// All chunks, and the error that ended them.
async fn all(model: &RemoteChat, request: &ChatRequest) -> (Vec<Chunk>, Option<ChatError>) {
    let mut stream = match model.chat(request).await {
        Ok(stream) => stream,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut chunks = Vec::new();
    while let Some(next) = stream.next().await {
        match next {
            Ok(chunk) => chunks.push(chunk),
            Err(error) => {
                assert!(stream.next().await.is_none(), "nothing follows an error");
                return (chunks, Some(error));
            }
        }
    }
    assert!(stream.next().await.is_none(), "nothing follows the end");
    (chunks, None)
}

fn text(chunks: &[Chunk]) -> String {
    let events = chunks.iter().flat_map(|chunk| &chunk.events);
    let texts = events.filter_map(|event| match event {
        ChatEvent::Text { text, .. } => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

/// What a streamed answer to an OpenAI request gives when the server does this.
async fn streamed(acts: Vec<Act>) -> (Vec<Chunk>, Option<ChatError>) {
    let server = Server::start(acts).await;
    let mut settings = settings(Protocol::OpenAiChat, server.port);
    settings.first_byte_timeout_ms = 400;
    settings.idle_timeout_ms = 200;
    settings.answer_timeout_ms = 300;
    all(&RemoteChat::new(settings).expect("a client"), &request(true)).await
}

fn chunk(text: &str) -> Act {
    Act::Chunk(text.as_bytes().to_vec())
}

#[tokio::test]
async fn each_protocol_has_its_address_and_headers() {
    let cases = [
        (Protocol::OpenAiChat, false, "/v1/chat/completions", "authorization: Bearer sk-secret"),
        (Protocol::AnthropicMessages, true, "/v1/messages", "x-api-key: sk-secret"),
        (
            Protocol::Gemini,
            false,
            "/v1/models/some-model:generateContent",
            "x-goog-api-key: sk-secret",
        ),
        (
            Protocol::Gemini,
            true,
            "/v1/models/some-model:streamGenerateContent?alt=sse",
            "x-goog-api-key: sk-secret",
        ),
    ];
    for (protocol, stream, path, header) in cases {
        let mut server = Server::start(vec![whole(500, "", "{}")]).await;
        let mut settings = settings(protocol, server.port);
        settings.headers = vec![("x-more".to_owned(), "yes".to_owned())];
        let model = RemoteChat::new(settings).expect("a client");
        assert!(model.chat(&request(stream)).await.is_err());
        let Seen::Request(head, _) = server.seen().await else {
            unreachable!("the client stays");
        };
        assert!(head.starts_with(&format!("POST {path} HTTP/1.1\r\n")), "{head}");
        for line in [header, "x-more: yes", "content-type: application/json"] {
            assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} in {head}");
        }
        let has_version = head.contains("anthropic-version: 2023-06-01");
        assert_eq!(has_version, protocol == Protocol::AnthropicMessages);
    }
}

#[tokio::test]
async fn a_stream_is_the_same_in_one_piece_and_byte_by_byte() {
    let joined = OPENAI.concat();
    let bytes = joined.bytes().map(|byte| Act::Chunk(vec![byte]));
    let each: Vec<Act> = OPENAI.iter().copied().map(chunk).collect();
    for body in [vec![chunk(&joined)], each, bytes.collect()] {
        let mut acts = vec![stream_head()];
        acts.extend(body);
        acts.push(stream_end());
        let (chunks, error) = streamed(acts).await;
        assert_eq!(error, None);
        assert_eq!(chunks.len(), 2, "a comment is no chunk, and neither is the end");
        assert_eq!(text(&chunks), "Kyōto 京都");
        let said = chunks[1].said.as_ref().expect("the provider's words");
        let expected = OPENAI[2].trim_start_matches("data: ").trim_end();
        assert_eq!((said.data.as_str(), &said.event), (expected, &None));
    }
}

#[tokio::test]
async fn a_stream_without_its_end_is_cut() {
    let begun = || vec![stream_head(), chunk(OPENAI[0])];
    let with = |more: Vec<Act>| begun().into_iter().chain(more).collect::<Vec<Act>>();
    let not_utf8 = Act::Chunk(b"data: \xff\n\n".to_vec());
    let long = "x".repeat(1 << 20);
    let mut too_long = vec![chunk("data: ")];
    too_long.extend((0..17).map(|_| chunk(&long)));
    let cases = [
        ("the connection closes", with(vec![Act::Close])),
        ("the body ends", with(vec![stream_end()])),
        ("the end lacks its blank line", with(vec![chunk("data: [DONE]\n"), stream_end()])),
        ("garbage", with(vec![chunk("data: {\"choices\n\n")])),
        ("no text", with(vec![not_utf8])),
        ("an error", with(vec![chunk("data: {\"error\":{\"message\":\"for sk-secret\"}}\n\n")])),
        ("too long an event", with(too_long)),
    ];
    for (name, acts) in cases {
        let (chunks, error) = streamed(acts).await;
        assert_eq!(text(&chunks), "Kyōto ", "{name}: what came first is told");
        assert!(matches!(error, Some(ChatError::Cut { .. })), "{name}: {error:?}");
        assert!(!format!("{error:?}").contains(KEY), "{name}: {error:?}");
    }
}

#[tokio::test]
async fn an_event_of_a_megabyte_is_read() {
    let long = "x".repeat(1 << 20);
    let event = format!(
        "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{long}\"}},\
         \"finish_reason\":\"stop\"}}]}}\n\ndata: [DONE]\n\n"
    );
    let (chunks, error) = streamed(vec![stream_head(), chunk(&event), stream_end()]).await;
    assert_eq!((text(&chunks).len(), error), (long.len(), None));
}

#[tokio::test]
async fn times_are_bounded() {
    let pause = || Act::Pause(Duration::from_secs(20));
    let never = streamed(vec![pause()]).await;
    assert_eq!(never, (Vec::new(), Some(ChatError::TimedOut { after_ms: 400 })));
    let no_body = streamed(vec![stream_head(), pause()]).await;
    assert_eq!(no_body, (Vec::new(), Some(ChatError::TimedOut { after_ms: 400 })));
    let (chunks, error) = streamed(vec![stream_head(), chunk(OPENAI[0]), pause()]).await;
    assert_eq!((chunks.len(), error), (1, Some(ChatError::TimedOut { after_ms: 200 })));
    let server = Server::start(vec![pause()]).await;
    let mut settings = settings(Protocol::OpenAiChat, server.port);
    settings.answer_timeout_ms = 300;
    let model = RemoteChat::new(settings).expect("a client");
    let (_, error) = all(&model, &request(false)).await;
    assert_eq!(error, Some(ChatError::TimedOut { after_ms: 300 }));
}

#[tokio::test]
async fn whole_answers_and_refusals() {
    let body = r#"{"id":"c1","choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}"#;
    let refusal = r#"{"error":{"message":"no model","code":"model_not_found"}}"#;
    let refused = ChatError::Refused {
        status: 422,
        code: Some("model_not_found".to_owned()),
        message: "no model".to_owned(),
    };
    let message = "no reason given".to_owned();
    let limited = ChatError::Limited { retry_after_ms: Some(7_000), message };
    let cases = [
        (whole(200, "", body), None),
        (whole(422, "", refusal), Some(refused)),
        (whole(404, "", refusal), Some(ChatError::Misconfigured { status: 404 })),
        (whole(429, "retry-after: 7\r\n", "{}"), Some(limited)),
        (whole(401, "", "{}"), Some(ChatError::Misconfigured { status: 401 })),
    ];
    for (act, expected) in cases {
        for stream in [false, true] {
            let server = Server::start(vec![act.clone()]).await;
            let settings = settings(Protocol::OpenAiChat, server.port);
            let model = RemoteChat::new(settings).expect("a client");
            let (chunks, error) = all(&model, &request(stream)).await;
            match (&expected, stream) {
                (None, false) => assert_eq!((text(&chunks).as_str(), error), ("Hi", None)),
                // A whole body in place of a stream is a fault of the provider.
                (None, true) => {
                    assert!(matches!(error, Some(ChatError::Unavailable { .. })), "{error:?}");
                }
                (expected, _) => assert_eq!(error, *expected),
            }
        }
    }
}

#[tokio::test]
async fn nobody_there_is_unavailable_and_names_no_address() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let model = RemoteChat::new(settings(Protocol::OpenAiChat, port)).expect("a client");
    let error = all(&model, &request(true)).await.1.expect("an error");
    let mut patient = settings(Protocol::OpenAiChat, port);
    patient.first_byte_timeout_ms = u64::MAX;
    patient.answer_timeout_ms = u64::MAX;
    let patient = RemoteChat::new(patient).expect("a client");
    for stream in [false, true] {
        assert_eq!(all(&patient, &request(stream)).await.1.as_ref(), Some(&error));
    }
    assert!(matches!(error, ChatError::Unavailable { status: None, .. }), "{error:?}");
    assert!(!format!("{error:?} {error}").contains(&port.to_string()), "{error:?}");
}

#[tokio::test]
async fn to_drop_is_to_leave_at_once() {
    let begun = vec![stream_head(), chunk(OPENAI[0]), Act::AwaitLeave];
    let mut server = Server::start(begun).await;
    let settings_of = |port| settings(Protocol::OpenAiChat, port);
    let model = RemoteChat::new(settings_of(server.port)).expect("a client");
    let mut stream = model.chat(&request(true)).await.expect("a stream");
    assert!(stream.next().await.is_some());
    assert!(matches!(server.seen().await, Seen::Request(..)));
    let dropped = Instant::now();
    drop(stream);
    assert_eq!(server.seen().await, Seen::Left);
    assert!(dropped.elapsed() < Duration::from_secs(1), "{:?}", dropped.elapsed());

    for stream in [true, false] {
        let mut server = Server::start(vec![Act::AwaitLeave]).await;
        let model = RemoteChat::new(settings_of(server.port)).expect("a client");
        let asked = tokio::spawn(async move { model.chat(&request(stream)).await.map(drop) });
        assert!(matches!(server.seen().await, Seen::Request(..)));
        asked.abort();
        assert_eq!(server.seen().await, Seen::Left, "stream {stream}, before any answer");
    }
}

#[tokio::test]
async fn a_connection_serves_one_answer_after_the_other() {
    let mut acts = vec![stream_head()];
    acts.extend(OPENAI.iter().copied().map(chunk));
    // The body's end comes late, after the answer's.
    acts.extend([Act::Pause(Duration::from_millis(50)), stream_end()]);
    let server = Server::start(acts).await;
    let model = RemoteChat::new(settings(Protocol::OpenAiChat, server.port)).expect("a client");
    for _ in 0..3 {
        let (chunks, error) = all(&model, &request(true)).await;
        assert_eq!((text(&chunks).as_str(), error), ("Kyōto 京都", None));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn settings_are_checked_and_show_no_secret() {
    let with = |base_url: &str, key: &str| {
        let key = ApiKey::new(key);
        let settings = RemoteChatSettings::of(Protocol::OpenAiChat, key);
        RemoteChatSettings { base_url: base_url.to_owned(), ..settings }
    };
    for address in ["", "host", "ftp://host/v1", "https://user:sk-secret@host/v1", "data:x"] {
        let error = RemoteChat::new(with(address, KEY)).err().expect(address);
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let error = RemoteChat::new(with("https://host/v1", "sk-secret\n")).err();
    assert!(error.is_some_and(|error| !error.to_string().contains("secret")));
    let mut settings = with("https://host/v1?key=sk-secret", KEY);
    settings.headers = vec![("api-key".to_owned(), "sk-secret".to_owned())];
    assert!(!format!("{settings:?}").contains("secret"), "{settings:?}");
    for protocol in [Protocol::OpenAiChat, Protocol::AnthropicMessages, Protocol::Gemini] {
        let settings = RemoteChatSettings::of(protocol, ApiKey::new(""));
        assert!(Url::parse(&settings.base_url).is_ok());
        assert!(RemoteChat::new(settings).is_ok());
    }
}
