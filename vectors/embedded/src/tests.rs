//! The sink over the memory store: the port's suite, and what only this sink promises.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use headwater_storage::Environment;
use headwater_storage::memory::{Fault, FaultPoint, MemoryStore};
use headwater_storage::retry::{Retry, RetryPolicy};
#[cfg(feature = "usearch")]
use headwater_vectors::Filter;
use headwater_vectors::{
    Metric, NumberFormat, Record, RecordId, SearchQuery, Sink, SinkError, Space, Value, conformance,
};

use crate::{EmbeddedSink, EmbeddedVectorsSettings};

fn environment() -> Environment {
    let origin = tokio::time::Instant::now();
    let draws = AtomicU64::new(1);
    Environment::new(
        move || origin.elapsed().as_millis() as u64,
        |ms| Box::pin(tokio::time::sleep(Duration::from_millis(ms))),
        move || mixed(draws.fetch_add(1, Ordering::Relaxed)),
    )
}

/// SplitMix64's mixer, so that neighbouring draws have nothing in common.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn sink(
    store: &MemoryStore,
    environment: &Environment,
    settings: EmbeddedVectorsSettings,
) -> EmbeddedSink {
    let policy = RetryPolicy { tries: 50, ..RetryPolicy::default() };
    let retry = Retry::new(Arc::new(store.clone()), environment.clone(), policy);
    EmbeddedSink::new(retry, settings)
}

#[tokio::test(start_paused = true)]
async fn the_suite_passes() {
    let environment = environment();
    let store = MemoryStore::new(environment.clone());
    let sink = sink(&store, &environment, EmbeddedVectorsSettings::default());
    let count = conformance::run(&sink, 1).await;
    assert_eq!(count.unwrap_or_else(|violation| panic!("{violation}")), 19);
    assert_eq!(store.contents(), Vec::new(), "the suite drops its spaces, and nothing is left");
    assert_eq!(sink.spaces_in_memory().await, Vec::new());
}

#[tokio::test(start_paused = true)]
async fn the_suite_passes_while_the_store_fails_now_and_then() {
    let environment = environment();
    let draws = AtomicU64::new(7);
    let store = MemoryStore::with_faults(environment.clone(), move |point| {
        let draw = mixed(draws.fetch_add(1, Ordering::Relaxed));
        match (point, draw % 200) {
            (FaultPoint::Commit, 0..6) => Some(Fault::Conflict),
            (FaultPoint::Commit, 6..12) => Some(Fault::UnknownCommitted),
            (FaultPoint::Commit, 12..18) => Some(Fault::UnknownLost),
            (FaultPoint::Begin, 0..2) => Some(Fault::Unavailable),
            _ => None,
        }
    });
    let settings = EmbeddedVectorsSettings {
        commits_per_mark: 2,
        marks_kept: 1,
        ..EmbeddedVectorsSettings::default()
    };
    let sink = sink(&store, &environment, settings);
    let count = conformance::run(&sink, 2).await;
    assert_eq!(count.unwrap_or_else(|violation| panic!("{violation}")), 19);
}

fn space(name: &str, dimensions: usize, format: NumberFormat) -> Space {
    let (model, version) = ("model".to_owned(), "version".to_owned());
    let metric = Metric::Cosine;
    Space { name: name.to_owned(), model, version, dimensions, metric, format }
}

fn vector(seed: u64, dimensions: usize) -> Vec<f32> {
    let component = |place| (mixed(seed << 20 | place) >> 40) as f32 / (1 << 23) as f32 - 1.0;
    (0..dimensions as u64).map(component).collect()
}

fn record(number: u64, vector: Vec<f32>) -> Record {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&mixed(number).to_be_bytes());
    let fields = [("number".to_owned(), Value::Number(number as f64))].into();
    let (model, version) = ("model".to_owned(), "version".to_owned());
    Record { id: RecordId(id), vector, model, version, source: "source".to_owned(), fields }
}

fn query(vector: Vec<f32>, limit: usize) -> SearchQuery {
    SearchQuery { vector, version: "version".to_owned(), limit, filter: None }
}

