//! Redaction around an answer: what reaches the model, what comes back, and what happens when
//! there is no time.

use std::sync::Arc;
use std::time::Duration;

use headwater_gateway::redaction::{
    Action, Entity, HashKey, RedactionPolicies, RedactionPolicy, Redactor,
};
use headwater_models::chat::{ChatRequest, Message, Role};
use headwater_models::entities::{EntityTagger, TagError, TaggedSpan};
use prometheus_client::registry::Registry;

use super::world::{CHAT, World, hear, says};
use crate::gateway::{GatewayError, Offload, Redaction, RedactionMetrics};

/// A tagger that takes its time, or breaks.
struct Slow(Result<u64, ()>);

impl EntityTagger for Slow {
    fn tag(&self, _: &str) -> Result<Vec<TaggedSpan>, TagError> {
        match self.0 {
            Ok(ms) => std::thread::sleep(Duration::from_millis(ms)),
            Err(()) => return Err(TagError { reason: "it is broken".to_owned() }),
        }
        Ok(Vec::new())
    }
}

struct Setup {
    registry: Registry,
    world: World,
}

async fn setup(policy: RedactionPolicy, tagger: Option<Slow>, words: &[&str]) -> Setup {
    let tagger = tagger.map(|tagger| Arc::new(tagger) as Arc<dyn EntityTagger>);
    let redactor = Redactor::new(HashKey::new("key"), tagger).expect("patterns compile");
    let mut registry = Registry::default();
    let metrics = RedactionMetrics::register(&mut registry);
    let policies = RedactionPolicies { standard: Some(Arc::new(policy)), ..Default::default() };
    let budget_ms = if words.is_empty() { 40 } else { 60_000 };
    let redaction = Redaction::new(Arc::new(redactor), budget_ms, Offload::Blocking, metrics);
    let mut world =
        World::new(vec![vec![says(if words.is_empty() { &["yes"] } else { words })]]).await;
    world.gateway = world.gateway.redacting(redaction);
    world.redact(policies);
    Setup { registry, world }
}

fn request() -> ChatRequest {
    let messages = vec![
        Message::text(Role::User, "I am ada@example.com."),
        Message::text(Role::User, "My server is 203.0.113.9."),
    ];
    ChatRequest::new(CHAT, messages)
}

fn asked(world: &World) -> String {
    format!("{:?}", world.models[0].asked())
}

