//! Answers that are given again to questions in other words.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use headwater_gateway::{Alias, CacheWish, GatewayConfig, Price, Semantic, Target};
use headwater_models::chat::double::Script;
use headwater_models::chat::{ChatRequest, Message, Role};
use headwater_models::double::DoubleModel;
use headwater_models::{Model, ModelCard, Piece};
use prometheus_client::registry::Registry;

use super::world::{CHAT, World, breaks, hear, says};
use crate::embedding::{EmbedError, Embedder, Pool, Purpose};
use crate::gateway::{Cached, NearQuestions};

/// An encoder to which only the number of words matters that begin with `d`, and of all others.
#[derive(Default)]
struct Counting {
    fails: AtomicBool,
}

#[async_trait]
impl Embedder for Counting {
    fn card(&self, model: &str) -> Option<ModelCard> {
        (model == "counting").then(|| DoubleModel::new(model, 2, 16).card().clone())
    }

    fn version(&self, _: &str) -> Option<ModelCard> {
        self.card("counting")
    }

    async fn pieces(&self, _: &str, _: String) -> Result<Vec<Piece>, EmbedError> {
        Ok(Vec::new())
    }

    async fn embed(
        &self,
        _: &str,
        texts: Vec<String>,
        _: Purpose,
        _: Pool,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(EmbedError::Unloading);
        }
        let vector = |text: &String| {
            let deep = text.split(' ').filter(|word| word.starts_with('d')).count();
            vec![deep as f32, (text.split(' ').count() - deep) as f32]
        };
        Ok(texts.iter().map(vector).collect())
    }
}

/// A world that takes questions for one from this cosine on, and its encoder.
async fn world(least_per_mille: u32, answers: Vec<Script>) -> (World, Arc<Counting>) {
    let mut world = World::new(vec![answers]).await;
    let encoder = Arc::new(Counting::default());
    let questions = NearQuestions::new(encoder.clone(), 100_000, &mut Registry::default());
    world.gateway.compare_by(questions);
    let semantic = Semantic { encoder: "counting".to_owned(), least_per_mille };
    world.change(|config| config.aliases[0].semantic = Some(semantic));
    (world, encoder)
}

fn one_two_three() -> Vec<Script> {
    ["one", "two", "three"].map(|answer| says(&[answer])).into()
}

/// What is said to a question that comes after these, and how it was found.
async fn told(world: &World, before: &[&str], question: &str, wish: &str) -> (String, Cached) {
    let texts = before.iter().chain([&question]);
    let messages = texts.map(|text| Message::text(Role::User, *text)).collect();
    let mut request = ChatRequest::new(CHAT, messages);
    request.sampling.temperature = Some(0.0);
    let answer = world.wish(request, CacheWish::read(wish, false)).await.expect("an answer");
    let cache = answer.served.cache;
    (hear(answer).await.0, cache)
}

#[tokio::test]
async fn a_question_in_other_words_gets_the_answer_of_the_nearest() {
    let (world, _) = world(950, one_two_three()).await;
    let ask = async |question| told(&world, &[], question, "").await;
    assert_eq!(ask("how deep").await, ("one".to_owned(), Cached::Miss));
    assert_eq!(ask("deep deep deep a").await, ("two".to_owned(), Cached::Miss));
    let (said, cache) = ask("b deep").await;
    assert_eq!(said, "one");
    assert!(matches!(cache, Cached::Near { per_mille: 1_000, .. }), "{cache:?}");
    let (said, cache) = ask("deep deep deep deep a").await;
    assert_eq!(said, "two", "the nearer of both");
    assert!(matches!(cache, Cached::Near { per_mille: 950..1_000, .. }), "{cache:?}");
    assert!(matches!(ask("how deep").await.1, Cached::Hit { .. }), "its own answer comes first");
    assert_eq!(world.models[0].asked().len(), 2);
}

#[tokio::test]
async fn what_stands_around_the_words_must_be_equal() {
    for (before, question) in [
        (&["hello"] as &[&str], "b deep"),
        // Encoders hardly see the difference.
        (&[], "7 deep"),
        // Far from it.
        (&[], "a b c deep"),
    ] {
        let (world, _) = world(950, one_two_three()).await;
        assert_eq!(told(&world, &[], "how deep", "").await.0, "one");
        let other = told(&world, before, question, "").await;
        assert_eq!(other, ("two".to_owned(), Cached::Miss), "{before:?} {question}");
    }
}

#[tokio::test]
async fn what_is_not_kept_or_not_wanted_is_not_given() {
    let (world, _) = world(950, one_two_three()).await;
    assert_eq!(told(&world, &[], "how deep", "").await.0, "one");
    assert_eq!(told(&world, &[], "b deep", "no-cache").await.0, "two");
    assert_eq!(told(&world, &[], "c deep", "max-age=0").await.0, "three");
    let (said, cache) = told(&world, &[], "x deep", "only-if-cached, max-age=60").await;
    assert!(matches!(cache, Cached::Near { .. }), "{said} {cache:?}");
}

#[tokio::test]
async fn an_answer_that_broke_off_or_has_no_vector_answers_nobody_else() {
    let scripts = vec![breaks(&["It "]), says(&["two"]), says(&["three"])];
    let (world, encoder) = world(950, scripts).await;
    assert_eq!(told(&world, &[], "how deep", "").await.0, "It ");
    encoder.fails.store(true, Ordering::SeqCst);
    assert_eq!(told(&world, &[], "a deep", "").await, ("two".to_owned(), Cached::Miss));
    encoder.fails.store(false, Ordering::SeqCst);
    assert_eq!(told(&world, &[], "b deep", "").await, ("three".to_owned(), Cached::Miss));
}

#[test]
fn a_threshold_or_an_encoder_that_makes_no_sense_is_refused() {
    let check = |change: &dyn Fn(&mut Alias)| {
        let target = Target::of("b0", "m", 1, Price::FREE);
        let semantic = Semantic { encoder: "counting".to_owned(), least_per_mille: 950 };
        let mut alias =
            Alias { cache_ttl_ms: 1, semantic: Some(semantic), ..Alias::of(CHAT, vec![target]) };
        change(&mut alias);
        let config = GatewayConfig { aliases: vec![alias], ..GatewayConfig::default() };
        let names = ["b0".to_owned()].into();
        let checked = config.check(&names, &Default::default());
        let encoder = Arc::new(Counting::default());
        let questions = NearQuestions::new(encoder, 1, &mut Registry::default());
        checked.and_then(|()| questions.check(&config)).map_err(|problem| problem.field)
    };
    let semantic =
        |change: fn(&mut Semantic)| check(&move |alias| alias.semantic.iter_mut().for_each(change));
    let at = |field: &str| Err(format!("models[0].semantic_cache{field}"));
    assert_eq!(check(&|_| {}), Ok(()));
    assert_eq!(check(&|alias| alias.cache_ttl_ms = 0), at(""));
    assert_eq!(semantic(|one| one.least_per_mille = 499), at(".similarity"));
    assert_eq!(semantic(|one| one.least_per_mille = 1_001), at(".similarity"));
    assert_eq!(semantic(|one| one.encoder.clear()), at(".encoder"));
    assert_eq!(semantic(|one| one.encoder.push('x')), at(".encoder"));
}
