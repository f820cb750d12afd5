//! An encoder lets more urgent work go first, within one batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use headwater_models::{Model, OpenOptions, Pace, TokenBatch};
use headwater_models_burn::{BurnSettings, Instructions, NumberFormat, open};

use crate::support::{minilm, settings};

/// Vectors of one batch, and how often the encoder offered to wait.
fn run(
    model: &impl Model,
    threads: usize,
    batch: &TokenBatch,
    pause: Duration,
) -> (Vec<f32>, usize) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let pace: Pace = Arc::new(move || {
        if counted.fetch_add(1, Ordering::Relaxed).is_multiple_of(50) {
            std::thread::sleep(pause);
        }
    });
    let mut encoder = model.open(&OpenOptions { threads, pace: Some(pace) }).unwrap();
    let values = encoder.encode(batch).unwrap().values;
    (values, calls.load(Ordering::Relaxed))
}

#[test]
fn a_batch_offers_to_wait_many_times_and_waiting_changes_nothing() {
    let half = Instructions::best().map(|_| NumberFormat::Bf16);
    for dtype in [Some(NumberFormat::F32), half].into_iter().flatten() {
        let model = open(&BurnSettings { dtype, ..settings(minilm()) }).unwrap();
        for (rows, length) in [(1, 200), (16, 64)] {
            let ids = (0..rows * length).map(|i| 1000 + (i * 7919 % 20_000) as u32);
            let ids: Vec<u32> = ids.collect();
            let batch = TokenBatch::of(ids.chunks(length).map(<[u32]>::to_vec));
            for threads in [1, 3] {
                let (plain, calls) = run(&model, threads, &batch, Duration::ZERO);
                let (waited, again) = run(&model, threads, &batch, Duration::from_millis(5));
                let operations = 2 * rows * length * 12 * 384 * 384 * model_layers();
                // A step is at most a millisecond on a slow core.
                assert!(calls >= operations / 100_000_000, "{dtype:?}, {rows}: {calls} calls");
                assert_eq!(calls, again);
                assert_eq!(plain, waited, "{dtype:?}, {rows} x {length}, {threads} threads");
            }
        }
    }
}

/// Layers of MiniLM.
fn model_layers() -> usize {
    6
}
