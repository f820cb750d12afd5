//! `headwater plan embedding`: how many replicas, how much room and what cost.

mod report;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use headwater_embedding::plan::{Demand, Graph, PlanProblem, Supply, plan};

use crate::bench;
use crate::config::{ConfigSource, ModelSettings, Settings};
use crate::failure::Failure;
use crate::models;

#[derive(Debug, Subcommand)]
pub(crate) enum PlanAction {
    /// Size an embedding fleet for a rate of queries and a body of documents.
    Embedding(Box<PlanFlags>),
}

#[derive(Debug, Args)]
pub(crate) struct PlanFlags {
    /// Documents to embed in bulk and to store: 500e6.
    #[arg(long, value_parser = number)]
    docs: f64,
    /// Queries per second to answer at once.
    #[arg(long, value_parser = number)]
    qps: f64,
    /// Tokens in one query, special tokens counted.
    #[arg(long, value_parser = number)]
    tokens: f64,
    /// Chunks in one document, each with one vector.
    #[arg(long, default_value = "1", value_parser = number)]
    chunks_per_doc: f64,
    /// Tokens in one chunk; as many as in a query without it.
    #[arg(long, value_parser = number)]
    chunk_tokens: Option<f64>,
    /// The model's name; the first configured one without it.
    #[arg(long)]
    model: Option<String>,
    /// Numbers in one vector; read from the model's files where they are on this machine.
    #[arg(long)]
    dimensions: Option<usize>,
    /// A GPU with a given figure (see --tokens-per-second for all others).
    #[arg(long, group = "throughput")]
    gpu: Option<String>,
    /// Tokens per second that one replica embeds at this length of text.
    #[arg(long, group = "throughput", alias = "tokens-per-second-per-replica",
        value_parser = number)]
    tokens_per_second: Option<f64>,
    /// Measure this machine with the configured model; the machine is one replica then.
    #[arg(long, group = "throughput")]
    measure: bool,
    /// Length of the measurement, in seconds.
    #[arg(long, conflicts_with_all = ["gpu", "tokens_per_second"], default_value_t = 5,
        value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Replicas beside the bare ones, for failures and peaks.
    #[arg(long, default_value = "30%", value_parser = percentage)]
    headroom: f64,
    /// Days within which the documents shall be embedded.
    #[arg(long, value_parser = number)]
    bulk_days: Option<f64>,
    /// Price of one replica for one hour, in any currency.
    #[arg(long, value_parser = number)]
    price_per_hour: Option<f64>,
    /// Copies of every vector that the store keeps.
    #[arg(long, default_value_t = 1)]
    copies: u32,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// A throughput that somebody published, for a GPU that is not at hand.
struct GivenFigure {
    gpu: &'static str,
    tokens_per_s: f64,
    source: &'static str,
}

/// Only figures whose origin can be named stand here; a wrong one sizes a fleet wrongly.
const GIVEN: [GivenFigure; 1] = [GivenFigure {
    gpu: "a10g",
    tokens_per_s: 20_000.0,
    source: "given figure, not measured here: the common sizing example for embedding fleets \
             takes 20,000 tokens/s on one A10G",
}];

/// How fast a replica is, and how that is known.
#[derive(Debug, Clone, PartialEq)]
struct Throughput {
    tokens_per_s: f64,
    source: String,
}

/// Prints the plan.
///
/// # Errors
/// Kind `Settings` for an argument that makes no sense, by its name; what a measurement fails
/// with.
pub(crate) fn run(
    action: PlanAction,
    settings: &Settings,
    source: &ConfigSource,
) -> Result<(), Failure> {
    let PlanAction::Embedding(flags) = action;
    let model = configured(&flags, settings);
    // Other dimensions than the configured model's are some other model's.
    let name = match (&flags.model, flags.dimensions.is_some() && !flags.measure) {
        (Some(name), _) => Some(name.clone()),
        (None, true) => None,
        (None, false) => model.map(|model| model.name.clone()),
    };
    let dimensions = dimensions(&flags, settings, model)?;
    let demand = Demand {
        documents: flags.docs,
        chunks_per_document: flags.chunks_per_doc,
        chunk_tokens: flags.chunk_tokens.unwrap_or(flags.tokens),
        queries_per_s: flags.qps,
        query_tokens: flags.tokens,
        dimensions,
    };
    let mut supply = Supply {
        tokens_per_s: 1.0,
        headroom: flags.headroom,
        bulk_days: flags.bulk_days,
        price_per_hour: flags.price_per_hour,
        copies: flags.copies,
        graph: Graph::default(),
    };
    // Before a measurement, so that a wrong argument does not wait for its end.
    plan(&demand, &supply).map_err(wrong_argument)?;
    let throughput = throughput(&flags, settings, source, model)?;
    supply.tokens_per_s = throughput.tokens_per_s;
    let sized = plan(&demand, &supply).map_err(wrong_argument)?;
    let name = name.as_deref().unwrap_or("a model");
    let told = report::Told { model: name, demand: &demand, supply: &supply, plan: &sized };
    if flags.json {
        println!("{}", told.json(&throughput.source));
    } else {
        print!("{}", told.text(&throughput.source));
    }
    Ok(())
}

