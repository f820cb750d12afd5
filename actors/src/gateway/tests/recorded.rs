//! However a chat ends there is one record of it, which tells what was charged.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use headwater_models::chat::{ChatError, ChatModel, ChatRequest, ChatStream};
use headwater_storage::audit::{AuditRecord, Content, MemoryAudit, Outcome};
use prometheus_client::registry::Registry;
use tokio::time::timeout;

use super::world::{CHAT, World, breaks, broken, hear, next, says};
use crate::gateway::{
    AuditHandle, AuditMetrics, AuditSettings, ContentMode, ContentPolicy, HashKey,
};

/// From now on the world's chats are recorded here, with all that is said.
fn audited(world: &World) -> MemoryAudit {
    let lake = MemoryAudit::new();
    let policy = ContentPolicy {
        standard: ContentMode::Full,
        by_team: Default::default(),
        key: HashKey::new(b"key"),
    };
    let audit = AuditHandle::new(
        world.site.node.runtime.clone(),
        Arc::new(lake.clone()),
        AuditSettings::default(),
        policy,
        AuditMetrics::register(&mut Registry::default()),
    );
    tokio::spawn(audit.clone().write());
    world.gateway.record_to(audit);
    lake
}

/// The only record, once it is there.
async fn only(lake: &MemoryAudit) -> AuditRecord {
    for _ in 0..2_000 {
        if !lake.records().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut records = lake.records();
    assert_eq!(records.len(), 1, "{records:?}");
    records.remove(0)
}

fn answer_of(record: &AuditRecord) -> &str {
    match &record.content {
        Some(Content::Full { response, .. }) => response,
        other => panic!("{other:?}"),
    }
}

/// The record says what the ledger says.
async fn agrees(world: &World, record: &AuditRecord) {
    let charged = world.charged(1).await[0];
    let told = (record.tokens_in + record.tokens_out, record.cost_micro_usd);
    assert_eq!(told, (charged.tokens, charged.micro_usd), "{record:?}");
}

#[tokio::test]
async fn a_whole_answer_is_told_with_its_target() {
    let world = World::new(vec![vec![says(&["It ", "is ", "deep."])]]).await;
    let lake = audited(&world);
    hear(world.chat().await.expect("an answer")).await;
    let record = only(&lake).await;
    agrees(&world, &record).await;
    assert_eq!((record.outcome, record.retries), (Outcome::Whole, 0));
    assert_eq!((record.model_asked.as_str(), record.backend.as_str()), (CHAT, "b0"));
    assert_eq!((record.model_served.as_str(), answer_of(&record)), ("model-b0", "It is deep."));
    assert!(record.ttft_ms <= Some(record.latency_ms) && !record.is_estimated, "{record:?}");
}

#[tokio::test]
async fn a_cut_and_a_client_that_leaves_are_told_with_what_came() {
    let world = World::new(vec![vec![breaks(&["It ", "is "])]]).await;
    let lake = audited(&world);
    hear(world.chat().await.expect("an answer")).await;
    let record = only(&lake).await;
    agrees(&world, &record).await;
    assert_eq!((record.outcome, answer_of(&record)), (Outcome::Cut, "It is "));

    let world = World::new(vec![vec![says(&["It ", "is ", "very ", "deep."])]]).await;
    let lake = audited(&world);
    let mut answer = world.chat().await.expect("an answer");
    for _ in 0..3 {
        next(&mut answer).await.expect("more").expect("is said");
    }
    drop(answer);
    let record = only(&lake).await;
    agrees(&world, &record).await;
    assert_eq!(record.outcome, Outcome::Left);
}

/// A model that takes requests on and is silent.
struct Silent;

#[async_trait]
impl ChatModel for Silent {
    async fn chat(&self, _: &ChatRequest) -> Result<ChatStream, ChatError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_first_part_is_told_with_its_input() {
    let world = World::over(vec![Arc::new(Silent)]).await;
    let lake = audited(&world);
    let left = timeout(Duration::from_millis(20), world.chat()).await;
    assert!(left.is_err(), "a silent model answered");
    let record = only(&lake).await;
    agrees(&world, &record).await;
    assert_eq!((record.outcome, record.ttft_ms), (Outcome::Left, None));
    assert!(record.tokens_in > 0 && record.is_estimated, "{record:?}");
}

#[tokio::test]
async fn tries_that_fail_are_told_without_a_backend() {
    let world = World::new(vec![vec![broken()], vec![broken()]]).await;
    let lake = audited(&world);
    assert!(world.chat().await.is_err());
    let record = only(&lake).await;
    assert_eq!((record.outcome, record.backend.as_str()), (Outcome::Unavailable, ""));
    assert!(record.retries >= 2 && record.tokens_in == 0, "{record:?}");
    assert_eq!(record.cost_micro_usd, 0);
}
