//! `headwater bench`: measures this node beside its peers, in turn on the same machine.

mod bulk;
mod client;
mod gateway;
mod load;
mod mixed;
mod mixed_report;
mod peer;
mod queries;
mod report;
mod texts;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::config::{self, ConfigSource, Settings};
use crate::failure::Failure;
use crate::progress::Progress;
use gateway::GatewayFlags;
use load::{Figures, Load};
use mixed::MixedLoad;
use peer::Peer;
use report::Row;
use texts::Workload;

#[derive(Debug, Subcommand)]
pub enum BenchAction {
    /// Embedding over HTTP: short queries from 1, 8 and 64 clients, and batches of 32 × 128
    /// tokens; with --bulk, queries at a fixed rate beside a bulk load.
    Embedding(EmbeddingFlags),
    /// Chats over HTTP to a model that answers at once: directly, through nginx, through headwater
    /// with token, quota, cache, price and audit.
    Gateway(GatewayFlags),
}

#[derive(Debug, Args)]
pub struct EmbeddingFlags {
    /// Length of one measurement, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How often the servers take turns at each load.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Number format of headwater's products, over the settings; may be repeated to compare.
    #[arg(long = "dtype", value_name = "NAME")]
    dtypes: Vec<String>,
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
    /// Text Embeddings Inference's server; text-embeddings-router where PATH has it.
    #[arg(long, value_name = "FILE", conflicts_with = "no_baseline")]
    tei: Option<PathBuf>,
    /// Measure queries at a fixed rate alone, beside a bulk load, and the bulk load alone.
    #[arg(long)]
    bulk: bool,
    /// Queries per second beside the bulk load; 40 % of what each server can do without it.
    #[arg(long, requires = "bulk", value_parser = rate)]
    rate: Option<f64>,
    /// Clients of the bulk load, each with one request of 32 × 128 tokens under way.
    #[arg(long, requires = "bulk", default_value_t = 4,
        value_parser = clap::value_parser!(u32).range(1..=256))]
    bulk_clients: u32,
    /// Also print every measurement as one JSON line.
    #[arg(long)]
    json: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    let allowed = "a rate is 0.1 to 100,000 queries per second";
    let value: f64 = text.parse().map_err(|_| allowed.to_owned())?;
    if (0.1..=100_000.0).contains(&value) { Ok(value) } else { Err(allowed.to_owned()) }
}

/// Runs a benchmark and prints its table.
///
/// # Errors
/// When a server does not start or refuses a request.
pub fn run(action: BenchAction, settings: &Settings, source: &ConfigSource) -> Result<(), Failure> {
    match action {
        BenchAction::Embedding(flags) => runtime()?.block_on(embedding(&flags, settings, source)),
        BenchAction::Gateway(flags) => runtime()?.block_on(gateway::run(&flags, settings)),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::broken)
}

async fn embedding(
    flags: &EmbeddingFlags,
    settings: &Settings,
    source: &ConfigSource,
) -> Result<(), Failure> {
    let model = &first_model(settings)?.name;
    let peers = start_peers(flags, settings, source).await?;
    if !flags.bulk {
        return closed_loop(flags, &peers, model).await;
    }
    let mixed = MixedLoad {
        phase: Duration::from_secs(flags.seconds),
        rounds: flags.rounds,
        rate_per_s: flags.rate,
        bulk_clients: flags.bulk_clients as usize,
        json: flags.json,
    };
    for peer in &peers {
        println!("{}", mixed_report::table(&mixed.run(peer, model).await?));
    }
    Ok(())
}

fn first_model(settings: &Settings) -> Result<&config::ModelSettings, Failure> {
    settings.embedding.models.first().ok_or_else(|| {
        Failure::settings("embedding.models is empty; name the model to measure in the settings")
    })
}

async fn start_peers(
    flags: &EmbeddingFlags,
    settings: &Settings,
    source: &ConfigSource,
) -> Result<Vec<Peer>, Failure> {
    let model = first_model(settings)?;
    let folder = crate::models::weights_folder(settings, &model.name, &model.source).await?;
    let mut peers = Vec::new();
    if flags.dtypes.is_empty() {
        peers.push(Peer::headwater(settings, source, "headwater", &[]).await?);
    }
    for dtype in &flags.dtypes {
        let name = format!("headwater {dtype}");
        let set = dtype_flag(settings, source, dtype)?;
        peers.push(Peer::headwater(settings, source, &name, &[set]).await?);
    }
    if flags.no_baseline {
        return Ok(peers);
    }
    let threads = flags.baseline_threads.unwrap_or(settings.server.threads);
    let (python, script) = (&flags.python, &flags.baseline);
    peers.push(Peer::onnxruntime(python, script, &folder, threads, &model.name).await?);
    if let Some(tei) = flags.tei.clone().or_else(|| on_path("text-embeddings-router")) {
        let scratch = config::data_dir(settings)?.join("bench-tei");
        peers.push(Peer::tei(&tei, python, script, &folder, &scratch, &model.name).await?);
    }
    Ok(peers)
}

/// The setting that gives the first model this number format. Where the settings name no model
/// there is no list to change, so the default model is written out.
fn dtype_flag(settings: &Settings, source: &ConfigSource, dtype: &str) -> Result<String, Failure> {
    let with = |flag: &str| {
        let mut source = source.clone();
        source.flags.push(flag.to_owned());
        config::load(&source)
    };
    let short = format!("embedding.models.0.dtype={dtype}");
    if with(&short).is_ok() {
        return Ok(short);
    }
    let model = first_model(settings)?;
    let config::SourceSettings::Package(package) = &model.source else {
        return with(&short).map(|_| short);
    };
    let name = &model.name;
    let long = format!(
        "embedding.models=[{{name={name:?},source={{package={package:?}}},dtype={dtype:?}}}]"
    );
    with(&long).map(|_| long)
}

fn on_path(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|folder| folder.join(program)).find(|file| file.is_file())
}

async fn closed_loop(flags: &EmbeddingFlags, peers: &[Peer], model: &str) -> Result<(), Failure> {
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
                let (address, next) = (peer.address, &peer.next);
                let measured =
                    Load { address, model, workload, duration, next }.run(peer.pid).await?;
                if flags.json {
                    println!("{}", measured.to_json(&peer.name, workload.name));
                }
                taken.push(measured);
                step += 1;
                progress.at(step, Some(steps));
            }
        }
        rows.push(Row { workload: workload.name, figures });
    }
    drop(progress);
    let names: Vec<(&str, bool)> = peers.iter().map(|peer| (&*peer.name, peer.ours)).collect();
    print!("{}", report::table(&names, &rows));
    Ok(())
}

/// Tokens per second of this machine on batches of this length, with this configured model.
///
/// # Errors
/// When the node does not start or refuses a request.
pub(crate) fn throughput(
    settings: &Settings,
    source: &ConfigSource,
    model: &config::ModelSettings,
    text_tokens: usize,
    duration: Duration,
) -> Result<f64, Failure> {
    runtime()?.block_on(async {
        crate::models::weights_folder(settings, &model.name, &model.source).await?;
        let peer = Peer::headwater(settings, source, "headwater", &[]).await?;
        let workload = Workload::batches("batches", model.replica_count() + 1, text_tokens);
        let (address, next, model) = (peer.address, &peer.next, &model.name);
        let load = Load { address, model, workload: &workload, duration, next };
        Ok(load.run(peer.pid).await?.tokens_per_s)
    })
}