fn wrong_argument(problem: PlanProblem) -> Failure {
    // The flags that are called otherwise than the quantities behind them.
    let flag = match problem.argument {
        "documents" => "docs",
        "queries_per_s" => "qps",
        "query_tokens" => "tokens",
        "chunks_per_document" => "chunks-per-doc",
        "chunk_tokens" => "chunk-tokens",
        "tokens_per_s" => "tokens-per-second",
        "bulk_days" => "bulk-days",
        "price_per_hour" => "price-per-hour",
        same => same,
    };
    Failure::settings(format!("--{flag} is {}; it must be {}", problem.given, problem.allowed))
}

fn configured<'a>(flags: &PlanFlags, settings: &'a Settings) -> Option<&'a ModelSettings> {
    let models = &settings.embedding.models;
    match &flags.model {
        Some(name) => {
            models.iter().find(|model| model.name == *name || model.aliases.contains(name))
        }
        None => models.first(),
    }
}

fn throughput(
    flags: &PlanFlags,
    settings: &Settings,
    source: &ConfigSource,
    model: Option<&ModelSettings>,
) -> Result<Throughput, Failure> {
    if let Some(tokens_per_s) = flags.tokens_per_second {
        let source = "given with --tokens-per-second".to_owned();
        return Ok(Throughput { tokens_per_s, source });
    }
    if let Some(gpu) = &flags.gpu {
        return given(gpu);
    }
    if !flags.measure {
        return Err(Failure::settings(
            "how fast is a replica? give --tokens-per-second N, --measure to measure this \
             machine, or --gpu with a known figure (a10g)",
        ));
    }
    let model = model.ok_or_else(|| {
        Failure::settings(
            "--measure needs a configured model: --model names none of the settings' \
             embedding.models",
        )
    })?;
    let tokens = flags.tokens.round();
    if !(3.0..=8192.0).contains(&tokens) {
        return Err(Failure::settings(format!(
            "--tokens is {}; to measure it must be 3 to 8,192",
            flags.tokens
        )));
    }
    let duration = Duration::from_secs(flags.seconds);
    let tokens_per_s = bench::throughput(settings, source, model, tokens as usize, duration)?;
    let (seconds, name) = (flags.seconds, &model.name);
    let source = format!(
        "measured on this machine: {name}, {seconds} s of requests with 32 texts of {tokens} tokens"
    );
    Ok(Throughput { tokens_per_s, source })
}

fn given(gpu: &str) -> Result<Throughput, Failure> {
    let found = GIVEN.iter().find(|figure| figure.gpu.eq_ignore_ascii_case(gpu));
    let figure = found.ok_or_else(|| {
        let known: Vec<&str> = GIVEN.iter().map(|figure| figure.gpu).collect();
        Failure::settings(format!(
            "--gpu {gpu}: no figure with a known origin; known is {}. Measure it there with \
             --measure, or give --tokens-per-second N",
            known.join(", ")
        ))
    })?;
    Ok(Throughput { tokens_per_s: figure.tokens_per_s, source: figure.source.to_owned() })
}

/// The length of the vectors: as told, else from the configured model's files.
fn dimensions(
    flags: &PlanFlags,
    settings: &Settings,
    model: Option<&ModelSettings>,
) -> Result<usize, Failure> {
    if let Some(dimensions) = flags.dimensions {
        return Ok(dimensions);
    }
    let folder = model.map(|model| local_folder(settings, model)).transpose()?.flatten();
    folder.and_then(|folder| hidden_size(&folder)).ok_or_else(|| {
        Failure::settings(
            "--dimensions is not given, and the model's files are not on this machine",
        )
    })
}

/// The model's folder if it is here; planning fetches nothing.
fn local_folder(settings: &Settings, model: &ModelSettings) -> Result<Option<PathBuf>, Failure> {
    let cache = models::cache_folder(settings)?;
    Ok(headwater_models_burn::weights::present(&models::source(&model.source), &cache))
}

fn hidden_size(folder: &Path) -> Option<usize> {
    let text = std::fs::read_to_string(folder.join("config.json")).ok()?;
    let config: serde_json::Value = serde_json::from_str(&text).ok()?;
    // The families name it differently; CLIP projects into a space of its own.
    let names = ["projection_dim", "hidden_size", "dim"];
    let size = names.into_iter().find_map(|name| config.get(name)?.as_u64())?;
    usize::try_from(size).ok()
}

/// A number as people write large ones: 10000, 10_000, 500e6.
fn number(text: &str) -> Result<f64, String> {
    let plain: String = text.chars().filter(|mark| *mark != '_').collect();
    match plain.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err("expected a number such as 10000 or 500e6".to_owned()),
    }
}

/// A percentage as a share: `30%` and `30` are 0.3.
fn percentage(text: &str) -> Result<f64, String> {
    let (digits, marked) = match text.strip_suffix('%') {
        Some(digits) => (digits.trim_end(), true),
        None => (text, false),
    };
    let value = number(digits).map_err(|_| "expected a percentage such as 30%".to_owned())?;
    if !marked && value > 0.0 && value < 1.0 {
        let meant = value * 100.0;
        return Err(format!("write {meant}% for that share, or {value}% if that is meant"));
    }
    Ok(value / 100.0)
}
