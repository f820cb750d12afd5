//! Medians of one encoder on CPU over fixed shapes of batch, f32 and bf16 in turn.
//!
//! `HEADWATER_WEIGHTS=FOLDER cargo bench -p headwater-models-burn --bench encode -- 1 2`
//! measures with 1 and with 2 threads; `onnxruntime_baseline.py --measure` measures the peer
//! on the same ids.

use std::error::Error;
use std::time::{Duration, Instant};

use headwater_models::{Encoder, Model, OpenOptions, TokenBatch};
use headwater_models_burn::{BurnModel, BurnSettings, Instructions, NumberFormat, open};

const SHAPES: [(usize, usize); 3] = [(1, 16), (32, 32), (32, 128)];
/// For each shape, of all formats together.
const TIME_PER_SHAPE: Duration = Duration::from_secs(8);

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::var_os("HEADWATER_WEIGHTS")
        .ok_or("set HEADWATER_WEIGHTS to a folder of BERT weights")?;
    let single = BurnSettings::new("bench", folder.into());
    let mut models = vec![open(&single)?];
    if Instructions::best().is_some() {
        let halves = open(&BurnSettings { dtype: NumberFormat::Bf16, ..single })?;
        let all = [Instructions::Avx512Bf16, Instructions::Amx];
        models.extend(all.into_iter().filter_map(|instructions| halves.on(instructions)));
    } else {
        println!("this chip multiplies no bf16: f32 only");
    }
    // Cargo adds `--bench` of its own.
    let mut threads: Vec<usize> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    if threads.is_empty() {
        threads.push(1);
    }
    for threads in threads {
        for (rows, length) in SHAPES {
            measure(&models, threads, rows, length)?;
        }
    }
    Ok(())
}

/// One batch of each model in turn, so that a busy machine slows all of them alike.
fn measure(
    models: &[BurnModel],
    threads: usize,
    rows: usize,
    length: usize,
) -> Result<(), Box<dyn Error>> {
    let options = OpenOptions::threads(threads);
    let mut encoders: Vec<Box<dyn Encoder>> =
        models.iter().map(|model| model.open(&options)).collect::<Result<_, _>>()?;
    let ids: Vec<u32> = (0..rows * length).map(|i| 1000 + (i * 7919 % 20_000) as u32).collect();
    let batch = TokenBatch::of(ids.chunks(length).map(<[u32]>::to_vec));
    let mut times = vec![Vec::new(); models.len()];
    for encoder in &mut encoders {
        encoder.encode(&batch)?;
    }
    let start = Instant::now();
    while times[0].len() < 3 || start.elapsed() < TIME_PER_SHAPE {
        for (encoder, times) in encoders.iter_mut().zip(&mut times) {
            let begin = Instant::now();
            std::hint::black_box(encoder.encode(&batch)?);
            times.push(begin.elapsed());
        }
    }
    let medians: Vec<f64> = times
        .iter_mut()
        .map(|times| {
            times.sort();
            times[times.len() / 2].as_secs_f64()
        })
        .collect();
    for (model, median) in models.iter().zip(&medians) {
        println!(
            "headwater {rows}x{length}, {threads} threads, {}: median {:.2} ms, {:.0} tokens/s, \
             {:.2} x f32",
            model.card().arithmetic,
            median * 1e3,
            (rows * length) as f64 / median,
            medians[0] / median
        );
    }
    Ok(())
}
