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

fn query(vector: &[f32]) -> SearchQuery {
    let version = "version".to_owned();
    SearchQuery { vector: vector.to_vec(), version, limit: HITS, filter: None }
}

/// A sink with all records, and how fast it took them.
async fn filled(format: NumberFormat, exact_records_max: usize, records: &[Record]) -> Filled {
    let sink = sink(EmbeddedVectorsSettings { exact_records_max, ..Default::default() });
    let (model, version) = ("model".to_owned(), "version".to_owned());
    let (name, dimensions, metric) = ("space".to_owned(), DIMENSIONS, Metric::Cosine);
    let space = Space { name, model, version, dimensions, metric, format };
    sink.create(&space).await.expect("created");
    let began = Instant::now();
    for records in records.chunks(256) {
        sink.upsert("space", records.to_vec()).await.expect("written");
    }
    let upserts_per_s = records.len() as f64 / began.elapsed().as_secs_f64();
    // Reads the space, and starts the graph where there shall be one.
    let began = Instant::now();
    sink.search("space", &query(&records[0].vector)).await.expect("a search");
    println!("{} read into memory in {:.1} s", format.name(), began.elapsed().as_secs_f64());
    while exact_records_max < records.len() {
        if sink.spaces_in_memory().await.iter().any(|space| space.in_graph == records.len()) {
            println!("in the graph after {:.1} s", began.elapsed().as_secs_f64());
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Filled { sink, upserts_per_s, times_ms: Vec::new(), met: 0 }
}

struct Filled {
    sink: EmbeddedSink,
    upserts_per_s: f64,
    times_ms: Vec<f64>,
    met: usize,
}

impl Filled {
    async fn search(&mut self, vector: &[f32], nearest: &[RecordId]) {
        let query = query(vector);
        let began = Instant::now();
        let hits = black_box(self.sink.search("space", &query).await.expect("a search"));
        self.times_ms.push(began.elapsed().as_secs_f64() * 1e3);
        self.met += hits.iter().filter(|hit| nearest.contains(&hit.record.id)).count();
    }
}

fn median(times_ms: &mut [f64]) -> f64 {
    times_ms.sort_by(f64::total_cmp);
    times_ms[times_ms.len() / 2]
}

/// All in turn for each query, so that a busy machine is busy for all of them.
async fn run() {
    let records: Vec<Record> = (0..RECORDS).map(|number| record(number, vector(number))).collect();
    let kinds = [
        ("exact f32", NumberFormat::F32, usize::MAX),
        ("exact f16", NumberFormat::F16, usize::MAX),
        ("exact i8", NumberFormat::I8, usize::MAX),
        ("binary", NumberFormat::Binary, usize::MAX),
        ("graph over f16", NumberFormat::F16, 20_000),
    ];
    let mut sinks = Vec::new();
    for (_, format, exact_records_max) in kinds {
        sinks.push(filled(format, exact_records_max, &records).await);
    }
    let mut plain_ms = Vec::new();
    for number in 0..QUERIES {
        let vector = vector(1_000_000 + number);
        let began = Instant::now();
        let nearest = black_box(plain(&records, &vector));
        plain_ms.push(began.elapsed().as_secs_f64() * 1e3);
        for sink in &mut sinks {
            sink.search(&vector, &nearest).await;
        }
    }
    let base = median(&mut plain_ms);
    println!("plain loop over f32: p50 {base:.2} ms");
    let head = ["what", "p50 ms", "ratio", "recall@10", "bytes", "upserts/s"];
    let [what, p50, ratio, recall, bytes, upserts] = head;
    println!("{what:<16} {p50:>8} {ratio:>8} {recall:>10} {bytes:>7} {upserts:>10}");
    for ((what, format, _), sink) in kinds.into_iter().zip(&mut sinks) {
        let p50_ms = median(&mut sink.times_ms);
        let recall = sink.met as f64 / (QUERIES as usize * HITS) as f64;
        let (ratio, bytes, upserts) = (base / p50_ms, format.bytes(DIMENSIONS), sink.upserts_per_s);
        println!(
            "{what:<16} {p50_ms:>8.2} {ratio:>7.1}× {recall:>10.4} {bytes:>7} {upserts:>10.0}"
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
