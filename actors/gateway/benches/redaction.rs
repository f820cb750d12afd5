//! What redaction costs for each KB of text: patterns over prose, over text full of findings and
//! over code, a whole request with its body, and an answer's stream.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater_gateway::redaction::{
    Action, AnswerRedaction, Entity, HashKey, RedactionPolicy, RedactionSession, Redactor,
    redact_request,
};
use headwater_models::chat::{Body, ChatEvent, ChatRequest, Chunk, Message, Protocol, Role};
use serde_json::{Value, json};

const PROSE: &str = "The lake lies between two hills and is fed by a small river. In spring the \
water is high and the meadows around it are wet; in autumn one can walk along the shore for hours. ";
const FINDINGS: &str = "Write to ada@example.com, call +1 415 555 2671 or visit 742 Evergreen \
Terrace, Springfield, IL 62704. The card 4111 1111 1111 1111 and DE89 3704 0044 0532 0130 00 too. ";
const CODE: &str = "for (let i = 0; i < items.length; i += 1) {\n    total += items[i].price * 1.19;\n\
    log(`${i}: ${total}`); // 2024-01-15\n}\n";

/// At least this long, so that one odd moment does not count.
const LEAST: Duration = Duration::from_millis(400);

fn measure(what: &str, bytes: usize, mut run: impl FnMut()) {
    run();
    let (began, mut runs) = (Instant::now(), 0u32);
    while began.elapsed() < LEAST {
        run();
        runs += 1;
    }
    let us = began.elapsed().as_secs_f64() * 1e6 / f64::from(runs);
    println!("{what:<36} {:>9.1} µs, {:>8.1} µs for 1 KB", us, us * 1_024.0 / bytes as f64);
}

fn request(text: &str) -> ChatRequest {
    let mut request = ChatRequest::new("m", vec![Message::text(Role::User, text)]);
    let body = json!({"model": "m", "messages": [{"role": "user", "content": text}]});
    if let Value::Object(fields) = body {
        request.body = Some(Body { protocol: Protocol::OpenAiChat, fields, headers: Vec::new() });
    }
    request
}

fn main() {
    let redactor = Arc::new(Redactor::new(HashKey::new("key"), None).expect("patterns compile"));
    let policy = RedactionPolicy::of(Action::Token, &Entity::ALL);
    for (name, text) in [("prose", PROSE), ("findings", FINDINGS), ("code", CODE)] {
        for kb in [1, 16] {
            let text = text.repeat(kb * 1_024 / text.len() + 1);
            measure(&format!("find in {kb} KB of {name}"), text.len(), || {
                black_box(redactor.find(&policy, black_box(&text), &|| false).expect("found"));
            });
        }
    }
    let text = FINDINGS.repeat(6);
    let asked = request(&text);
    let shared = Arc::new(policy.clone());
    measure("a request with its body", text.len(), || {
        let mut session = RedactionSession::new(Arc::clone(&shared));
        let mut asked = asked.clone();
        redact_request(&redactor, &mut session, &mut asked, &|| false).expect("redacted");
        black_box(asked);
    });
    for (name, response) in [("restored", false), ("redacted and restored", true)] {
        let shared = Arc::new(RedactionPolicy { response, ..policy.clone() });
        let mut session = RedactionSession::new(shared);
        redact_request(&redactor, &mut session, &mut request(&text), &|| false).expect("redacted");
        let words: Vec<&str> = text.split_inclusive(' ').collect();
        measure(&format!("an answer, {name}"), text.len(), || {
            let mut answer = AnswerRedaction::new(&redactor, &session);
            for word in &words {
                let event = ChatEvent::Text { choice: 0, text: (*word).to_owned() };
                black_box(answer.chunk(Chunk::of(vec![event])).expect("it goes on"));
            }
        });
    }
}
