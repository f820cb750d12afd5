//! What the vector cache answers, whom it makes wait, and what it does when work fails.

use headwater_models::Model;
use headwater_models::double::{DoubleModel, Fault};
use headwater_storage::{RangeRead, tuple};

use super::calibrations::retry;
use super::gated::GatedModel;
use super::service::{NAME, Service, batching, call, double, expected, limits, until, within};
use crate::embedding::{
    CacheSettings, EmbedCall, EmbedError, Embedded, EmbeddingSettings, Pool, Purpose, StoredVectors,
};

fn cached(bytes: u64) -> EmbeddingSettings {
    EmbeddingSettings { cache: CacheSettings { bytes, ..Default::default() }, ..limits() }
}

async fn serve(model: impl Model + 'static) -> Service {
    Service::start(model, 1, batching(), cached(1 << 20)).await
}

/// Hits, misses and joins so far.
fn counts(service: &Service) -> [f64; 3] {
    ["hits", "misses", "joined"].map(|name| service.metric(&format!("cache_{name}_total"), ""))
}

async fn embedded(service: &Service, texts: &[&str]) -> Embedded {
    let embedded = service.embed(texts).await.expect("answers");
    assert_eq!(embedded.vectors, expected(texts), "{texts:?}");
    embedded
}

/// Rows that the encoders got, the warming ones left out.
fn rows(model: &GatedModel) -> usize {
    model.batches().iter().map(|batch| batch.sequences.len()).sum()
}

