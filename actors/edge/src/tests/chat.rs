//! Chats: clients of two protocols, and a scripted model behind the gateway.

mod anthropic;
mod bad;
mod broken;
mod legacy;
mod openai;
mod responses;
mod routes;

use std::collections::BTreeSet;
use std::sync::Arc;

use headwater_actors::gateway::{
    Alias, Backend, BreakerSettings, ChatEvent, Chunk, Finish, GatewayConfig, GatewayHandle,
    GatewayMetrics, GatewaySettings, Price, Protocol, RetrySettings, Said, Target, Usage,
};
use headwater_actors::runtime::Runtime;
use headwater_actors::tenancy::TenancyHandle;
use headwater_models::chat::double::{Script, ScriptedChat};
use prometheus_client::registry::Registry;
use serde_json::Value;

use super::world::{Setup, World};

/// The names that the gateway serves.
pub(super) const CHAT: &str = "talker";
pub(super) const OTHER: &str = "org/other-talker";

/// A gateway that serves two names, both with this model, and tries nothing twice.
pub(super) fn chats(
    model: ScriptedChat,
    runtime: &Runtime,
    tenancy: &TenancyHandle,
    registry: &mut Registry,
) -> GatewayHandle {
    let target = |name: &str| Target::of("scripted", name, 1, Price::of(1_000_000, 2_000_000));
    let alias = |name: &str| Alias {
        output_tokens: 100,
        cache_ttl_ms: 60_000,
        ..Alias::of(name, vec![target(name)])
    };
    let settings = GatewaySettings {
        retry: RetrySettings { tries: 1, ..RetrySettings::default() },
        breaker: BreakerSettings { failures: 1_000, requests: 1_000, ..BreakerSettings::default() },
        cache_bytes: 1_000_000,
    };
    let backend = Backend { name: "scripted".to_owned(), protocol: None, model: Arc::new(model) };
    let config =
        GatewayConfig { aliases: vec![alias(CHAT), alias(OTHER)], ..GatewayConfig::default() };
    let metrics = GatewayMetrics::register(registry);
    let (runtime, tenancy) = (runtime.clone(), tenancy.clone());
    GatewayHandle::new(runtime, tenancy, vec![backend], config, BTreeSet::new(), settings, metrics)
        .expect("is good")
}

/// A world whose chat model says this each time.
async fn saying(script: Script) -> (World, ScriptedChat) {
    let model = ScriptedChat::new(vec![script]);
    let world = World::with(Setup { chat: Some(model.clone()), ..Setup::default() }).await;
    (world, model)
}

fn text(text: &str) -> ChatEvent {
    ChatEvent::Text { choice: 0, text: text.to_owned() }
}

fn started() -> ChatEvent {
    ChatEvent::Started { id: Some("id-1".to_owned()), model: Some("talker-2026".to_owned()) }
}

fn finished(reason: Finish) -> ChatEvent {
    ChatEvent::Finished { choice: 0, reason, stop: None }
}

fn thought(text: &str, signature: Option<&str>) -> ChatEvent {
    let signature = signature.map(str::to_owned);
    ChatEvent::Thinking { choice: 0, text: text.to_owned(), signature }
}

/// A part of a call; the first has its name.
fn call(index: u32, name: Option<&str>, arguments: &str) -> ChatEvent {
    ChatEvent::ToolCall {
        choice: 0,
        index,
        id: name.map(|name| format!("call-{name}")),
        name: name.map(str::to_owned),
        arguments: arguments.to_owned(),
    }
}

fn used() -> ChatEvent {
    ChatEvent::Usage(Usage {
        input: 100,
        output: 7,
        input_cached: 60,
        input_written: 10,
        reasoning: 3,
    })
}

/// Events, a chunk each.
fn events(events: Vec<ChatEvent>) -> Script {
    Ok(events.into_iter().map(|event| Ok(Chunk::of(vec![event]))).collect())
}

/// Thoughts, words, two calls one after the other, and the usage.
fn everything() -> Script {
    events(vec![
        started(),
        thought("so ", None),
        thought("then", Some("seal")),
        text("Hell"),
        text("o"),
        call(0, Some("weather"), ""),
        call(0, None, "{\"at\":"),
        call(0, None, "\"Ulm\"}"),
        call(1, Some("time"), "{}"),
        finished(Finish::ToolCalls),
        used(),
    ])
}

fn said(protocol: Protocol, event: Option<&str>, data: &str, events: Vec<ChatEvent>) -> Chunk {
    let event = event.map(str::to_owned);
    Chunk { said: Some(Said { protocol, event, data: data.to_owned() }), events }
}

/// The name and data of each event of a stream.
fn stream_of(text: &str) -> Vec<(Option<String>, String)> {
    assert!(text.ends_with("\n\n"), "the last event is cut: {text:?}");
    let event = |block: &str| {
        let (mut name, mut data) = (None, String::new());
        for line in block.lines() {
            match line.split_once(": ").expect("a field") {
                ("event", value) => name = Some(value.to_owned()),
                ("data", value) => data.push_str(value),
                other => panic!("{other:?}"),
            }
        }
        (name, data)
    };
    text.trim_end().split("\n\n").map(event).collect()
}

fn json_of(data: &str) -> Value {
    serde_json::from_str(data).expect("JSON")
}
