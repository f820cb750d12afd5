//! `headwater bench`: measures this node beside a baseline, in turn on the same machine.

mod load;
mod peer;
mod report;
mod texts;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::config::{ConfigSource, Settings};
use crate::failure::Failure;
use crate::progress::Progress;
use load::{Figures, Load};
use peer::Peer;
use report::Row;
use texts::Workload;

#[derive(Debug, Subcommand)]
pub enum BenchAction {
    /// Embedding over HTTP: short queries from 1, 8 and 64 clients, and batches of 32 × 128 tokens.
    Embedding(EmbeddingFlags),
}

#[derive(Debug, Args)]
pub struct EmbeddingFlags {
    /// Length of one measurement, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How often headwater and the baseline take turns at each load.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// The Python that runs the baseline; it needs deploy/bench/requirements.txt.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// The baseline's script.
    #[arg(long, default_value = "deploy/bench/onnxruntime_baseline.py")]
    baseline: PathBuf,
    /// Measure headwater alone.
    #[arg(long)]
    no_baseline: bool,
    /// Threads that the baseline uses for one batch; all cores without it.
    #[arg(long)]
    baseline_threads: Option<usize>,
    /// Also print every measurement as one JSON line.
    #[arg(long)]
    json: bool,
}

/// Runs a benchmark and prints its table.
///
/// # Errors
/// When a server does not start or refuses a request.
pub fn run(action: BenchAction, settings: &Settings, source: &ConfigSource) -> Result<(), Failure> {
    let BenchAction::Embedding(flags) = action;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::broken)?;
    runtime.block_on(embedding(&flags, settings, source))
}

async fn embedding(
    flags: &EmbeddingFlags,
    settings: &Settings,
    source: &ConfigSource,
) -> Result<(), Failure> {
    let model = &settings.embedding.models[0];
    let folder = crate::models::weights_folder(settings, model).await?;
    let mut peers = vec![Peer::headwater(settings, source, &model.name).await?];
    if !flags.no_baseline {
        let threads = flags.baseline_threads.unwrap_or(settings.server.threads);
        let (python, script) = (&flags.python, &flags.baseline);
        peers.push(Peer::baseline(python, script, &folder, threads, &model.name).await?);
    }
    let duration = Duration::from_secs(flags.seconds);
    let workloads = Workload::all();
    let steps = (workloads.len() * peers.len()) as u64 * u64::from(flags.rounds);
    let mut progress = Progress::start("measuring", Some(steps), false);
    let mut step = 0;
    let mut rows = Vec::new();
    for workload in &workloads {
        let mut figures: Vec<Vec<Figures>> = peers.iter().map(|_| Vec::new()).collect();
        for _ in 0..flags.rounds {
            for (peer, taken) in peers.iter().zip(&mut figures) {
                let load = Load { address: peer.address, model: &model.name, workload, duration };
                let measured = load.run(peer.pid).await?;
                if flags.json {
                    println!("{}", measured.to_json(peer.name, workload.name));
                }
                taken.push(measured);
                step += 1;
                progress.at(step, Some(steps));
            }
        }
        rows.push(Row { workload: workload.name, figures });
    }
    drop(progress);
    let names: Vec<&str> = peers.iter().map(|peer| peer.name).collect();
    print!("{}", report::table(&names, &rows));
    Ok(())
}