async fn found(sink: &EmbeddedSink, name: &str, query: &SearchQuery) -> Vec<RecordId> {
    let hits = sink.search(name, query).await.expect("a search");
    hits.into_iter().map(|hit| hit.record.id).collect()
}

/// Two spaces fit and three do not: the one searched the longest ago is read anew when it is
/// searched again. One that does not fit alone is refused and leaves nothing behind.
#[tokio::test(start_paused = true)]
async fn indexes_beyond_the_memory_are_given_back() {
    let environment = environment();
    let store = MemoryStore::new(environment.clone());
    let first = sink(&store, &environment, EmbeddedVectorsSettings::default());
    for name in ["a", "b", "c"] {
        first.create(&space(name, 16, NumberFormat::F32)).await.unwrap();
        let records = (0..50).map(|number| record(number, vector(number, 16))).collect();
        first.upsert(name, records).await.unwrap();
    }
    let wanted = query(vector(7, 16), 3);
    let nearest = found(&first, "a", &wanted).await;
    let bytes = first.spaces_in_memory().await[0].bytes;
    let held = async |sink: &EmbeddedSink| -> Vec<String> {
        sink.spaces_in_memory().await.into_iter().map(|space| space.name).collect()
    };
    let tight = |memory_bytes_max| {
        let settings = EmbeddedVectorsSettings { memory_bytes_max, ..Default::default() };
        sink(&store, &environment, settings)
    };
    let two = tight(2 * bytes);
    for (name, left) in [("a", "a"), ("b", "ab"), ("a", "ab"), ("c", "ac"), ("b", "bc")] {
        assert_eq!(found(&two, name, &wanted).await, nearest, "{name}");
        assert_eq!(held(&two).await.concat(), left);
    }
    let none = tight(bytes - 1);
    let refused = none.search("a", &wanted).await.unwrap_err();
    assert!(refused.to_string().contains("vectors.memory_mb"), "{refused}");
    assert_eq!(none.spaces_in_memory().await[0].records, 0);
}

/// Two nodes over one store: each sees what the other one wrote, by the log and, once it has
/// fallen too far behind, by reading the space anew.
#[tokio::test(start_paused = true)]
async fn a_node_sees_what_another_one_wrote() {
    let environment = environment();
    let store = MemoryStore::new(environment.clone());
    for (commits_per_mark, marks_kept) in [(1_000_000, 8), (1, 2)] {
        let settings =
            EmbeddedVectorsSettings { commits_per_mark, marks_kept, ..Default::default() };
        let here = sink(&store, &environment, settings);
        let there = sink(&store, &environment, settings);
        let name = format!("space {commits_per_mark}");
        here.create(&space(&name, 8, NumberFormat::F32)).await.expect("created");
        for round in 0..6 {
            let all = query(vector(1, 8), 1_000);
            let before = found(&there, &name, &all).await.len();
            assert_eq!(before as u64, round * 19);
            for number in 0..20 {
                let one = record(round * 100 + number, vector(round * 100 + number, 8));
                here.upsert(&name, vec![one]).await.expect("written");
            }
            let gone = record(round * 100 + 3, Vec::new()).id;
            here.delete(&name, &[gone]).await.expect("removed");
            let seen = found(&there, &name, &all).await;
            assert_eq!((seen.len() as u64, seen.contains(&gone)), ((round + 1) * 19, false));
            assert_eq!(seen, found(&here, &name, &all).await);
        }
        let log = store.contents().into_iter();
        let rows = log.filter(|(key, _)| key.windows(3).any(|part| part == b"log")).count();
        assert!(if commits_per_mark == 1 { rows <= 4 } else { rows > 100 }, "{rows} rows of log");
        here.drop_space(&name).await.expect("dropped");
        assert!(here.spaces_in_memory().await.is_empty());
        assert_eq!(there.spaces_in_memory().await[0].records, 6 * 19);
        there.release_dropped().await.expect("looked");
        assert!(there.spaces_in_memory().await.is_empty());
    }
}