fn counts(registry: &Registry, line: &str) -> bool {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).expect("it is written");
    text.lines().any(|own| own == line)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_sees_tokens_and_the_client_its_own_words() {
    let policy = RedactionPolicy::of(Action::Token, &Entity::ALL);
    let Setup { registry, world } =
        setup(policy, None, &["Hello <EMAIL", "_1>, and <IP", "_1> is up ", "<b>"]).await;
    let answer = world.ask(request()).await.expect("it answers");
    assert!(!answer.redaction.skipped);
    assert_eq!(answer.redaction.replaced.get("email"), Some(&1));
    let (said, error) = hear(answer).await;
    assert_eq!(error, None);
    assert_eq!(said, "Hello ada@example.com, and 203.0.113.9 is up <b>");
    let asked = asked(&world);
    assert!(asked.contains("I am <EMAIL_1>.") && asked.contains("My server is <IP_1>."), "{asked}");
    assert!(counts(&registry, "headwater_redaction_replaced_total{entity=\"email\"} 1"));
    assert!(counts(&registry, "headwater_redaction_skipped_total 0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_blocked_is_asked_of_nobody_and_costs_nothing() {
    let policy = RedactionPolicy::of(Action::Block, &[Entity::Ip]);
    let Setup { registry, world } = setup(policy, None, &["yes"]).await;
    let refused = world.ask(request()).await.map(|answer| answer.served);
    assert_eq!(refused, Err(GatewayError::PersonalData { entity: "ip" }));
    assert_eq!(world.models[0].asked().len(), 0);
    assert!(counts(&registry, "headwater_redaction_blocked_total{entity=\"ip\"} 1"));
    let (said, _) = hear(world.chat().await.expect("nothing in it is blocked")).await;
    assert_eq!(said, "yes");
    assert_eq!(world.charged(1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_time_a_request_goes_on_as_it_came_and_is_counted() {
    for tagger in [Slow(Ok(500)), Slow(Err(()))] {
        let policy = RedactionPolicy::of(Action::Mask, &[Entity::Email, Entity::Person]);
        let Setup { registry, world } = setup(policy, Some(tagger), &[]).await;
        let answer = world.ask(request()).await.expect("it answers");
        assert!(answer.redaction.skipped);
        assert!(asked(&world).contains("I am ada@example.com."));
        assert!(counts(&registry, "headwater_redaction_skipped_total 1"));
        assert!(counts(&registry, "headwater_redaction_requests_total 1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_must_hold_lets_nothing_pass_unseen() {
    let closed = RedactionPolicy {
        fail_closed: true,
        ..RedactionPolicy::of(Action::Mask, &[Entity::Email, Entity::Person])
    };
    let blocks = RedactionPolicy::of(Action::Block, &[Entity::Person]);
    for (policy, tagger) in
        [(closed.clone(), Slow(Ok(500))), (closed, Slow(Err(()))), (blocks, Slow(Ok(500)))]
    {
        let Setup { registry, world } = setup(policy, Some(tagger), &[]).await;
        let refused = world.ask(request()).await.map(|answer| answer.served);
        assert_eq!(refused, Err(GatewayError::NotRedacted { budget_ms: 40 }));
        assert_eq!(world.models[0].asked().len(), 0);
        assert!(counts(&registry, "headwater_redaction_refused_total 1"));
        assert!(counts(&registry, "headwater_redaction_skipped_total 0"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_says_what_is_blocked_ends_and_is_charged() {
    let policy = RedactionPolicy {
        response: true,
        request: false,
        ..RedactionPolicy::of(Action::Block, &[Entity::Email])
    };
    let Setup { world, .. } =
        setup(policy, None, &["That is all right. ", "Then write ", "to b@example.com. ", "Bye"])
            .await;
    let (said, error) = hear(world.ask(request()).await.expect("it answers")).await;
    assert_eq!(error, Some(GatewayError::PersonalData { entity: "email" }));
    assert_eq!(said, "That is all right. ");
    assert!(world.charged(1).await[0].tokens >= 7, "what was produced is charged");
}

#[tokio::test(flavor = "multi_thread")]
async fn teams_have_their_own_policies_and_new_ones_count_at_once() {
    let policy = RedactionPolicy::of(Action::Mask, &[Entity::Ip]);
    let redactor = Redactor::new(HashKey::new("key"), None).expect("patterns compile");
    let metrics = RedactionMetrics::register(&mut Registry::default());
    let team = |name: &str| RedactionPolicies {
        teams: [(name.to_owned(), Arc::new(policy.clone()))].into(),
        standard: None,
    };
    let redaction = Redaction::new(Arc::new(redactor), 60_000, Offload::Blocking, metrics);
    let mut world = World::new(vec![vec![says(&["yes"])]]).await;
    world.gateway = world.gateway.redacting(redaction);
    world.redact(team("somebody else"));
    world.ask(request()).await.expect("it answers");
    assert!(asked(&world).contains("203.0.113.9"));
    world.redact(team(crate::tenancy::tests::world::TENANT));
    world.ask(request()).await.expect("it answers");
    let asked = format!("{:?}", world.models[0].asked().last());
    assert!(asked.contains("[IP]") && asked.contains("ada@example.com"), "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_given_again_has_the_words_of_whoever_asks() {
    let policy = RedactionPolicy::of(Action::Token, &[Entity::Email]);
    let Setup { world, .. } = setup(policy, None, &["Hello <EMAIL_1>", "!"]).await;
    for own in ["ada@example.com", "bob@example.com"] {
        let mut request =
            ChatRequest::new(CHAT, vec![Message::text(Role::User, format!("I am {own}"))]);
        request.sampling.temperature = Some(0.0);
        let answer = world.ask(request).await.expect("it answers");
        assert_eq!(hear(answer).await.0, format!("Hello {own}!"));
    }
    assert_eq!(world.models[0].asked().len(), 1, "the second one is the first one's answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_redactor_a_policy_that_must_hold_refuses() {
    let mut world = World::new(vec![vec![says(&["yes"])]]).await;
    for (fail_closed, passes) in [(false, true), (true, false)] {
        let policy =
            RedactionPolicy { fail_closed, ..RedactionPolicy::of(Action::Mask, &[Entity::Email]) };
        world.redact(RedactionPolicies { standard: Some(Arc::new(policy)), ..Default::default() });
        let answer = world.ask(request()).await;
        assert_eq!(answer.as_ref().is_ok_and(|answer| answer.redaction.skipped), passes);
    }
}
