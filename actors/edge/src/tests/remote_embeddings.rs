//! `/v1/embeddings` for an alias of the gateway, whose vectors some provider makes.

use headwater_actors::gateway::{
    AuditOutcome, ChatEvent, Chunk, Finish, MemoryAudit, Protocol, Usage,
};
use headwater_models::chat::double::ScriptedChat;
use serde_json::json;

use super::chat::CHAT;
use super::world::{Setup, World};

#[tokio::test]
async fn an_alias_of_the_gateway_answers_with_its_providers_vectors_and_is_recorded() {
    let data = json!([{"object": "embedding", "index": 0, "embedding": "AACAPw=="}]);
    let events = vec![
        ChatEvent::Started { id: None, model: Some("vectors-3".to_owned()) },
        ChatEvent::Vectors { data: data.clone() },
        ChatEvent::Finished { choice: 0, reason: Finish::Stop, stop: None },
        ChatEvent::Usage(Usage { input: 5, ..Usage::default() }),
    ];
    let chat = ScriptedChat::new(vec![Ok(vec![Ok(Chunk::of(events))])]);
    let lake = MemoryAudit::new();
    let setup = Setup { chat: Some(chat.clone()), audit: Some(lake.clone()), ..Setup::default() };
    let world = World::with(setup).await;
    let asked = json!({
        "model": CHAT, "input": ["the river"], "dimensions": 1, "encoding_format": "base64",
    });
    let answer = world.embeddings(&asked).await;
    assert!(answer.header("x-headwater-backend").is_some());
    let body = answer.ok();
    assert_eq!(body["data"], data);
    assert_eq!(body["model"], "vectors-3");
    assert_eq!(body["usage"], json!({"prompt_tokens": 5, "total_tokens": 5}));
    // The same texts again cost nobody anything.
    let again = world.embeddings(&asked).await;
    assert_eq!(again.header("x-headwater-cache"), Some("hit"));
    assert_eq!(again.ok()["data"], data);
    let told = chat.asked();
    assert_eq!(told.len(), 1);
    let sent = told[0].body.as_ref().expect("the client's fields");
    assert_eq!(sent.protocol, Protocol::OpenAiEmbeddings);
    assert_eq!(sent.fields["encoding_format"], "base64");
    for _ in 0..2_000 {
        if lake.records().len() == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let records = lake.records();
    assert_eq!(records.len(), 2);
    assert!(records.iter().all(|one| one.outcome == AuditOutcome::Whole));
    assert!(records.iter().all(|one| one.route == "/v1/embeddings"));
    assert_eq!(records.iter().map(|one| one.tokens_in).sum::<u64>(), 5);
}

#[tokio::test]
async fn what_such_a_provider_cannot_take_is_named() {
    let chat = ScriptedChat::new(Vec::new());
    let world = World::with(Setup { chat: Some(chat.clone()), ..Setup::default() }).await;
    for (field, value, code) in [
        ("truncate", json!(true), "invalid_field"),
        ("input_type", json!("query"), "invalid_field"),
        ("input", json!([1, 2, 3]), "invalid_input"),
        ("input", json!([]), "empty_input"),
        ("input", json!(["a", ""]), "empty_input"),
    ] {
        let mut asked = json!({"model": CHAT, "input": "one"});
        asked[field] = value;
        world.embeddings(&asked).await.is_error(400, code, Some(field), &[field]);
    }
    assert!(chat.asked().is_empty());
}