/// The space is the same for a node that had it open while another one made it anew.
#[tokio::test(start_paused = true)]
async fn a_space_made_anew_elsewhere_is_not_mixed_with_the_old_one() {
    let environment = environment();
    let store = MemoryStore::new(environment.clone());
    let here = sink(&store, &environment, EmbeddedVectorsSettings::default());
    let there = sink(&store, &environment, EmbeddedVectorsSettings::default());
    let space = space("space", 8, NumberFormat::F32);
    here.create(&space).await.expect("created");
    let (old, new) = (record(1, vector(1, 8)), record(2, vector(2, 8)));
    here.upsert("space", vec![old.clone()]).await.expect("written");
    assert_eq!(found(&there, "space", &query(vector(1, 8), 9)).await, [old.id]);
    here.drop_space("space").await.expect("dropped");
    here.create(&space).await.expect("created");
    here.upsert("space", vec![new.clone()]).await.expect("written");
    assert_eq!(found(&there, "space", &query(vector(1, 8), 9)).await, [new.id]);
}

/// Kept in f32 until there are enough, then all in i8, wherever they are read.
#[tokio::test(start_paused = true)]
async fn an_i8_space_is_calibrated_by_its_first_records() {
    let environment = environment();
    let store = MemoryStore::new(environment.clone());
    let settings = EmbeddedVectorsSettings { calibration_records: 100, ..Default::default() };
    let here = sink(&store, &environment, settings);
    let there = sink(&store, &environment, settings);
    here.create(&space("space", 16, NumberFormat::I8)).await.expect("created");
    let records: Vec<Record> = (0..300).map(|number| record(number, vector(number, 16))).collect();
    here.upsert("space", records[..60].to_vec()).await.expect("written");
    let early = here.get("space", &[records[7].id]).await.expect("read");
    assert_eq!(early, [Some(records[7].clone())], "as it was written");
    assert_eq!(found(&there, "space", &query(vector(7, 16), 1)).await, [records[7].id]);
    here.upsert("space", records[60..].to_vec()).await.expect("written");
    let late = there.get("space", &[records[7].id]).await.expect("read");
    let late = late[0].clone().expect("a record");
    let worst = late.vector.iter().zip(&records[7].vector).map(|(is, was)| (is - was).abs());
    let worst = worst.fold(0.0, f32::max);
    assert!(worst > 0.0 && worst < 0.05, "{worst}");
    let hits = there.search("space", &query(vector(7, 16), 1)).await.expect("a search");
    assert_eq!(hits[0].record, late);
    let bytes: usize = store.contents().iter().map(|(_, value)| value.len()).max().unwrap_or(0);
    let longest_i8_row = store
        .contents()
        .iter()
        .filter(|(key, _)| key.windows(6).any(|part| part == b"record"))
        .map(|(_, value)| value.len())
        .max();
    assert!(longest_i8_row.is_some_and(|length| length < 16 + 48), "{longest_i8_row:?} of {bytes}");
}

#[tokio::test(start_paused = true)]
async fn what_the_store_cannot_keep_is_refused_with_the_limit() {
    let environment = environment();
    let store = MemoryStore::new(environment.clone());
    let sink = sink(&store, &environment, EmbeddedVectorsSettings::default());
    let long_name = space(&"n".repeat(1_001), 8, NumberFormat::F32);
    let cases = [
        (sink.create(&long_name).await, "1001 bytes; give it 1 to 1000"),
        (sink.create(&space("", 8, NumberFormat::F32)).await, "0 bytes; give it 1 to 1000"),
        (sink.create(&space("a", 0, NumberFormat::F32)).await, "dimensions is 0"),
        (sink.create(&space("a", 16_385, NumberFormat::F32)).await, "1 to 16384"),
    ];
    for (answer, part) in cases {
        let Err(SinkError::Request(text)) = answer else { panic!("{answer:?}") };
        assert!(text.contains(part), "'{text}' does not say '{part}'");
    }
    let widest = space("a", 16_384, NumberFormat::F32);
    sink.create(&widest).await.expect("created");
    let mut large = record(1, vector(1, 16_384));
    sink.upsert("a", vec![large.clone()]).await.expect("the widest vector fits");
    large.source = "s".repeat(40_000);
    let answer = sink.upsert("a", vec![large]).await;
    let Err(SinkError::Request(text)) = answer else { panic!("{answer:?}") };
    assert!(text.contains("at most 100000 are allowed"), "{text}");
}

