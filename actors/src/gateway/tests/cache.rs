//! Answers that are given again, and who pays for them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use headwater_gateway::CacheWish;
use headwater_models::chat::double::ScriptedChat;
use headwater_models::chat::{ChatError, ChatModel, ChatRequest, ChatStream, Message, Role};
use tokio::time::{sleep, timeout};

use super::world::{CHAT, World, breaks, hear, says};
use crate::gateway::{Answer, Cached, GatewayError};
use crate::tenancy::Amounts;

/// A question whose answer the model does not draw.
fn question() -> ChatRequest {
    let mut request = ChatRequest::new(CHAT, vec![Message::text(Role::User, "How deep?")]);
    request.sampling.temperature = Some(0.0);
    request
}

async fn ask(world: &World, wish: &str) -> Result<Answer, GatewayError> {
    world.wish(question(), CacheWish::read(wish, false)).await
}

/// What is said, and whether it was said before.
async fn told(world: &World, wish: &str) -> (String, bool) {
    let answer = ask(world, wish).await.expect("an answer");
    let is_hit = matches!(answer.served.cache, Cached::Hit { .. });
    let (said, ended) = hear(answer).await;
    assert_eq!(ended, None);
    (said, is_hit)
}

#[tokio::test]
async fn an_answer_that_is_given_again_costs_one_request_and_no_tokens() {
    let world = World::new(vec![vec![says(&["Very ", "deep."]), says(&["Not ", "deep."])]]).await;
    assert_eq!(told(&world, "").await, ("Very deep.".to_owned(), false));
    assert_eq!(told(&world, "").await, ("Very deep.".to_owned(), true));
    assert_eq!(world.models[0].asked().len(), 1);
    let paid = Amounts { requests: 1, tokens: 9, micro_usd: 27 };
    let free = Amounts { requests: 1, ..Amounts::default() };
    assert_eq!(world.charged(2).await, [paid, free]);
}

#[tokio::test]
async fn a_client_says_which_answers_it_takes() {
    let scripts = || vec![says(&["one"]), says(&["two"]), says(&["three"])];
    for (wish, second, third) in [
        // A new one takes the place of the old one.
        ("no-cache", "two", ("two", true)),
        ("max-age=0", "two", ("two", true)),
        ("no-store", "two", ("one", true)),
        ("only-if-cached", "one", ("one", true)),
    ] {
        let world = World::new(vec![scripts()]).await;
        assert_eq!(told(&world, "").await.0, "one");
        assert_eq!(told(&world, wish).await.0, second, "{wish}");
        assert_eq!(told(&world, "").await, (third.0.to_owned(), third.1), "{wish}");
    }
    let world = World::new(vec![scripts()]).await;
    let none = ask(&world, "only-if-cached").await.map(|answer| answer.served);
    assert_eq!(none, Err(GatewayError::NotCached));
    assert_eq!(world.models[0].asked().len(), 0);
    // What the model draws is drawn anew, unless the client prefers it.
    let mut drawn = question();
    drawn.sampling.temperature = Some(0.7);
    for (prefers, expected) in [(false, "one"), (false, "two"), (true, "three"), (true, "three")] {
        let wish = CacheWish::read("", prefers);
        let answer = world.wish(drawn.clone(), wish).await.expect("an answer");
        assert_eq!(hear(answer).await.0, expected);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_kept() {
    let world = World::new(vec![vec![breaks(&["It "]), says(&["Deep."])]]).await;
    let (_, ended) = hear(ask(&world, "").await.expect("an answer")).await;
    assert!(matches!(ended, Some(GatewayError::Cut { .. })), "{ended:?}");
    assert_eq!(told(&world, "").await, ("Deep.".to_owned(), false));
}

/// A model that takes its time.
struct Slow(ScriptedChat);

#[async_trait]
impl ChatModel for Slow {
    async fn chat(&self, request: &ChatRequest) -> Result<ChatStream, ChatError> {
        sleep(Duration::from_millis(50)).await;
        self.0.chat(request).await
    }
}

#[tokio::test]
async fn a_question_that_many_ask_at_once_is_answered_once() {
    let model = ScriptedChat::new(vec![says(&["Deep."]), says(&["Shallow."])]);
    let world = World::over(vec![Arc::new(Slow(model.clone()))]).await;
    let all = tokio::join!(told(&world, ""), told(&world, ""), told(&world, ""));
    let deep = |hit| ("Deep.".to_owned(), hit);
    assert_eq!(all, (deep(false), deep(true), deep(true)));
    assert_eq!(model.asked().len(), 1);
}

#[tokio::test]
async fn when_the_one_who_asks_leaves_another_takes_over() {
    let model = ScriptedChat::new(vec![says(&["Deep."])]);
    let world = World::over(vec![Arc::new(Slow(model.clone()))]).await;
    let leaves = timeout(Duration::from_millis(20), told(&world, ""));
    let stays = told(&world, "");
    let (left, stayed) = tokio::join!(leaves, stays);
    assert!(left.is_err(), "{left:?}");
    assert_eq!(stayed, ("Deep.".to_owned(), false));
}
