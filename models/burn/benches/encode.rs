//! Medians of one encoder on CPU over fixed shapes of batch.
//!
//! `HEADWATER_WEIGHTS=FOLDER cargo bench -p headwater-models-burn -- 1 2` measures with 1
//! and with 2 threads; `onnxruntime_baseline.py --measure` measures the peer on the same ids.

use std::error::Error;
use std::time::{Duration, Instant};

use headwater_models::{Model, OpenOptions, TokenBatch};
use headwater_models_burn::{BurnSettings, open};

const SHAPES: [(usize, usize); 3] = [(1, 16), (32, 32), (32, 128)];
const TIME_PER_SHAPE: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::var_os("HEADWATER_WEIGHTS")
        .ok_or("set HEADWATER_WEIGHTS to a folder of BERT weights")?;
    let model = open(&BurnSettings::new("bench", folder.into()))?;
    // Cargo adds `--bench` of its own.
    let mut threads: Vec<usize> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    if threads.is_empty() {
        threads.push(1);
    }
    for threads in threads {
        for (batch, length) in SHAPES {
            measure(&model, threads, batch, length)?;
        }
    }
    Ok(())
}

fn measure(
    model: &impl Model,
    threads: usize,
    rows: usize,
    length: usize,
) -> Result<(), Box<dyn Error>> {
    let mut encoder = model.open(&OpenOptions::threads(threads))?;
    let ids: Vec<u32> = (0..rows * length).map(|i| 1000 + (i * 7919 % 20_000) as u32).collect();
    let batch = TokenBatch::of(ids.chunks(length).map(<[u32]>::to_vec));
    encoder.encode(&batch)?;
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < 3 || start.elapsed() < TIME_PER_SHAPE {
        let begin = Instant::now();
        std::hint::black_box(encoder.encode(&batch)?);
        times.push(begin.elapsed());
    }
    times.sort();
    let median = times[times.len() / 2].as_secs_f64();
    let rate = (rows * length) as f64 / median;
    println!(
        "headwater {rows}x{length}, {threads} threads: median {:.2} ms, {rate:.0} tokens/s",
        median * 1e3
    );
    Ok(())
}
