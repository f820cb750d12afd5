//! Whole answers of the tiny model, places in the queue, and streams that are dropped.

pub(super) mod made;
mod smollm2;

use std::path::Path;
use std::time::{Duration, Instant};

use futures_lite::StreamExt;
use futures_lite::future::block_on;
use headwater_models::chat::{
    ChatError, ChatEvent, ChatModel, ChatRequest, Finish, Message, Role, Sampling, Usage,
};

use super::{LocalChat, LocalChatSettings};
use crate::LoadError;
use made::{CONTEXT, UNKNOWN, settings, tiny};

pub(super) fn request(text: &str) -> ChatRequest {
    let sampling = Sampling { temperature: Some(0.0), ..Sampling::default() };
    let messages = vec![Message::text(Role::System, ""), Message::text(Role::User, text)];
    ChatRequest { sampling, ..ChatRequest::new("tiny", messages) }
}

/// What an answer said in the end.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) reason: Finish,
    pub(super) stop: Option<String>,
    pub(super) usage: Usage,
    pub(super) chunks: usize,
}

/// Reads an answer and checks the order of its events.
pub(super) fn ask(chat: &LocalChat, request: &ChatRequest) -> Result<Answer, ChatError> {
    let mut stream = block_on(chat.chat(request))?;
    let mut events = Vec::new();
    let mut chunks = 0;
    while let Some(chunk) = block_on(stream.next()) {
        let chunk = chunk?;
        assert!(chunk.said.is_none() && !chunk.events.is_empty());
        events.extend(chunk.events);
        chunks += 1;
    }
    let [ChatEvent::Started { id: None, model: Some(_) }, texts @ .., finished, usage] =
        &events[..]
    else {
        panic!("{events:?}");
    };
    let mut text = String::new();
    for event in texts {
        match event {
            ChatEvent::Text { choice: 0, text: piece } if !piece.is_empty() => text += piece,
            other => panic!("{other:?}"),
        }
    }
    match (finished, usage) {
        (ChatEvent::Finished { choice: 0, reason, stop }, ChatEvent::Usage(usage)) => {
            Ok(Answer { text, reason: *reason, stop: stop.clone(), usage: *usage, chunks })
        }
        other => panic!("{other:?}"),
    }
}

fn load(folder: &Path) -> LocalChat {
    LocalChat::load(&settings(&tiny(), folder)).unwrap()
}

#[test]
fn an_answer_is_the_same_in_parts_and_at_once_and_ends_at_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let chat = load(folder.path());
    let request = ChatRequest { max_tokens: Some(20), ..request("hello") };
    let whole = ask(&chat, &request).unwrap();
    let input = chat.count_tokens(&request).unwrap() as u64;
    assert_eq!(whole.usage, Usage { input, output: 20, ..Usage::default() });
    assert_eq!((whole.reason, &whole.stop, whole.chunks), (Finish::Length, &None, 1));
    assert!(!whole.text.is_empty());
    let streamed = ask(&chat, &ChatRequest { stream: true, ..request.clone() }).unwrap();
    assert!(streamed.chunks > 3, "{streamed:?}");
    assert_eq!(Answer { chunks: 1, ..streamed }, whole);
    let shared = LocalChatSettings { threads: 2, ..settings(&tiny(), folder.path()) };
    let threaded = ask(&LocalChat::load(&shared).unwrap(), &request).unwrap();
    assert_eq!(threaded, whole);
    drop(chat);
}

#[test]
fn an_answer_ends_before_a_stop_text() {
    let folder = tempfile::tempdir().unwrap();
    let chat = load(folder.path());
    let mut request = ChatRequest { max_tokens: Some(30), ..request("hello") };
    let whole = ask(&chat, &request).unwrap();
    let letters: Vec<char> = whole.text.chars().collect();
    let stop: String = letters[10..13].iter().collect();
    let before = &whole.text[..whole.text.find(&stop).unwrap()];
    request.sampling.stop = vec!["not there at all".to_owned(), stop.clone()];
    for stream in [false, true] {
        let answer = ask(&chat, &ChatRequest { stream, ..request.clone() }).unwrap();
        assert_eq!((answer.text.as_str(), answer.reason), (before, Finish::Stop));
        assert_eq!(answer.stop.as_ref(), Some(&stop));
        assert!(answer.usage.output < 30, "{answer:?}");
    }
}

