//! What a healthy service answers, and what it refuses.

use headwater_models::{Task, TokenizeError};

use super::gated::GatedModel;
use super::service::{Service, batching, call, double, expected, limits, within};
use crate::embedding::{
    EmbedCall, EmbedError, EmbeddingSettings, InputLimits, InputProblem, Inputs, Pool, Purpose,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_text_gets_its_own_vector_whatever_it_shared_a_batch_with() {
    let service = Service::start(double(), 2, batching(), limits()).await;
    let tasks: Vec<_> = (0..40usize)
        .map(|number| {
            let texts: Vec<String> = (0..=number % 5)
                .map(|place| vec![format!("word{number}"); 1 + (number * 7 + place) % 20].join(" "))
                .collect();
            let model = service.model.clone();
            tokio::spawn(async move {
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                let embedded = model.embed(call(&texts)).await.expect("answers");
                assert_eq!(embedded.vectors, expected(&texts));
                let lengths: Vec<usize> =
                    texts.iter().map(|text| text.split(' ').count() + 2).collect();
                assert_eq!(embedded.tokens, lengths);
                assert!(embedded.truncated.is_empty());
                lengths.iter().sum::<usize>()
            })
        })
        .collect();
    let mut tokens = 0;
    for task in tasks {
        tokens += within(task).await.expect("no panic");
    }
    service.until_quiet().await;
    assert_eq!(service.requests("ok"), 40.0);
    assert_eq!(service.metric("tokens_total", ""), tokens as f64);
    assert!(service.metric("padded_tokens_total", "") >= tokens as f64);
    assert_eq!(service.metric("queue_wait_seconds_count", ""), 120.0);
    assert_eq!(service.metric("live_replicas", ""), 2.0);
    assert_eq!(service.metric("replicas_lost_total", ""), 0.0);
}

#[tokio::test]
async fn an_alias_names_the_model_and_other_names_none() {
    let service = Service::start(double(), 1, batching(), limits()).await;
    let name = |name| service.handle.model(name).map(|model| model.card().name.clone());
    assert_eq!(name("alias"), name("double"));
    assert!(name("double").is_some());
    assert_eq!(name("other"), None);
    assert_eq!(service.handle.models().len(), 1);
}

#[tokio::test]
async fn a_purpose_puts_the_models_prefix_before_every_text() {
    let model = double().with_card(|card| {
        card.query_prefix = "query: ".to_owned();
        card.passage_prefix = "passage: ".to_owned();
    });
    let service = Service::start(model, 1, batching(), limits()).await;
    let table = [
        (Purpose::Plain, "a b"),
        (Purpose::Query, "query: a b"),
        (Purpose::Passage, "passage: a b"),
    ];
    for (purpose, read_as) in table {
        let call = EmbedCall { purpose, ..call(&["a b"]) };
        let embedded = within(service.model.embed(call)).await.expect("answers");
        assert_eq!(embedded.vectors, expected(&[read_as]), "{purpose:?}");
    }
}

#[tokio::test]
async fn a_long_text_is_read_off_the_async_threads_and_cut_when_asked() {
    let service = Service::start(double(), 1, batching(), limits()).await;
    let long = "word ".repeat(3000);
    let whole = service.embed(&["short", &long]).await;
    let problem = InputProblem::TooLong { index: 1, given_tokens: 3002, allowed_tokens: 32 };
    assert_eq!(whole, Err(EmbedError::Input(problem)));
    let call = EmbedCall { truncate: true, ..call(&["short", &long, "other"]) };
    let cut = within(service.model.embed(call)).await.expect("answers");
    assert_eq!(cut.truncated, [1]);
    assert_eq!(cut.tokens, [3, 32, 3]);
    let read_as = vec!["word"; 30].join(" ");
    assert_eq!(cut.vectors, expected(&["short", &read_as, "other"]));
}

#[tokio::test]
async fn inputs_outside_the_limits_are_refused_with_place_and_limit() {
    let service = Service::start(double(), 1, batching(), limits()).await;
    let texts = |texts: Vec<String>| Inputs::Texts(texts);
    let unknown = TokenizeError::UnknownId { id: 30_000, vocabulary: 30_000 };
    let table = [
        (texts(vec![]), EmbedError::Input(InputProblem::NoTexts)),
        (Inputs::Tokens(vec![]), EmbedError::Input(InputProblem::NoTexts)),
        (
            texts(vec!["a".to_owned(); 17]),
            EmbedError::Input(InputProblem::TooManyTexts { given: 17, allowed: 16 }),
        ),
        (
            texts(vec![["a"; 30].join(" "); 13]),
            EmbedError::Input(InputProblem::TooManyTokens { given: 416, allowed: 400 }),
        ),
        (
            Inputs::Tokens(vec![vec![5], vec![]]),
            EmbedError::Input(InputProblem::NoTokens { index: 1 }),
        ),
        (
            Inputs::Tokens(vec![vec![5], vec![6, 30_000]]),
            EmbedError::Unreadable { index: 1, error: unknown },
        ),
    ];
    let count = table.len();
    for (inputs, problem) in table {
        let call =
            EmbedCall { inputs, purpose: Purpose::Plain, truncate: false, pool: Pool::Query };
        assert_eq!(within(service.model.embed(call)).await, Err(problem));
    }
    assert_eq!(service.requests("invalid"), count as f64);
    let too_many = service.model.pieces(vec!["a".to_owned(); 17], true, Pool::Query).await;
    let problem = InputProblem::TooManyTexts { given: 17, allowed: 16 };
    assert_eq!(too_many, Err(EmbedError::Input(problem)));
}

#[tokio::test]
async fn token_ids_are_embedded_like_the_text_they_stand_for() {
    let service = Service::start(double(), 1, batching(), limits()).await;
    let pieces = service
        .model
        .pieces(vec!["some words".to_owned()], false, Pool::Query)
        .await
        .expect("reads");
    let ids = pieces[0].iter().map(|piece| piece.id).collect();
    let call = EmbedCall {
        inputs: Inputs::Tokens(vec![ids]),
        purpose: Purpose::Plain,
        truncate: false,
        pool: Pool::Query,
    };
    let embedded = within(service.model.embed(call)).await.expect("answers");
    assert_eq!(embedded.vectors, expected(&["some words"]));
    assert_eq!(embedded.tokens, [4]);
}

#[tokio::test]
async fn a_request_that_could_never_be_admitted_is_invalid_and_not_overload() {
    let settings = EmbeddingSettings {
        queue_tokens: 20,
        limits: InputLimits { texts: 16, tokens: 400 },
        ..limits()
    };
    let service = Service::start(double(), 1, batching(), settings).await;
    let text = ["a"; 8].join(" ");
    let problem = InputProblem::TooManyTokens { given: 30, allowed: 20 };
    assert_eq!(service.embed(&[&text, &text, &text]).await, Err(EmbedError::Input(problem)));
    assert!(service.embed(&[&text, &text]).await.is_ok(), "20 tokens fit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_inside_never_pass_the_queue_and_the_rest_is_told_when_to_come_back() {
    let model = GatedModel::new(double());
    let settings = EmbeddingSettings { queue_tokens: 50, ..limits() };
    let service = Service::start(model.clone(), 1, batching(), settings).await;
    model.shut();
    // 7 tokens each: 7 of them fit into 50.
    let text = "a b c d e";
    let tasks: Vec<_> = (0..20).map(|_| service.spawn(text)).collect();
    super::service::until(|| service.requests("overloaded") == 13.0).await;
    assert_eq!(service.model.permits(Pool::Query).available_permits(), 1);
    model.open_gate();
    let mut answered = 0;
    for task in tasks {
        match within(task).await.expect("no panic") {
            Ok(embedded) => {
                assert_eq!(embedded.vectors, expected(&[text]));
                answered += 1;
            }
            Err(EmbedError::Overloaded { retry_after_ms }) => {
                assert!((1000..=60_000).contains(&retry_after_ms), "{retry_after_ms}");
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(answered, 7);
    service.until_quiet().await;
    assert!(service.embed(&[text]).await.is_ok(), "there is room again");
}

fn plain(inputs: Inputs) -> EmbedCall {
    EmbedCall { inputs, purpose: Purpose::Plain, truncate: false, pool: Pool::Query }
}

#[tokio::test]
async fn a_model_takes_the_inputs_of_its_task_and_no_others() {
    let pairs = || Inputs::Pairs(vec![("query".to_owned(), "a passage".to_owned())]);
    let texts = || Inputs::Texts(vec!["a text".to_owned()]);
    let dense = Service::start(double(), 1, batching(), limits()).await;
    match within(dense.model.embed(plain(pairs()))).await {
        Err(EmbedError::Refused(why)) => assert!(why.contains("no pairs"), "{why}"),
        other => panic!("{other:?}"),
    }
    let image = Inputs::Images(vec![b"\x89PNG".to_vec()]);
    let refused = within(dense.model.embed(plain(image.clone()))).await;
    assert!(matches!(refused, Err(EmbedError::Unreadable { index: 0, .. })), "{refused:?}");

    let judge = double().with_card(|card| {
        card.task = Task::Rerank;
        card.query_prefix = "find ".to_owned();
    });
    let judge = Service::start(judge, 1, batching(), limits()).await;
    let scored = within(judge.model.embed(plain(pairs()))).await.expect("answers");
    assert_eq!((scored.vectors.len(), scored.vectors[0].len()), (1, 1));
    assert_eq!(scored.tokens, [7], "the query's prefix, three special tokens, four words");
    match within(judge.model.embed(plain(texts()))).await {
        Err(EmbedError::Refused(why)) => assert!(why.contains("rerank"), "{why}"),
        other => panic!("{other:?}"),
    }
    let empty = Inputs::Pairs(vec![("query".to_owned(), String::new())]);
    let empty = within(judge.model.embed(plain(empty))).await;
    assert_eq!(empty, Err(EmbedError::Input(InputProblem::NoTokens { index: 0 })));

    let clip = double().with_card(|card| card.images = true);
    let clip = Service::start(clip, 1, batching(), limits()).await;
    let seen = within(clip.model.embed(plain(image))).await.expect("answers");
    assert_eq!((seen.tokens, seen.truncated), (vec![5], vec![]));
    let many = Inputs::Images(vec![b"\x89PNG".to_vec(); 17]);
    let many = within(clip.model.embed(plain(many))).await;
    let problem = InputProblem::TooManyTexts { given: 17, allowed: 16 };
    assert_eq!(many, Err(EmbedError::Input(problem)));
}
