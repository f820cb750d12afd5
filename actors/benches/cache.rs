//! What an embedding costs when its vector is cached, and when it is not.
//!
//! The model is a double whose vectors cost next to nothing, so a miss is the way through the
//! queue, the batch and the device thread. The baseline is a map behind a lock with the token ids
//! as its key: what a cache costs that has no limit, no versions and no shared work.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use headwater_actors::embedding::{
    BatchSettings, CacheSettings, EmbedCall, EmbeddingMetrics, EmbeddingSettings, InputLimits,
    Inputs, Model, ModelHandle, ModelPools, NodePools, Pool, Purpose, ServedModel, start,
};
use headwater_models::double::DoubleModel;
use prometheus_client::registry::Registry;

const DIMENSIONS: usize = 384;
const WORDS: usize = 62;
const TEXTS: usize = 1_000;
const ROUNDS: usize = 200;
/// With more of them the double's words, 30,000 in all, make two texts the same.
const MISSES: usize = 15_000;
const ENTRIES: usize = 400_000;

struct Measured {
    what: &'static str,
    ns: f64,
}

fn measured(what: &'static str, count: usize, began: Instant) -> Measured {
    Measured { what, ns: began.elapsed().as_nanos() as f64 / count as f64 }
}

fn text(number: usize) -> String {
    (0..WORDS).map(|word| format!("w{} ", number * WORDS + word)).collect()
}

fn baseline(model: &DoubleModel) -> Measured {
    let cache: Mutex<HashMap<Vec<u32>, Vec<f32>>> = Mutex::default();
    let texts: Vec<String> = (0..TEXTS).map(text).collect();
    let read = |text: &str| model.tokenize(text, Some(64)).expect("reads").ids;
    for text in &texts {
        cache.lock().expect("no panic").insert(read(text), vec![0.5; DIMENSIONS]);
    }
    let began = Instant::now();
    for _ in 0..ROUNDS {
        for text in &texts {
            let ids = read(black_box(text));
            black_box(cache.lock().expect("no panic").get(&ids).cloned());
        }
    }
    measured("baseline: tokens, then a map behind a lock", TEXTS * ROUNDS, began)
}

async fn serve(dimensions: usize, bytes: u64) -> Arc<ModelHandle> {
    let model = DoubleModel::new("double", dimensions, 64);
    let served = ServedModel {
        model: Arc::new(model),
        aliases: Vec::new(),
        replicas: 1,
        threads: 1,
        batch: BatchSettings::default(),
        pools: ModelPools::default(),
    };
    let settings = EmbeddingSettings {
        queue_tokens: 1 << 20,
        request_timeout_ms: 60_000,
        limits: InputLimits { texts: 4096, tokens: 1 << 20 },
        cache: CacheSettings { bytes, ..CacheSettings::default() },
        pools: NodePools::default(),
    };
    let metrics = EmbeddingMetrics::register(&mut Registry::default());
    let handle = start(vec![served], &settings, &metrics).await.expect("starts");
    handle.loaded().await;
    handle.model("double").expect("served")
}

async fn embed(model: &ModelHandle, texts: Vec<String>) -> usize {
    let inputs = Inputs::Texts(texts);
    let call = EmbedCall { inputs, purpose: Purpose::Plain, truncate: true, pool: Pool::Query };
    black_box(model.embed(call).await.expect("answers")).cached
}

async fn hits(model: &ModelHandle) -> Measured {
    let texts: Vec<String> = (0..TEXTS).map(text).collect();
    embed(model, texts.clone()).await;
    let began = Instant::now();
    for _ in 0..ROUNDS {
        for text in &texts {
            assert_eq!(embed(model, vec![text.clone()]).await, 1);
        }
    }
    measured("one text, cached", TEXTS * ROUNDS, began)
}

async fn misses(what: &'static str, model: &ModelHandle) -> Measured {
    let texts: Vec<String> = (TEXTS..TEXTS + MISSES).map(text).collect();
    let began = Instant::now();
    for text in texts {
        assert_eq!(embed(model, vec![text]).await, 0);
    }
    measured(what, MISSES, began)
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096
}

/// Bytes that an entry with a short vector takes in truth.
async fn entry_bytes() -> usize {
    let model = serve(8, 4 << 30).await;
    let before = resident();
    for start in (0..ENTRIES).step_by(1000) {
        let text = |number| format!("a{} b{} c{}", number % 1000, number / 1000, number % 997);
        embed(&model, (start..start + 1000).map(text).collect()).await;
    }
    (resident() - before) / ENTRIES
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let rows = runtime.block_on(async {
        let cached = serve(DIMENSIONS, 1 << 30).await;
        let plain = serve(DIMENSIONS, 0).await;
        vec![
            baseline(&DoubleModel::new("double", DIMENSIONS, 64)),
            hits(&cached).await,
            misses("one text, not cached", &cached).await,
            misses("one text, no cache", &plain).await,
        ]
    });
    let base = rows[0].ns;
    println!("{:<44} {:>10} {:>8}", "what", "ns", "ratio");
    for row in &rows {
        println!("{:<44} {:>10.0} {:>7.1}×", row.what, row.ns, row.ns / base);
    }
    let bytes = runtime.block_on(entry_bytes());
    println!("an entry of 8 components takes {bytes} bytes of memory, counted as 352");
}
