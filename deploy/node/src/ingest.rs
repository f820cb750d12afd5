//! `headwater ingest`: sends a file of JSON lines to a running node, or has it read an object
//! store, and shows how far it is.

mod files;
pub(crate) mod places;
mod retry;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{BufRead, BufReader, stdin};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::config::Settings;
use crate::failure::Failure;
use crate::operator::{OperatorFlags, ask, send};
use crate::progress::Progress;

use places::SCHEME_END;
use retry::persist;

/// Bytes of whole lines that one request carries, unless one line alone has more.
const REQUEST_BYTES: usize = 512 << 10;
/// How often the job is looked at.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(crate) struct IngestFlags {
    /// JSON lines, each {"id": text, "text": text, "fields": {..}?}; `-` reads standard input. An
    /// address such as s3://bucket/prefix/ is read by the node itself, with all objects below it
    /// when it ends in `/`; the node's `ingest.stores` must allow it.
    file: PathBuf,
    /// The collection to write to; create it first.
    #[arg(long)]
    collection: String,
    /// The job's id. The same id again goes on where an earlier run stopped.
    #[arg(long)]
    job: Option<String>,
    /// Whose tokens the chunks are cut by; the collection's own model without it.
    #[arg(long)]
    model: Option<String>,
    /// 0 to 9; a higher one goes first.
    #[arg(long)]
    priority: Option<u8>,
    /// Most tokens a second.
    #[arg(long)]
    tokens_per_s: Option<u64>,
    /// Most workers at a time, over all nodes.
    #[arg(long)]
    max_workers: Option<u32>,
    /// What to do with chunks that resemble others: off, report or skip.
    #[arg(long)]
    near_duplicates: Option<String>,
    /// Show how far the job is, and wait until it has ended.
    #[arg(long)]
    progress: bool,
    #[command(flatten)]
    operator: OperatorFlags,
}

pub(crate) fn run(flags: &IngestFlags, settings: &Settings) -> Result<(), Failure> {
    let address = flags.file.to_str().filter(|file| file.contains(SCHEME_END));
    let opened = address.is_none().then(|| open(&flags.file)).transpose()?;
    let job = create(flags, settings, address)?;
    let id = job["id"].as_str().unwrap_or_default().to_owned();
    if let Some((mut reader, bytes)) = opened
        && (job["state"] == "receiving" || job["state"] == "paused")
    {
        let mut bar = flags.progress.then(|| Progress::start("sending", bytes, true));
        send_all(flags, settings, &id, reader.as_mut(), bar.as_mut(), bytes)?;
    }
    if !flags.progress {
        println!("{id}");
        return Ok(());
    }
    let ended = wait(flags, settings, &id)?;
    report(&ended);
    Ok(())
}

fn open(file: &Path) -> Result<(Box<dyn BufRead>, Option<u64>), Failure> {
    if file == Path::new("-") {
        return Ok((Box::new(stdin().lock()), None));
    }
    let opened = File::open(file)
        .map_err(|error| Failure::settings(format!("cannot read {}: {error}", file.display())))?;
    let bytes = opened.metadata().ok().map(|known| known.len());
    Ok((Box::new(BufReader::new(opened)), bytes))
}

fn create(
    flags: &IngestFlags,
    settings: &Settings,
    address: Option<&str>,
) -> Result<Value, Failure> {
    let mut body = json!({"collection": flags.collection});
    if let Some(address) = address {
        body["source"] = json!({"places": [address]});
    }
    for (name, value) in [
        ("id", flags.job.as_deref().map(Value::from)),
        ("model", flags.model.as_deref().map(Value::from)),
        ("priority", flags.priority.map(Value::from)),
        ("tokens_per_s", flags.tokens_per_s.map(Value::from)),
        ("max_workers", flags.max_workers.map(Value::from)),
        ("near_duplicates", flags.near_duplicates.as_deref().map(Value::from)),
    ] {
        if let Some(value) = value {
            body[name] = value;
        }
    }
    let (operator, path) = (&flags.operator, "/v1/ingest/jobs");
    // Without an id each try would be a job of its own.
    if flags.job.is_none() {
        return ask(operator, settings, "POST", path, Some(&body));
    }
    let body = body.to_string().into_bytes();
    persist(|| send(operator, settings, "POST", path, "application/json", body.clone()), sleep)
}

/// Sends all lines, a request's worth at a time; those that the job has already are not sent.
fn send_all(
    flags: &IngestFlags,
    settings: &Settings,
    id: &str,
    reader: &mut dyn BufRead,
    mut bar: Option<&mut Progress>,
    bytes: Option<u64>,
) -> Result<(), Failure> {
    let (mut lines, mut sent) = (0u64, 0u64);
    loop {
        let offset = lines;
        let mut part = Vec::new();
        while part.len() < REQUEST_BYTES {
            let read = reader.read_until(b'\n', &mut part).map_err(Failure::broken)?;
            if read == 0 {
                break;
            }
            lines += 1;
        }
        let is_last = part.len() < REQUEST_BYTES;
        sent += part.len() as u64;
        send_part(flags, settings, id, offset, is_last, &part)?;
        if let Some(bar) = bar.as_deref_mut() {
            bar.at(sent, bytes);
        }
        if is_last {
            return Ok(());
        }
    }
}

/// Lines that an earlier try, or an earlier run, has brought are skipped by the node.
fn send_part(
    flags: &IngestFlags,
    settings: &Settings,
    id: &str,
    offset: u64,
    is_last: bool,
    part: &[u8],
) -> Result<(), Failure> {
    let path = format!("/v1/ingest/jobs/{id}/documents?offset={offset}&complete={is_last}");
    let kind = "application/x-ndjson";
    persist(|| send(&flags.operator, settings, "POST", &path, kind, part.to_vec()), sleep)?;
    Ok(())
}

fn wait(flags: &IngestFlags, settings: &Settings, id: &str) -> Result<Value, Failure> {
    let path = format!("/v1/ingest/jobs/{id}");
    let mut bar: Option<Progress> = None;
    loop {
        let kind = "application/json";
        let job =
            persist(|| send(&flags.operator, settings, "GET", &path, kind, Vec::new()), sleep)?;
        let count = |name: &str| job["progress"][name].as_u64().unwrap_or(0);
        let (ended, total) = (count("documents_ended"), count("documents_total"));
        bar.get_or_insert_with(|| Progress::start("documents", Some(total), false))
            .at(ended, Some(total));
        if !job["ended_ms"].is_null() {
            return Ok(job);
        }
        sleep(LOOK);
    }
}

fn report(job: &Value) {
    println!("{} {}", job["id"].as_str().unwrap_or("-"), job["state"].as_str().unwrap_or("-"));
    for name in [
        "documents_done",
        "documents_superseded",
        "documents_dropped",
        "dead_letters",
        "chunks",
        "duplicates",
        "near_duplicates",
        "vectors",
        "tokens",
    ] {
        println!("  {name:<22}{:>14}", job["progress"][name]);
    }
}
