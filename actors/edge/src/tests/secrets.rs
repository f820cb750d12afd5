//! Canaries: what clients send as secret or as text reaches neither log nor metrics.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use headwater_models::chat::double::ScriptedChat;
use headwater_models::double::Fault;
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::world::{Setup, World, request};

const CANARY: &str = "canary-7f3a9c";

/// Keeps every field of every event and span of the process.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<String>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl Recorder {
    fn keep(&self, start: &str, record: impl FnOnce(&mut Line)) {
        let mut line = Line(start.to_owned());
        record(&mut line);
        let mut log = self.0.lock().unwrap_or_else(|held| held.into_inner());
        log.push_str(&line.0);
        log.push('\n');
    }

    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(|held| held.into_inner()).clone()
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.keep(span.metadata().name(), |line| span.record(line));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        self.keep("record", |line| values.record(line));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.keep(event.metadata().target(), |line| event.record(line));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_and_no_text_is_logged_or_counted() {
    let recorder = Recorder::default();
    tracing::subscriber::set_global_default(recorder.clone()).expect("the only one");
    let chat = Some(ScriptedChat::new(vec![ScriptedChat::words(1, &[CANARY])]));
    let world = World::with(Setup { chat, ..Setup::default() }).await;
    for header in [format!("Bearer {CANARY}"), format!("Basic {CANARY}"), CANARY.to_owned()] {
        let answer = world.send(request("GET", "/v1/models", Some(&header), "")).await;
        assert_eq!(answer.status, 401);
        assert!(!answer.text().contains(CANARY));
    }
    let bodies = [
        json!({"model": "plain", "input": CANARY, "user": CANARY}),
        json!({"model": "plain", "input": [CANARY], "encoding_format": CANARY}),
        json!({"model": "plain", "input": vec![CANARY; 9]}),
        json!({"model": "plain", "input": [CANARY.to_owned() + &" word".repeat(40)]}),
        json!({"model": CANARY, "input": CANARY}),
        json!({"model": "plain", "input": {CANARY: 1}}),
        json!({"model": "plain", "input": "a", CANARY: 1}),
        json!({"inputs": CANARY}),
        json!(CANARY),
        json!({"model": "talker", "max_tokens": 1, "user": CANARY, "messages": [
            {"role": "user", "content": CANARY},
        ]}),
        json!({"model": "talker", "max_tokens": 1, "messages": [{"role": CANARY}]}),
    ];
    let chats = ["/v1/chat/completions", "/v1/messages"];
    for body in &bodies {
        for path in ["/v1/embeddings", "/embed", "/tokenize"].into_iter().chain(chats) {
            world.post(path, body).await;
        }
    }
    world.send(world.request("POST", "/embed", format!("{{{CANARY}"))).await;
    world.get(&format!("/v1/models?key={CANARY}")).await;
    // Faults are logged, and not with what they happened to.
    world.plain.inject(Fault::Panic);
    world.embeddings(&json!({"model": "plain", "input": CANARY})).await.ok();
    let metrics = world.get("/metrics").await.text();
    let log = recorder.text();
    assert!(log.contains("headwater::access") && log.contains("tenant=\"acme\""), "{log}");
    assert!(log.contains("a replica was lost"), "{log}");
    for (place, text) in [("log", &log), ("metrics", &metrics)] {
        assert!(!text.contains(CANARY), "the canary is in the {place}:\n{text}");
        assert!(!text.contains(&world.token), "the token is in the {place}:\n{text}");
        let signature = world.token.rsplit('.').next().expect("three parts");
        assert!(!text.contains(signature), "a part of the token is in the {place}");
    }
}