#[test]
fn a_seed_draws_the_same_answer_again() {
    let folder = tempfile::tempdir().unwrap();
    let chat = load(folder.path());
    let draw = |seed: i64| {
        let mut request = ChatRequest { max_tokens: Some(20), ..request("hello") };
        request.sampling = Sampling {
            temperature: Some(1.5),
            top_p: Some(1.0),
            seed: Some(seed),
            ..Sampling::default()
        };
        ask(&chat, &request).unwrap()
    };
    assert_eq!(draw(3), draw(3));
    assert_ne!(draw(3), draw(4));
}

#[test]
fn the_context_ends_an_answer_and_refuses_a_prompt() {
    let folder = tempfile::tempdir().unwrap();
    let chat = load(folder.path());
    assert_eq!(chat.context(), CONTEXT);
    let input = chat.count_tokens(&request("hello")).unwrap();
    for max_tokens in [None, Some(u64::MAX)] {
        let answer = ask(&chat, &ChatRequest { max_tokens, ..request("hello") }).unwrap();
        assert_eq!(answer.reason, Finish::Length);
        assert_eq!(answer.usage.output, (CONTEXT - input) as u64);
    }
    // Each of these letters is a token of its own.
    let fill = |prompt: usize| "1".repeat(prompt - chat.count_tokens(&request("")).unwrap());
    let answer = ask(&chat, &request(&fill(CONTEXT - 1))).unwrap();
    assert_eq!((answer.reason, answer.usage.output), (Finish::Length, 1));
    for (text, length) in [(fill(CONTEXT), "have 128 tokens"), ("1".repeat(99_999), "at least ")] {
        for error in [ask(&chat, &request(&text)).err(), chat.count_tokens(&request(&text)).err()] {
            let Some(ChatError::Refused { status: 400, code, message }) = error else {
                panic!("{error:?}");
            };
            assert_eq!(code.as_deref(), Some("context_length_exceeded"));
            assert!(message.contains(length) && message.contains("127 of its 128"), "{message}");
        }
    }
    let narrow = LocalChatSettings { context: 30, ..settings(&tiny(), folder.path()) };
    assert_eq!(LocalChat::load(&narrow).unwrap().context(), 30);
}

