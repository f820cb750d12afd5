//! A chat model that says again what it is asked, and fails while the world is not well, behind a
//! real gateway that redacts.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use headwater_actors::gateway::{Action, Entity};
use headwater_actors::gateway::{
    Alias, Backend, ChatError, ChatModel, ChatRequest, ChatStream, GatewayConfig, GatewayHandle,
    GatewayMetrics, GatewaySettings, Part, Price, RedactionPolicies, RedactionPolicy, Target,
};
use headwater_actors::runtime::Runtime;
use headwater_cluster::NodeId;
use headwater_models::chat::double::ScriptedChat;
use headwater_storage::memory::MemoryStore;
use headwater_storage::retry::{Retry, RetryPolicy};
use prometheus_client::registry::Registry;

use super::HEAL_MS;
use crate::gateway::{redaction, tenancy};
use crate::world::World;

/// The one model there is.
pub(super) const CHAT: &str = "chat";
/// Requests of a hundred that fail before the world heals.
const FAILS: u64 = 15;

struct Echo {
    world: World,
}

#[async_trait]
impl ChatModel for Echo {
    async fn chat(&self, request: &ChatRequest) -> Result<ChatStream, ChatError> {
        self.world.sleep(self.world.between(1, 50)).await;
        if self.world.now_ms() < HEAL_MS && self.world.percent(FAILS) {
            self.world.count("model failed");
            return Err(ChatError::Unavailable { status: Some(500), reason: "broken".to_owned() });
        }
        let parts = request.messages.iter().flat_map(|message| &message.parts);
        let texts = parts.filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            _ => None,
        });
        let said = texts.collect::<Vec<_>>().join(" ");
        ScriptedChat::new(vec![ScriptedChat::words(5, &[&said])]).chat(request).await
    }
}

/// A node's gateway; its quotas are its own, and nobody has any limits.
pub(super) fn gateway(world: &World, runtime: &Runtime, number: u64) -> Option<GatewayHandle> {
    let own = Arc::new(MemoryStore::new(runtime.environment().clone()));
    let retry = Retry::new(own, runtime.environment().clone(), RetryPolicy::default());
    let tenancy = tenancy(NodeId::new(format!("quota-{number}")).ok()?, runtime, &retry);
    let model = Arc::new(Echo { world: world.clone() });
    let backend = Backend { name: "echo".to_owned(), protocol: None, model };
    let target = Target::of("echo", CHAT, 1, Price::of(1_000_000, 2_000_000));
    let policy = RedactionPolicy::of(Action::Token, &[Entity::Email]);
    let config = GatewayConfig {
        aliases: vec![Alias { output_tokens: 20, ..Alias::of(CHAT, vec![target]) }],
        redaction: RedactionPolicies { standard: Some(Arc::new(policy)), ..Default::default() },
    };
    let gateway = GatewayHandle::new(
        runtime.clone(),
        tenancy,
        vec![backend],
        config,
        BTreeSet::new(),
        GatewaySettings::default(),
        GatewayMetrics::register(&mut Registry::default()),
    );
    Some(gateway.ok()?.redacting(redaction().ok()?))
}