/// Searches that come while the space is read wait for it, and all of them are right.
#[tokio::test(flavor = "multi_thread")]
async fn searches_at_once_share_one_reading() {
    let environment = environment();
    let store = MemoryStore::new(environment.clone());
    let writer = sink(&store, &environment, EmbeddedVectorsSettings::default());
    writer.create(&space("space", 16, NumberFormat::F16)).await.expect("created");
    let records: Vec<Record> =
        (0..2_000).map(|number| record(number, vector(number, 16))).collect();
    writer.upsert("space", records.clone()).await.expect("written");
    let reader = sink(&store, &environment, EmbeddedVectorsSettings::default());
    let searches: Vec<_> = (0..16)
        .map(|number| {
            let reader = reader.clone();
            tokio::spawn(
                async move { found(&reader, "space", &query(vector(number, 16), 1)).await },
            )
        })
        .collect();
    for (number, search) in searches.into_iter().enumerate() {
        assert_eq!(search.await.expect("no panic"), [records[number].id]);
    }
}

/// By the graph, beside the exact search: nearly the same hits, never a dead one, and new ones
/// at once.
#[cfg(feature = "usearch")]
#[tokio::test(flavor = "multi_thread")]
async fn a_large_space_is_searched_by_its_graph() {
    let environment = environment();
    let store = MemoryStore::new(environment.clone());
    let exact = sink(&store, &environment, EmbeddedVectorsSettings::default());
    let settings = EmbeddedVectorsSettings { exact_records_max: 500, ..Default::default() };
    let graph = sink(&store, &environment, settings);
    let name = "space";
    exact.create(&space(name, 32, NumberFormat::F16)).await.expect("created");
    let records: Vec<Record> =
        (0..4_000).map(|number| record(number, vector(number, 32))).collect();
    exact.upsert(name, records.clone()).await.expect("written");
    let any = query(vector(1, 32), 10);
    assert_eq!(found(&graph, name, &any).await, found(&exact, name, &any).await, "no graph yet");
    tokio::time::timeout(Duration::from_secs(60), async {
        while graph.spaces_in_memory().await[0].in_graph < 4_000 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the graph fills up");
    let gone: Vec<RecordId> = records[..400].iter().map(|record| record.id).collect();
    exact.delete(name, &gone).await.expect("removed");
    let moved: Vec<Record> =
        (400..600).map(|number| record(number, vector(number + 50_000, 32))).collect();
    exact.upsert(name, moved.clone()).await.expect("moved");
    let mut met = 0;
    for number in 0..100 {
        let mut query = query(vector(number * 5, 32), 10);
        if number % 2 == 0 {
            // A filter that half of the records pass, which the graph itself applies.
            query.filter = Some(Filter::Between("number".to_owned(), None, Some(2_300.0)));
        }
        let (near, all) = (found(&graph, name, &query).await, found(&exact, name, &query).await);
        assert_eq!(near.len(), 10);
        assert!(near.iter().all(|id| !gone.contains(id)), "a removed record was found");
        met += near.iter().filter(|id| all.contains(id)).count();
    }
    assert!(met >= 950, "{met} of 1,000 of the nearest were found");
    for moved in &moved[..20] {
        let hits = graph.search(name, &query(moved.vector.clone(), 1)).await.expect("a search");
        assert_eq!(hits[0].record.id, moved.id);
    }
    let few = Filter::Between("number".to_owned(), Some(3_000.0), Some(3_004.0));
    let query = SearchQuery { filter: Some(few), ..any };
    assert_eq!(found(&graph, name, &query).await.len(), 5);
}