#[test]
fn a_text_without_tokens_is_refused_by_its_message() {
    let folder = tempfile::tempdir().unwrap();
    let chat = load(folder.path());
    match ask(&chat, &request(&format!("secret {}", char::from(UNKNOWN)))) {
        Err(ChatError::Refused { status: 400, message, .. }) => {
            assert!(message.contains("messages[1] holds the character U+0004"), "{message}");
            assert!(!message.contains("secret"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

/// Waits until a request is taken again; the sequence notices a dropped stream at its next token.
fn until_taken(chat: &LocalChat, request: &ChatRequest) -> Answer {
    let start = Instant::now();
    loop {
        match ask(chat, request) {
            Err(ChatError::Limited { .. }) if start.elapsed() < Duration::from_secs(60) => {
                std::thread::sleep(Duration::from_millis(5));
            }
            answer => return answer.unwrap(),
        }
    }
}

/// A model whose answers take so long that no test waits for one.
fn endless(folder: &Path, queue: usize) -> LocalChat {
    use crate::gguf::Value;
    let mut made = tiny();
    made.set("llama.context_length", Value::Unsigned(1 << 30));
    let context = 200_000;
    let settings = LocalChatSettings { queue, context, ..settings(&made, folder) };
    LocalChat::load(&settings).unwrap()
}

#[test]
fn a_full_queue_is_told_and_a_dropped_stream_frees_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let chat = endless(folder.path(), 1);
    let begin = || {
        let request = ChatRequest { stream: true, ..request("hello") };
        block_on(chat.chat(&request))
    };
    let mut first = begin().unwrap();
    // It has begun once it says something.
    block_on(first.next()).unwrap().unwrap();
    let waiting = begin().unwrap();
    for _ in 0..2 {
        match begin().err() {
            Some(ChatError::Limited { retry_after_ms: None, message }) => {
                assert!(message.contains("1 answers and 1 wait"), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
    // One that waited and was dropped takes no place, though the first still writes.
    drop(waiting);
    let mut second = begin().unwrap();
    assert!(matches!(begin().err(), Some(ChatError::Limited { .. })));
    // The first stops when it is dropped: only then does the second begin.
    drop(first);
    block_on(second.next()).unwrap().unwrap();
    drop(second);
    let short = ChatRequest { max_tokens: Some(3), ..request("hello") };
    assert_eq!(until_taken(&chat, &short).usage.output, 3);
}

/// An answer that is not streamed has nothing to say before its end; it stops all the same.
#[test]
fn a_dropped_answer_stops_without_having_said_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let chat = endless(folder.path(), 0);
    for stream in [false, true, false] {
        let long = ChatRequest { stream, ..request("hello") };
        let answer = block_on(chat.chat(&long)).unwrap();
        assert!(matches!(ask(&chat, &long), Err(ChatError::Limited { .. })));
        drop(answer);
        let short = ChatRequest { max_tokens: Some(2), ..request("hello") };
        assert_eq!(until_taken(&chat, &short).usage.output, 2);
    }
}

#[test]
fn what_was_accepted_is_answered_after_the_handle_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let chat = LocalChat::load(&LocalChatSettings { queue: 1, ..settings(&tiny(), folder.path()) })
        .unwrap();
    let mut streams: Vec<_> =
        (0..2).map(|_| block_on(chat.chat(&request("hello"))).unwrap()).collect();
    drop(chat);
    for stream in &mut streams {
        let chunk = block_on(stream.next()).unwrap().unwrap();
        assert!(matches!(chunk.events.last(), Some(ChatEvent::Usage(_))));
        assert!(block_on(stream.next()).is_none());
    }
}

#[test]
fn several_sequences_write_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let chat =
        LocalChat::load(&LocalChatSettings { sequences: 3, ..settings(&tiny(), folder.path()) })
            .unwrap();
    let alone = ask(&load(folder.path()), &request("hello 2")).unwrap();
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let one = |index: usize| {
            let chat = chat.clone();
            scope.spawn(move || ask(&chat, &request(&format!("hello {index}"))).unwrap())
        };
        let threads: Vec<_> = (0..3).map(one).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(answers[2], alone);
}

#[test]
fn settings_and_folders_that_cannot_be_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let sound = settings(&tiny(), folder.path());
    let check = |settings: LocalChatSettings, expected: &str| {
        let error = LocalChat::load(&settings).err().map(|error| error.to_string());
        let error = error.unwrap_or_default();
        assert!(error.contains(expected), "{expected:?} in {error:?}");
    };
    check(LocalChatSettings { sequences: 0, ..sound.clone() }, "sequences is 0");
    check(LocalChatSettings { sequences: 257, ..sound.clone() }, "allowed: 1 to 256");
    check(LocalChatSettings { threads: 257, ..sound.clone() }, "threads is 257");
    check(LocalChatSettings { context: 1, ..sound.clone() }, "context is 1");
    check(LocalChatSettings { folder: "/nowhere".into(), ..sound.clone() }, "/nowhere/*.gguf");
    std::fs::write(folder.path().join("second.gguf"), "x").unwrap();
    check(sound.clone(), "the folder has 2 of them");
    std::fs::remove_file(folder.path().join("tiny.gguf")).unwrap();
    check(sound.clone(), "second.gguf: magic");
    std::fs::remove_file(folder.path().join("second.gguf")).unwrap();
    check(sound.clone(), "no such file");
    let other = crate::gguf::Value::Text("{{ messages }}".to_owned());
    let mut made = tiny();
    check(settings(made.set("tokenizer.chat_template", other), folder.path()), "another template");
    let error = LocalChat::load(&settings(tiny().remove("tokenizer.chat_template"), folder.path()));
    assert!(matches!(error.err(), Some(LoadError::Malformed { .. })));
}
