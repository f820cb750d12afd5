//! What a search costs in each number format and by the graph, and how many of the nearest it
//! finds; and how fast records are written.
//!
//! The baseline is a plain exact loop over f32 vectors in memory, one product after the other, as
//! the compiler makes it. All are searched through the sink, its look at the store included.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use headwater_storage::Environment;
use headwater_storage::memory::MemoryStore;
use headwater_storage::retry::{Retry, RetryPolicy};
use headwater_vectors::{Metric, NumberFormat, Record, RecordId, SearchQuery, Sink, Space};
use headwater_vectors_embedded::{EmbeddedSink, EmbeddedVectorsSettings};

const RECORDS: u64 = 50_000;
const DIMENSIONS: usize = 384;
const CLUSTERS: u64 = 500;
const QUERIES: u64 = 200;
const HITS: usize = 10;

fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Nearly normal: the sum of four even draws.
fn component(seed: u64, place: u64) -> f32 {
    let bits = mixed(mixed(seed) ^ place);
    let parts = [0, 16, 32, 48].map(|shift| ((bits >> shift) & 0xffff) as f32 / 32_768.0 - 1.0);
    parts.iter().sum()
}

/// Of length 1 around one of the clusters' centres, as texts lie around their subjects.
fn vector(seed: u64) -> Vec<f32> {
    let centre = (1 << 40) | (mixed(seed) % CLUSTERS);
    let places = 0..DIMENSIONS as u64;
    let mut vector: Vec<f32> =
        places.map(|place| component(centre, place) + component(seed, place)).collect();
    let length = vector.iter().map(|component| component * component).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|component| *component /= length);
    vector
}

fn record(number: u64, vector: Vec<f32>) -> Record {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&mixed(number).to_be_bytes());
    let (model, version) = ("model".to_owned(), "version".to_owned());
    let source = format!("document {}", number / 20);
    Record { id: RecordId(id), vector, model, version, source, fields: Default::default() }
}

fn sink(settings: EmbeddedVectorsSettings) -> EmbeddedSink {
    let origin = Instant::now();
    let draws = AtomicU64::new(1);
    let environment = Environment::new(
        move || origin.elapsed().as_millis() as u64,
        |ms| Box::pin(tokio::time::sleep(Duration::from_millis(ms))),
        move || mixed(draws.fetch_add(1, Ordering::Relaxed)),
    );
    let store = Arc::new(MemoryStore::new(environment.clone()));
    EmbeddedSink::new(Retry::new(store, environment, RetryPolicy::default()), settings)
}

/// The nearest of all by a plain loop.
fn plain(records: &[Record], query: &[f32]) -> Vec<RecordId> {
    let mut scored: Vec<(f32, RecordId)> = records
        .iter()
        .map(|record| {
            let product: f32 = query.iter().zip(&record.vector).map(|(q, v)| q * v).sum();
            (product, record.id)
        })
        .collect();
    scored.select_nth_unstable_by(HITS, |left, right| right.0.total_cmp(&left.0));
    scored.into_iter().take(HITS).map(|(_, id)| id).collect()
}

struct Row {
    what: &'static str,
    p50_ms: f64,
    recall: f64,
    bytes: usize,
    upserts_per_s: f64,
}

fn median_ms(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

async fn measured(
    what: &'static str,
    (format, exact_records_max): (NumberFormat, usize),
    records: &[Record],
    queries: &[(Vec<f32>, Vec<RecordId>)],
) -> Row {
    let sink = sink(EmbeddedVectorsSettings { exact_records_max, ..Default::default() });
    let (model, version) = ("model".to_owned(), "version".to_owned());
    let (name, dimensions, metric) = ("space".to_owned(), DIMENSIONS, Metric::Cosine);
    sink.create(&Space { name, model, version, dimensions, metric, format })
        .await
        .expect("created");
    let began = Instant::now();
    for records in records.chunks(256) {
        sink.upsert("space", records.to_vec()).await.expect("written");
    }
    let upserts_per_s = records.len() as f64 / began.elapsed().as_secs_f64();
    let ask = |vector: &[f32]| SearchQuery {
        vector: vector.to_vec(),
        version: "version".to_owned(),
        limit: HITS,
        filter: None,
    };
    // Reads the space, and starts the graph where there shall be one.
    sink.search("space", &ask(&queries[0].0)).await.expect("a search");
    if exact_records_max < records.len() {
        let began = Instant::now();
        // The graph is whole once searches are far faster than a scan.
        while time_ms(&sink, &ask(&queries[0].0)).await > 1.0 && began.elapsed().as_secs() < 300 {
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        println!("the graph took {:.1} s", began.elapsed().as_secs_f64());
    }
    let (mut times, mut met) = (Vec::new(), 0);
    for (vector, nearest) in queries {
        let query = ask(vector);
        let began = Instant::now();
        let hits = black_box(sink.search("space", &query).await.expect("a search"));
        times.push(began.elapsed().as_secs_f64() * 1e3);
        met += hits.iter().filter(|hit| nearest.contains(&hit.record.id)).count();
    }
    let recall = met as f64 / (queries.len() * HITS) as f64;
    Row { what, p50_ms: median_ms(times), recall, bytes: format.bytes(DIMENSIONS), upserts_per_s }
}

async fn time_ms(sink: &EmbeddedSink, query: &SearchQuery) -> f64 {
    let began = Instant::now();
    black_box(sink.search("space", query).await.expect("a search"));
    began.elapsed().as_secs_f64() * 1e3
}

async fn run() {
    let records: Vec<Record> = (0..RECORDS).map(|number| record(number, vector(number))).collect();
    let (mut queries, mut times) = (Vec::new(), Vec::new());
    for number in 0..QUERIES {
        let vector = vector(1_000_000 + number);
        let began = Instant::now();
        let nearest = black_box(plain(&records, &vector));
        times.push(began.elapsed().as_secs_f64() * 1e3);
        queries.push((vector, nearest));
    }
    let base = median_ms(times);
    println!("plain loop over f32: p50 {base:.2} ms");
    let head = ["what", "p50 ms", "ratio", "recall@10", "bytes", "upserts/s"];
    let [what, p50, ratio, recall, bytes, upserts] = head;
    println!("{what:<16} {p50:>8} {ratio:>8} {recall:>10} {bytes:>7} {upserts:>10}");
    for (what, format, exact_records_max) in [
        ("exact f32", NumberFormat::F32, usize::MAX),
        ("exact f16", NumberFormat::F16, usize::MAX),
        ("exact i8", NumberFormat::I8, usize::MAX),
        ("binary", NumberFormat::Binary, usize::MAX),
        ("graph over f16", NumberFormat::F16, 20_000),
    ] {
        let row = measured(what, (format, exact_records_max), &records, &queries).await;
        let Row { what, p50_ms, recall, bytes, upserts_per_s } = row;
        let ratio = base / p50_ms;
        println!(
            "{what:<16} {p50_ms:>8.2} {ratio:>7.1}× {recall:>10.4} {bytes:>7} {upserts_per_s:>10.0}"
        );
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(run());
}
