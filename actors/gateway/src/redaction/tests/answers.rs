//! Answers: tokens become values, whatever the chunks are, and the provider's words go.

use std::sync::Arc;

use headwater_models::chat::{ChatEvent, Chunk, Finish, Protocol, Said};

use super::{redacted, redactor, rules, session};
use crate::redaction::{
    Action, AnswerRedaction, Entity, RedactError, RedactionPolicy, RedactionSession,
};

fn answer(policy: RedactionPolicy, request: &str) -> AnswerRedaction {
    let mut session = RedactionSession::new(Arc::new(policy));
    redacted(&mut session, request);
    AnswerRedaction::new(&redactor(), &session)
}

fn text(text: &str) -> ChatEvent {
    ChatEvent::Text { choice: 0, text: text.to_owned() }
}

fn call(index: u32, first: bool, arguments: &str) -> ChatEvent {
    let told = |what: &str| first.then(|| format!("{what}{index}"));
    let (id, name) = (told("id"), told("name"));
    ChatEvent::ToolCall { choice: 0, index, id, name, arguments: arguments.to_owned() }
}

fn finished() -> ChatEvent {
    ChatEvent::Finished { choice: 0, reason: Finish::Stop, stop: None }
}

/// All events, one a chunk in the provider's own words, as the client gets them.
fn run(answer: &mut AnswerRedaction, events: Vec<ChatEvent>) -> Vec<ChatEvent> {
    let mut told = Vec::new();
    for event in events {
        let data = format!("{event:?}");
        let said = Some(Said { protocol: Protocol::OpenAiChat, event: None, data });
        let chunk = answer.chunk(Chunk { said, events: vec![event] }).expect("it goes on");
        assert_eq!(chunk.said.is_some(), answer.is_idle());
        told.extend(chunk.events);
    }
    told
}

#[test]
fn tokens_become_values_in_texts_and_calls() {
    let policy = RedactionPolicy::of(Action::Token, &Entity::ALL);
    let mut answer = answer(policy, "José O\"Hara, ada@example.com");
    let told = run(
        &mut answer,
        vec![
            text("Dear <PER"),
            text("SON_1>, a < b <"),
            call(0, true, ""),
            call(0, false, "{\"to\":\"<EMA"),
            call(0, false, "IL_1>\",\"name\":\"<PERSON_1>\"}"),
            call(1, true, "{\"x\":\"<"),
            finished(),
        ],
    );
    assert_eq!(
        told,
        vec![
            text("Dear "),
            text("José O\"Hara, a < b "),
            text("<"),
            call(0, true, ""),
            call(0, false, "{\"to\":\""),
            call(0, false, "ada@example.com\",\"name\":\"José O\\\"Hara\"}"),
            call(1, true, "{\"x\":\""),
            call(1, false, "<"),
            finished(),
        ]
    );
}

#[test]
fn an_answer_without_tokens_goes_on_word_for_word() {
    let policy = RedactionPolicy::of(Action::Mask, &Entity::ALL);
    let mut answer = answer(policy, "ada@example.com");
    assert!(answer.is_idle());
    assert_eq!(run(&mut answer, vec![text("<EMAIL_1>")]), vec![text("<EMAIL_1>")]);
}

#[test]
fn what_the_model_says_itself_is_masked_and_the_clients_own_comes_back() {
    let policy =
        RedactionPolicy { response: true, ..RedactionPolicy::of(Action::Token, &Entity::ALL) };
    let mut answer = answer(policy, "I am ada@example.com");
    let events = vec![
        text("You are <EMAIL_1>, and the other one is b@exa"),
        ChatEvent::Logprobs { choice: 0, content: serde_json::Value::Null },
        text("mple.com"),
        finished(),
    ];
    let told = run(&mut answer, events);
    let said: String = told
        .iter()
        .filter_map(|event| match event {
            ChatEvent::Text { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(said, "You are ada@example.com, and the other one is [EMAIL]");
    assert!(!told.iter().any(|event| matches!(event, ChatEvent::Logprobs { .. })));
    assert_eq!(answer.counts().get(&Entity::Email), Some(&1));
}

#[test]
fn a_block_ends_the_answer() {
    let policy = RedactionPolicy { response: true, ..rules(&[(Entity::Email, Action::Block)]) };
    let mut answer = AnswerRedaction::new(&redactor(), &RedactionSession::new(Arc::new(policy)));
    let ended = answer.chunk(Chunk::of(vec![text("it is b@example.com"), finished()]));
    assert_eq!(ended, Err(RedactError::Blocked { entity: Entity::Email }));
}

#[test]
fn choices_and_thoughts_do_not_mix() {
    let mut session = session(Action::Token);
    redacted(&mut session, "ada@example.com");
    let mut answer = AnswerRedaction::new(&redactor(), &session);
    let piece = |choice, text: &str| ChatEvent::Text { choice, text: text.to_owned() };
    let thought = |text: &str, signature: Option<&str>| ChatEvent::Thinking {
        choice: 0,
        text: text.to_owned(),
        signature: signature.map(str::to_owned),
    };
    let told = run(
        &mut answer,
        vec![
            thought("<EM", None),
            thought("AIL_", Some("s")),
            piece(0, "<EMAIL"),
            piece(1, "<"),
            piece(0, "_1>"),
            piece(1, "EMAIL_1>"),
        ],
    );
    assert_eq!(
        told,
        vec![
            thought("<EMAIL_", Some("s")),
            piece(0, "ada@example.com"),
            piece(1, "ada@example.com")
        ]
    );
}
