//! What is reserved and what is charged, however an answer ends.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use headwater_models::chat::{ChatError, ChatModel, ChatRequest, ChatStream};
use tokio::time::timeout;

use super::world::{World, breaks, broken, hear, next, says};
use crate::gateway::GatewayError;
use crate::tenancy::{Amounts, Unit};

fn amounts(tokens: u64, micro_usd: u64) -> Amounts {
    Amounts { requests: 1, tokens, micro_usd }
}

#[tokio::test]
async fn a_whole_answer_is_charged_as_the_backend_tells_it() {
    let world = World::new(vec![vec![says(&["It ", "is ", "deep."])]]).await;
    let (_, ended) = hear(world.chat().await.expect("an answer")).await;
    assert_eq!(ended, None);
    // 7 tokens in, 3 out, written down before the client sees the end.
    assert_eq!(world.charged(1).await, [amounts(10, 7 + 30)]);
}

#[tokio::test]
async fn a_cut_answer_is_no_clean_end_and_charged_for_what_came() {
    let world = World::new(vec![vec![breaks(&["It ", "is "])]]).await;
    let (said, ended) = hear(world.chat().await.expect("an answer")).await;
    assert_eq!(said, "It is ");
    assert!(matches!(ended, Some(GatewayError::Cut { .. })), "{ended:?}");
    let charged = world.charged(1).await;
    let input = charged[0].tokens - 2;
    assert_eq!(charged[0].micro_usd, input + 20, "two parts came, and the input is estimated");
}

#[tokio::test]
async fn an_answer_that_ends_without_a_reason_is_cut() {
    let mut script = says(&["It "]).expect("a script");
    script.pop();
    let world = World::new(vec![vec![Ok(script)]]).await;
    let (_, ended) = hear(world.chat().await.expect("an answer")).await;
    assert!(matches!(ended, Some(GatewayError::Cut { .. })), "{ended:?}");
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_backends_work_and_pays_for_what_came() {
    let world = World::new(vec![vec![says(&["It ", "is ", "very ", "deep."])]]).await;
    let mut answer = world.chat().await.expect("an answer");
    for _ in 0..3 {
        next(&mut answer).await.expect("more").expect("is said");
    }
    drop(answer);
    assert_eq!(world.models[0].dropped(), 1);
    let charged = world.charged(1).await;
    assert_eq!(charged[0].micro_usd, charged[0].tokens - 2 + 20, "two words came");
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
async fn a_client_that_leaves_before_the_first_part_pays_for_its_input() {
    let world = World::over(vec![Arc::new(Silent)]).await;
    let left = timeout(Duration::from_millis(20), world.chat()).await;
    assert!(left.is_err(), "a silent model answered");
    let charged = world.charged(1).await;
    assert!(charged[0].tokens > 0 && charged[0].micro_usd == charged[0].tokens, "{charged:?}");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_silent_until_its_clients_leave_is_left_alone() {
    let world = World::over(vec![Arc::new(Silent)]).await;
    for _ in 0..5 {
        let left = timeout(Duration::from_secs(21), world.chat()).await;
        assert!(left.is_err(), "a silent model answered");
    }
    let refused = timeout(Duration::from_secs(21), world.chat()).await.expect("no wait");
    let refused = refused.map(|answer| answer.served);
    assert!(matches!(refused, Err(GatewayError::Unavailable { .. })), "{refused:?}");
}

#[tokio::test]
async fn tries_that_fail_cost_nothing() {
    let world = World::new(vec![vec![broken(), broken(), says(&["Deep."])]]).await;
    world.limit(Unit::Requests, 1).await;
    hear(world.chat().await.expect("an answer")).await;
    assert_eq!(world.charged(1).await, [amounts(8, 17)]);
    let refused = world.chat().await.map(|answer| answer.served);
    assert!(matches!(refused, Err(GatewayError::OverQuota { .. })), "{refused:?}");
    let world = World::new(vec![vec![broken()]]).await;
    world.limit(Unit::Requests, 1).await;
    for _ in 0..3 {
        let failed = world.chat().await.map(|answer| answer.served);
        assert!(!matches!(failed, Err(GatewayError::OverQuota { .. })), "{failed:?}");
    }
}

#[tokio::test]
async fn what_is_reserved_counts_while_answers_are_under_way() {
    let world = World::new(vec![vec![says(&["Deep."])]]).await;
    // Each reserves its estimated input and 100 tokens of output.
    world.limit(Unit::Tokens, 250).await;
    let first = world.chat().await.expect("fits");
    let second = world.chat().await.expect("fits");
    let third = world.chat().await.map(|answer| answer.served);
    assert!(matches!(third, Err(GatewayError::OverQuota { .. })), "{third:?}");
    hear(first).await;
    hear(second).await;
    assert_eq!(world.charged(2).await, [amounts(8, 17), amounts(8, 17)]);
    hear(world.admitted().await).await;
}

#[tokio::test]
async fn money_is_limited_like_tokens() {
    let world = World::new(vec![vec![says(&["Deep."])]]).await;
    // 100 tokens of output alone may cost 1,000.
    world.limit(Unit::MicroUsd, 900).await;
    let refused = world.chat().await.map(|answer| answer.served);
    let Err(GatewayError::OverQuota { estimate, .. }) = refused else { panic!("{refused:?}") };
    assert!(estimate.micro_usd > 1_000, "{estimate:?}");
    world.limit(Unit::MicroUsd, 2_000).await;
    hear(world.admitted().await).await;
    assert_eq!(world.charged(1).await, [amounts(8, 17)]);
}
