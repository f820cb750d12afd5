//! `headwater redaction eval`: what is found in labelled texts, and what that costs.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use headwater_actors::gateway::score::{Span, Tally, tally};
use headwater_actors::gateway::{Action, Entity, RedactionKey, RedactionPolicy, Redactor};
use headwater_models::entities::EntityTagger;
use headwater_models_names::{NameTagger, Weights};
use serde::Deserialize;

use crate::failure::Failure;

/// The label of what is neither right nor wrong when it is found.
const IGNORED: &str = "ignored";

#[derive(Debug, Args)]
pub(crate) struct EvalFlags {
    /// Labelled texts, one a line: {"text": "…", "spans": [{"entity": "email", "start": 0,
    /// "end": 9}]}. Starts and ends are in bytes; the entity `ignored` is neither right nor wrong.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Spans that something else found in the same texts, in the same form, to be measured instead.
    #[arg(long, value_name = "FILE")]
    found: Option<PathBuf>,
    /// Other weights than the ones of this build.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Look for what patterns find alone.
    #[arg(long)]
    patterns_only: bool,
    /// Print what was missed and what was found wrongly of this entity.
    #[arg(long, value_name = "ENTITY")]
    show: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Line {
    text: String,
    spans: Vec<Label>,
}

#[derive(Debug, Deserialize)]
struct Label {
    entity: String,
    start: usize,
    end: usize,
}

/// A text with its labels.
struct Text {
    text: String,
    labelled: Vec<Span>,
    ignored: Vec<Range<usize>>,
}

fn read(file: &Path) -> Result<Vec<Text>, Failure> {
    let wrong = |place: String, error: String| {
        Failure::settings(format!("{}{place}: {error}", file.display()))
    };
    let lines =
        std::fs::read_to_string(file).map_err(|error| wrong(String::new(), error.to_string()))?;
    let mut texts = Vec::new();
    for (number, line) in lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let at = || format!(":{}", number + 1);
        let Line { text, spans } =
            serde_json::from_str(line).map_err(|error| wrong(at(), error.to_string()))?;
        let (mut labelled, mut ignored) = (Vec::new(), Vec::new());
        for Label { entity, start, end } in spans {
            if text.get(start..end).is_none() {
                return Err(wrong(at(), format!("{start}..{end} is no part of the text")));
            }
            match Entity::from_name(&entity) {
                Some(entity) => labelled.push((entity, start..end)),
                None if entity == IGNORED => ignored.push(start..end),
                None => {
                    let known = Entity::ALL.map(Entity::name).join(", ");
                    let problem = format!("'{entity}' is no entity; there are: {known}, {IGNORED}");
                    return Err(wrong(at(), problem));
                }
            }
        }
        texts.push(Text { text, labelled, ignored });
    }
    Ok(texts)
}

fn redactor(flags: &EvalFlags) -> Result<Redactor, Failure> {
    let tagger = match &flags.weights {
        _ if flags.patterns_only => None,
        None => Some(NameTagger::bundled().map_err(Failure::broken)?),
        Some(file) => {
            let wrong = |error: String| Failure::settings(format!("{}: {error}", file.display()));
            let weights = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
            let weights = Weights::read(&weights).map_err(|error| wrong(error.to_string()))?;
            Some(NameTagger::new(weights))
        }
    };
    let tagger = tagger.map(|tagger| Arc::new(tagger) as Arc<dyn EntityTagger>);
    Redactor::new(RedactionKey::new("eval"), tagger).map_err(Failure::broken)
}

/// What this thread has used of a processor.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes into the value that it is given alone.
    unsafe {
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time);
    }
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

pub(super) fn run(flags: &EvalFlags) -> Result<(), Failure> {
    let texts = read(&flags.data)?;
    let others = flags.found.as_deref().map(read).transpose()?;
    if others.as_ref().is_some_and(|others| others.len() != texts.len()) {
        return Err(Failure::settings("--found: has not as many lines as --data"));
    }
    let redactor = redactor(flags)?;
    let policy = RedactionPolicy::of(Action::Mask, &Entity::ALL);
    let mut tallies: BTreeMap<Entity, Tally> = BTreeMap::new();
    let mut used = Duration::ZERO;
    for (place, text) in texts.iter().enumerate() {
        let found: Vec<Span> = match &others {
            Some(others) => others[place].labelled.clone(),
            None => {
                let began = cpu_time();
                let found = redactor.find(&policy, &text.text, &|| false);
                used += cpu_time().saturating_sub(began);
                let found = found.map_err(Failure::broken)?;
                found.into_iter().map(|own| (own.entity, own.range)).collect()
            }
        };
        show(flags, text, &found);
        tally(&text.text, &text.labelled, &text.ignored, &found, &mut tallies);
    }
    report(&tallies);
    if others.is_none() {
        let bytes: usize = texts.iter().map(|text| text.text.len()).sum();
        let used_ms = used.as_secs_f64() * 1_000.0 / (bytes.max(1) as f64 / 1_024.0);
        println!("{} texts, {bytes} bytes, {used_ms:.3} ms of CPU for 1 KB", texts.len());
    }
    Ok(())
}

/// The texts are the operator's own, so they may be shown.
fn show(flags: &EvalFlags, text: &Text, found: &[Span]) {
    let Some(entity) = &flags.show else { return };
    for (kind, these, others) in
        [("missed", text.labelled.as_slice(), found), ("wrong", found, text.labelled.as_slice())]
    {
        for (own, range) in these {
            if own.name() == entity && !others.contains(&(*own, range.clone())) {
                println!("{kind} {:?} in {:?}", &text.text[range.clone()], text.text);
            }
        }
    }
}

fn report(tallies: &BTreeMap<Entity, Tally>) {
    let mut all = Tally::default();
    let row = |name: &str, own: &Tally| {
        let (precision, recall, f2) = (own.precision(), own.recall(), own.f2());
        println!("{name:<16} {:>8} {precision:>9.3} {recall:>7.3} {f2:>6.3}", own.labelled);
    };
    println!("entity           labelled precision  recall     F2");
    for (entity, own) in tallies {
        row(entity.name(), own);
        all.add(own);
    }
    row("all", &all);
}
