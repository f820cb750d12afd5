//! Who is asked, and what the client hears when nobody answers.

use headwater_models::chat::double::Script;
use headwater_models::chat::{ChatError, ChatRequest};

use super::world::{World, breaks, broken, hear, limited, refused, says};
use crate::gateway::{GatewayError, ServedModel};

#[tokio::test]
async fn an_answer_comes_from_the_first_target_under_its_own_name() {
    let world = World::new(vec![vec![says(&["It ", "is ", "deep."])], vec![says(&["no"])]]).await;
    let answer = world.chat().await.expect("an answer");
    let served = answer.served.clone();
    assert_eq!((served.asked.as_str(), served.backend.as_str()), ("chat", "b0"));
    assert_eq!((served.model.as_str(), served.retries), ("model-b0", 0));
    assert_eq!(hear(answer).await, ("It is deep.".to_owned(), None));
    assert_eq!(world.models[0].asked()[0].model, "model-b0");
    assert_eq!(world.models[1].asked().len(), 0);
    let backends = ["b0", "b1"].map(str::to_owned).to_vec();
    assert_eq!(world.gateway.models(), [ServedModel { name: "chat".to_owned(), backends }]);
}

#[tokio::test]
async fn a_target_that_fails_gives_way_and_nobody_hears_of_it() {
    for first in [broken(), limited(60_000), breaks(&[])] {
        let mut script = first.clone();
        if let Ok(chunks) = &mut script {
            // Broken off before it said anything.
            drop(chunks.remove(0));
        }
        let world = World::new(vec![vec![script], vec![says(&["Deep."])]]).await;
        let answer = world.chat().await.expect("an answer");
        assert_eq!((answer.served.backend.as_str(), answer.served.retries), ("b1", 1));
        assert_eq!(hear(answer).await, ("Deep.".to_owned(), None));
        assert_eq!(world.charged(1).await.len(), 1);
    }
}

#[tokio::test]
async fn a_short_pause_is_waited_for_and_a_long_one_is_passed_on() {
    let world = World::new(vec![vec![limited(30), says(&["Deep."])]]).await;
    let answer = world.chat().await.expect("an answer");
    assert_eq!(answer.served.retries, 1);
    let world = World::new(vec![vec![limited(7_000)]]).await;
    let refused = world.chat().await.map(|answer| answer.served);
    assert_eq!(refused, Err(GatewayError::Limited { retry_after_ms: 7_000 }));
    assert_eq!(world.models[0].asked().len(), 1);
}

#[tokio::test]
async fn a_request_at_fault_is_asked_once_and_hears_the_models_own_words() {
    let world = World::new(vec![vec![refused()], vec![says(&["no"])]]).await;
    let error = world.chat().await.map(|answer| answer.served);
    let (code, message) = (Some("empty".to_owned()), "messages is empty".to_owned());
    assert_eq!(error, Err(GatewayError::Refused { status: 422, code, message }));
    assert_eq!(world.models[1].asked().len(), 0);
}

#[tokio::test]
async fn what_one_target_lacks_another_may_have() {
    let lacks = || -> Script {
        let (code, message) = (Some("unsupported_parameter".to_owned()), "no seed".to_owned());
        Err(ChatError::Refused { status: 400, code, message })
    };
    let world = World::new(vec![vec![lacks()], vec![says(&["Deep."])]]).await;
    assert_eq!(world.chat().await.expect("an answer").served.backend, "b1");
    // An outage is not hidden behind it.
    let world = World::new(vec![vec![limited(7_000)], vec![lacks()]]).await;
    let error = world.chat().await.map(|answer| answer.served);
    assert_eq!(error, Err(GatewayError::Limited { retry_after_ms: 7_000 }));
    let world = World::new(vec![vec![lacks()]]).await;
    let error = world.chat().await.map(|answer| answer.served);
    assert!(matches!(error, Err(GatewayError::Refused { status: 400, .. })), "{error:?}");
}

#[tokio::test]
async fn a_target_that_fails_again_and_again_is_left_alone_for_a_while() {
    let world = World::new(vec![vec![broken()]]).await;
    for _ in 0..2 {
        let error = world.chat().await.map(|answer| answer.served);
        let Err(GatewayError::Unavailable { retry_after_ms, .. }) = error else {
            panic!("{error:?}");
        };
        assert!(retry_after_ms >= 1_000);
        let asked = world.models[0].asked().len();
        assert_eq!(asked, 5, "so many failures open the breaker, and nothing passes it");
    }
}

#[tokio::test]
async fn a_name_that_is_not_served_is_told_with_those_that_are() {
    let world = World::new(vec![vec![says(&["no"])]]).await;
    let error = world.ask(ChatRequest::new("other", vec![])).await.map(|answer| answer.served);
    let (model, known) = ("other".to_owned(), vec!["chat".to_owned()]);
    assert_eq!(error, Err(GatewayError::UnknownModel { model, known }));
}