#[tokio::test]
async fn a_text_is_computed_once_and_found_again_in_its_place() {
    let model = GatedModel::new(double());
    let service = serve(model.clone()).await;
    let first = embedded(&service, &["a", "b c", "d"]).await;
    assert_eq!((first.cached, rows(&model)), (0, 3));
    let second = embedded(&service, &["x", "d", "y z", "a", "d"]).await;
    assert_eq!((second.cached, rows(&model)), (3, 5), "only x and y z go to the encoder");
    assert_eq!(second.tokens, [3, 3, 4, 3, 3], "a hit costs its tokens too");
    assert_eq!(counts(&service), [3.0, 5.0, 0.0]);
    assert_eq!(service.metric("tokens_total", ""), 17.0);
    service.until_quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hits_take_no_permit_and_no_batch() {
    let model = GatedModel::new(double());
    let settings = EmbeddingSettings { queue_tokens: 8, ..cached(1 << 20) };
    let service = Service::start(model.clone(), 1, batching(), settings).await;
    embedded(&service, &["known"]).await;
    service.until_quiet().await;
    model.shut();
    let waiting = service.spawn("a b c d e f");
    until(|| service.model.permits(Pool::Query).available_permits() == 0).await;
    assert_eq!(embedded(&service, &["known"]).await.cached, 1);
    let refused = service.embed(&["known", "new"]).await;
    assert!(matches!(refused, Err(EmbedError::Overloaded { .. })), "{refused:?}");
    model.open_gate();
    within(waiting).await.expect("no panic").expect("answers");
}

#[tokio::test]
async fn repeated_texts_of_one_request_are_computed_once() {
    let model = GatedModel::new(double());
    let service = serve(model.clone()).await;
    let answer = embedded(&service, &["a", "b", "a", "a", "b"]).await;
    assert_eq!((answer.cached, rows(&model)), (0, 2));
    assert_eq!(counts(&service), [0.0, 2.0, 3.0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn identical_requests_at_once_share_one_computation() {
    let model = GatedModel::new(double());
    let service = serve(model.clone()).await;
    model.shut();
    let tasks: Vec<_> = (0..50).map(|_| service.spawn("a b c")).collect();
    until(|| counts(&service) == [0.0, 1.0, 49.0]).await;
    model.open_gate();
    for task in tasks {
        let embedded = within(task).await.expect("no panic").expect("answers");
        assert_eq!(embedded.vectors, expected(&["a b c"]));
    }
    assert_eq!(rows(&model), 1);
    service.until_quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_wait_for_each_others_texts_all_end() {
    let model = GatedModel::new(double());
    let service = serve(model.clone()).await;
    model.shut();
    let tasks: Vec<_> = (0..40usize)
        .map(|number| {
            let texts: Vec<String> =
                (0..6).map(|place| format!("t{}", (number * 5 + place * 3) % 11)).collect();
            let model = service.model.clone();
            tokio::spawn(async move {
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                let embedded = model.embed(call(&texts)).await.expect("answers");
                assert_eq!(embedded.vectors, expected(&texts));
            })
        })
        .collect();
    until(|| counts(&service).iter().sum::<f64>() == 240.0).await;
    model.open_gate();
    for task in tasks {
        within(task).await.expect("no panic");
    }
    assert_eq!(rows(&model), 11, "each text once");
    service.until_quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_takes_over_when_the_client_that_computes_leaves() {
    let model = GatedModel::new(double());
    let service = serve(model.clone()).await;
    model.shut();
    let leader = service.spawn("a b c");
    until(|| model.batches().len() == 1).await;
    let others: Vec<_> = (0..5).map(|_| service.spawn("a b c")).collect();
    until(|| counts(&service) == [0.0, 1.0, 5.0]).await;
    leader.abort();
    assert!(within(leader).await.is_err_and(|error| error.is_cancelled()));
    model.open_gate();
    for task in others {
        let embedded = within(task).await.expect("no panic").expect("answers");
        assert_eq!(embedded.vectors, expected(&["a b c"]));
    }
    assert!(rows(&model) <= 2, "one of the five computed for all");
    service.until_quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_takes_over_when_the_work_fails() {
    let inner = double();
    let model = GatedModel::new(inner.clone());
    let service = serve(model.clone()).await;
    // A lost replica gives a text one more try; the second loss fails its request.
    inner.inject(Fault::Panic);
    inner.inject(Fault::Panic);
    model.shut();
    let tasks: Vec<_> = (0..6).map(|_| service.spawn("a b c")).collect();
    until(|| counts(&service) == [0.0, 1.0, 5.0]).await;
    model.open_gate();
    let mut failed = 0;
    for task in tasks {
        match within(task).await.expect("no panic") {
            Ok(embedded) => assert_eq!(embedded.vectors, expected(&["a b c"])),
            Err(error) => {
                assert_eq!(error, EmbedError::Unavailable);
                failed += 1;
            }
        }
    }
    assert!(failed <= 1, "{failed} failed, but only the first one's work did");
    service.until_quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_tokens_wait_for_others_than_may_queue() {
    let model = GatedModel::new(double());
    let settings = EmbeddingSettings { queue_tokens: 20, ..cached(1 << 20) };
    let service = Service::start(model.clone(), 1, batching(), settings).await;
    model.shut();
    // 5 tokens each: one computes, four wait, the rest is told to come back.
    let tasks: Vec<_> = (0..12).map(|_| service.spawn("a b c")).collect();
    until(|| service.requests("overloaded") == 7.0).await;
    model.open_gate();
    let mut answered = 0;
    for task in tasks {
        match within(task).await.expect("no panic") {
            Ok(_) => answered += 1,
            Err(error) => assert!(matches!(error, EmbedError::Overloaded { .. }), "{error:?}"),
        }
    }
    assert_eq!(answered, 5);
    service.until_quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_does_not_wait_for_bulk_work_and_bulk_work_waits_for_a_query() {
    let model = GatedModel::new(double());
    let service = serve(model.clone()).await;
    model.shut();
    let send = |pool| {
        let (model, call) = (service.model.clone(), EmbedCall { pool, ..call(&["a b c"]) });
        tokio::spawn(async move { model.embed(call).await })
    };
    let bulk = send(Pool::Ingest);
    until(|| counts(&service) == [0.0, 1.0, 0.0]).await;
    let query = send(Pool::Query);
    until(|| counts(&service) == [0.0, 2.0, 0.0]).await;
    let more = [send(Pool::Ingest), send(Pool::Query)];
    until(|| counts(&service) == [0.0, 2.0, 2.0]).await;
    model.open_gate();
    for task in [bulk, query].into_iter().chain(more) {
        let embedded = within(task).await.expect("no panic").expect("answers");
        assert_eq!(embedded.vectors, expected(&["a b c"]));
    }
    service.until_quiet().await;
}

#[tokio::test]
async fn what_the_model_reads_differently_is_kept_apart() {
    let model = double().with_card(|card| {
        card.query_prefix = "query: ".to_owned();
        card.passage_prefix = "query: ".to_owned();
    });
    let service = serve(model).await;
    let embed = |purpose| {
        let call = EmbedCall { purpose, ..call(&["a"]) };
        within(service.model.embed(call))
    };
    let table = [
        (Purpose::Plain, "a", 0),
        (Purpose::Query, "query: a", 0),
        (Purpose::Passage, "query: a", 1),
        (Purpose::Plain, "a", 1),
    ];
    for (purpose, read_as, cached) in table {
        let answer = embed(purpose).await.expect("answers");
        assert_eq!((answer.vectors, answer.cached), (expected(&[read_as]), cached), "{purpose:?}");
    }
    // White space is not read, and what is cut off neither.
    let call = EmbedCall { truncate: true, ..call(&[" a\n", &"a ".repeat(40), &"a ".repeat(50)]) };
    let answer = within(service.model.embed(call)).await.expect("answers");
    assert_eq!((answer.cached, answer.truncated), (1, vec![1, 2]));
    assert_eq!(answer.vectors[1], answer.vectors[2]);
}

#[tokio::test]
async fn the_cache_stays_within_its_bytes_and_says_so() {
    let model = GatedModel::new(double());
    let limit = 8000;
    let service = Service::start(model.clone(), 1, batching(), cached(limit)).await;
    assert_eq!(service.metric("cache_limit_bytes", ""), limit as f64);
    for number in 0..300 {
        embedded(&service, &[&format!("text {number}")]).await;
        assert!(service.metric("cache_bytes", "") <= limit as f64);
    }
    assert!(service.metric("cache_bytes", "") > 0.8 * limit as f64);
    assert_eq!(service.metric("cache_nearly_full", ""), 1.0);
    let kept = service.metric("cache_bytes", "") / headwater_embedding::entry_bytes(8) as f64;
    assert_eq!(service.metric("cache_evictions_total", ""), 300.0 - kept);
    assert_eq!(rows(&model), 300);
}

#[tokio::test]
async fn what_is_asked_for_often_survives_texts_asked_for_once() {
    let room = 500;
    let limit = room * headwater_embedding::entry_bytes(8) as u64;
    let service = Service::start(double(), 1, batching(), cached(limit)).await;
    let bulk = async |from: u64, to: u64| {
        for start in (from..to).step_by(10) {
            let texts: Vec<String> = (start..start + 10).map(|id| format!("bulk {id}")).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let call = EmbedCall { pool: Pool::Ingest, ..call(&texts) };
            within(service.model.embed(call)).await.expect("answers");
        }
    };
    let often = ["how", "are", "you"];
    bulk(0, room + 100).await;
    for _ in 0..10 {
        embedded(&service, &often).await;
    }
    // Four times what there is room for; by age alone these would be long gone.
    bulk(room + 100, 5 * room).await;
    assert_eq!(embedded(&service, &often).await.cached, 3);
}

#[tokio::test]
async fn a_limit_can_be_set_for_one_model_and_nothing_is_kept_without_one() {
    let model = GatedModel::new(double());
    let by_model = [(NAME.to_owned(), 0)].into();
    let cache = CacheSettings { by_model, ..CacheSettings::default() };
    let settings = EmbeddingSettings { cache, ..limits() };
    let service = Service::start(model.clone(), 1, batching(), settings).await;
    for _ in 0..2 {
        assert_eq!(embedded(&service, &["a", "a"]).await.cached, 0);
    }
    assert_eq!(rows(&model), 4);
    assert_eq!(counts(&service), [0.0; 3]);
    assert_eq!(CacheSettings::default().bytes, 4 << 30);
}

#[tokio::test]
async fn the_store_keeps_vectors_for_other_nodes_within_its_bytes() {
    let retry = retry();
    let stored = StoredVectors::new(retry.clone(), 1 << 20);
    let cache = CacheSettings { stored: Some(stored.clone()), ..CacheSettings::default() };
    let settings = EmbeddingSettings { cache, ..limits() };
    let first = Service::start(double(), 1, batching(), settings.clone()).await;
    embedded(&first, &["a", "b c"]).await;
    let rows = async || {
        let range = RangeRead::all(tuple::below(&["embedding".into(), "vector_cache".into()]));
        let mut transaction = retry.store().begin().await.expect("begins");
        transaction.range(range).await.expect("reads").len()
    };
    let written = async |count: usize| {
        while rows().await != count {
            tokio::task::yield_now().await;
        }
    };
    within(written(2)).await;
    let model = GatedModel::new(double());
    let second = Service::start(model.clone(), 1, batching(), settings.clone()).await;
    assert_eq!(embedded(&second, &["b c", "d", "a"]).await.cached, 2);
    assert_eq!(self::rows(&model), 1, "only d is computed");
    assert_eq!(second.metric("cache_stored_hits_total", ""), 2.0);
    assert_eq!(embedded(&second, &["a"]).await.cached, 1);
    assert_eq!(second.metric("cache_stored_hits_total", ""), 2.0, "now it is in memory");
    // Another version's rows are other rows.
    let other = Service::start(DoubleModel::new(NAME, 8, 31), 1, batching(), settings).await;
    assert_eq!(embedded(&other, &["a"]).await.cached, 0);
    within(written(4)).await;
    stored.forget(&first.model.card().fingerprint).await.expect("forgets");
    assert_eq!(rows().await, 1);
    // Room for two rows, whatever comes.
    let small = StoredVectors::new(retry.clone(), 2 * 224);
    stored.forget(&other.model.card().fingerprint).await.expect("forgets");
    let cache = CacheSettings { stored: Some(small), ..CacheSettings::default() };
    let settings = EmbeddingSettings { cache, ..limits() };
    let last = Service::start(double(), 1, batching(), settings).await;
    for number in 0..30 {
        embedded(&last, &[&format!("text {number}")]).await;
        assert!(rows().await <= 2);
    }
}

#[tokio::test]
async fn failures_are_not_kept() {
    let inner = double();
    let service = serve(inner.clone()).await;
    let refusal = headwater_models::EncodeError::Input("no".to_owned());
    inner.inject(Fault::Error(refusal));
    assert!(matches!(service.embed(&["a"]).await, Err(EmbedError::Refused(_))));
    assert_eq!(embedded(&service, &["a"]).await.cached, 0);
    assert_eq!(embedded(&service, &["a"]).await.cached, 1);
}

#[tokio::test]
async fn two_versions_share_no_vector() {
    let first = serve(double()).await;
    embedded(&first, &["a"]).await;
    let other = DoubleModel::new(NAME, 8, 31);
    let second = serve(other).await;
    assert_ne!(first.model.card().fingerprint, second.model.card().fingerprint);
    assert_eq!(embedded(&second, &["a"]).await.cached, 0);
}
