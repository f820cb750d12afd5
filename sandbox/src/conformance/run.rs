//! Runs the attackers' programs, each in a slot of its own beside a neighbour's.

use std::collections::BTreeSet;

use crate::conformance::{Case, Places, Report, See, Witness, cases};
use crate::engine::{Engine, Slot, SlotSpec, Way};
use crate::execution::{Channel, Execution};
use crate::image::Image;
use crate::isolation::Isolation;
use crate::limits::Limits;
use crate::outcome::{Ended, Outcome};

/// Small, so that an attack that is held comes to its end soon.
pub(super) const LIMITS: Limits = Limits {
    memory_bytes: 256 << 20,
    cpu_milli: 1_000,
    processes: 32,
    open_files: 128,
    file_bytes: 16 << 20,
    disk_bytes: 32 << 20,
    output_bytes: 1 << 20,
    wall_ms: 4_000,
    cpu_ms: 2_000,
};

/// For programs that must be ended, of which no more is to be seen.
const BRIEF: Limits = Limits { wall_ms: 1_000, cpu_ms: 1_000, ..LIMITS };

/// What a case ends with: what was seen.
pub(super) type Seen = Result<String, String>;

pub(super) fn told(doing: &str) -> impl Fn(crate::EngineError) -> String {
    move |error| format!("{doing}: {error}")
}

pub(super) fn spec(image: &Image, name: &str, way: Way) -> SlotSpec {
    let name = format!("suite-{}", name.replace('_', "-"));
    SlotSpec { name, image: image.clone(), limits: LIMITS, way, way_out: None }
}

pub(super) fn execution(source: impl Into<String>) -> Execution {
    Execution::new(source, LIMITS)
}

/// A call and what it wrote.
pub(super) async fn hear(
    slot: &mut dyn Slot,
    execution: &Execution,
) -> Result<(Outcome, String, String), String> {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut listener = |channel: Channel, bytes: &[u8]| match channel {
        Channel::Output => output.extend_from_slice(bytes),
        Channel::Error => errors.extend_from_slice(bytes),
    };
    let outcome = slot.run(execution, &mut listener).await.map_err(told("running"))?;
    if outcome.output_bytes != (output.len() + errors.len()) as u64 {
        return Err(format!("{} bytes were told, not those heard", outcome.output_bytes));
    }
    if outcome.output_bytes > execution.limits.output_bytes {
        return Err(format!("{} bytes were heard", outcome.output_bytes));
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((outcome, text(output), text(errors)))
}

pub(super) async fn attacks(
    engine: &dyn Engine,
    image: &Image,
    witness: &mut dyn Witness,
    only: &str,
) -> Vec<Report> {
    let isolation = engine.abilities().isolation;
    let mut reports = Vec::new();
    let neighbour = engine.start(spec(image, "neighbour", Way::Session)).await;
    let mut neighbour = match neighbour {
        Ok(slot) => slot,
        Err(error) => return vec![report("neighbour", Err(format!("starting: {error}")))],
    };
    let cases = cases().into_iter();
    let (killed, others): (Vec<Case>, Vec<Case>) = cases
        .filter(|case| case.name.contains(only) && case.applies_to(isolation))
        .partition(|case| case.see == See::Killed);
    for case in others {
        let seen = attack(engine, image, witness, neighbour.as_mut(), &case).await;
        reports.push(report(&case.name, seen));
    }
    reports.extend(all_killed(engine, image, witness, &killed).await);
    if let Err(why) = is_well(neighbour.as_mut()).await {
        reports.push(report("neighbour", Err(why)));
    }
    if let Err(error) = neighbour.close().await {
        reports.push(report("neighbour", Err(format!("closing: {error}"))));
    }
    reports
}

/// Programs that are killed for one call share a slot, which must stand all of them.
async fn all_killed(
    engine: &dyn Engine,
    image: &Image,
    witness: &mut dyn Witness,
    cases: &[Case],
) -> Vec<Report> {
    const NAME: &str = "hostile_calls";
    if cases.is_empty() {
        return Vec::new();
    }
    let mut slot = match engine.start(spec(image, NAME, Way::Single)).await {
        Ok(slot) => slot,
        Err(error) => return vec![report(NAME, Err(format!("starting: {error}")))],
    };
    let mut reports = Vec::new();
    for case in cases {
        let program = fill(&case.program, &witness.places());
        let mut seen = attack_in(engine, slot.as_mut(), &program, case).await;
        let faults = witness.faults().await;
        if !faults.is_empty() {
            seen = Err(format!("on the host: {}", faults.join("; ")));
        }
        reports.push(report(&case.name, seen));
    }
    if let Err(error) = slot.close().await {
        reports.push(report(NAME, Err(format!("closing: {error}"))));
    }
    reports
}

pub(super) fn report(name: &str, seen: Seen) -> Report {
    let passed = seen.is_ok();
    Report { name: name.to_owned(), passed, seen: seen.unwrap_or_else(|why| why) }
}

async fn attack(
    engine: &dyn Engine,
    image: &Image,
    witness: &mut dyn Witness,
    neighbour: &mut dyn Slot,
    case: &Case,
) -> Seen {
    // Tells when what belongs to the neighbour's last call is gone.
    neighbour.usage().await.map_err(told("the neighbour's usage"))?;
    let before = witness.counts().await;
    let program = fill(&case.program, &witness.places());
    let mut slot = engine
        .start(spec(image, &case.name, Way::Single))
        .await
        .map_err(told("starting a slot"))?;
    let seen = attack_in(engine, slot.as_mut(), &program, case).await;
    let closed = slot.close().await.map_err(told("closing the slot"));
    let seen = seen?;
    closed?;
    let faults = witness.faults().await;
    if !faults.is_empty() {
        return Err(format!("on the host: {}", faults.join("; ")));
    }
    let after = witness.counts().await;
    if after != before {
        return Err(format!("the host has {after:?}, it had {before:?}"));
    }
    is_well(neighbour).await.map_err(|why| format!("the neighbour: {why}"))?;
    Ok(seen)
}

async fn attack_in(engine: &dyn Engine, slot: &mut dyn Slot, program: &str, case: &Case) -> Seen {
    let limits = if case.brief { BRIEF } else { LIMITS };
    let (mut seen, mut outputs, mut may_be_gone) = (String::new(), Vec::new(), false);
    for _ in 0..if case.twice || case.differ { 2 } else { 1 } {
        let call = Execution { limits, ..execution(program) };
        let (outcome, output, errors) = hear(slot, &call).await?;
        seen = judge(case, &outcome, &output, &errors, engine.abilities().isolation)?;
        outputs.push(output);
        // A guest's kernel that dies of its guest's memory takes a slot along that is used once.
        may_be_gone = outcome.ended == Ended::Memory && !engine.abilities().recycles;
    }
    if case.differ {
        all_differ(&outputs)?;
    }
    let after = is_well(slot).await;
    if may_be_gone && after.is_err() {
        return Ok(seen);
    }
    after.map_err(|why| format!("{seen}; then {why}"))?;
    if engine.abilities().recycles {
        slot.recycle().await.map_err(told("recycling"))?;
        is_well(slot).await.map_err(|why| format!("{seen}; recycled, then {why}"))?;
    }
    Ok(seen)
}

/// Every call wrote something, and no word that another one wrote.
fn all_differ(outputs: &[String]) -> Result<(), String> {
    let mut known = BTreeSet::new();
    for output in outputs {
        let words: Vec<&str> = output.split_whitespace().collect();
        if words.is_empty() {
            return Err("nothing was written".to_owned());
        }
        if let Some(word) = words.into_iter().find(|word| !known.insert(*word)) {
            return Err(format!("{word} was written twice"));
        }
    }
    Ok(())
}

/// A slot that still answers, with empty folders.
async fn is_well(slot: &mut dyn Slot) -> Result<(), String> {
    let program = "import os\nprint('well', os.listdir('/work'), os.listdir('/tmp'))";
    let (outcome, output, errors) = hear(slot, &execution(program)).await?;
    if outcome.ended == Ended::Exit(0) && output == "well [] []\n" {
        return Ok(());
    }
    Err(format!("it is not well: {:?}, {output:?}, {errors:?}", outcome.ended))
}

pub(super) fn fill(program: &str, places: &Places) -> String {
    program
        .replace("{canary}", &places.canary)
        .replace("{port}", &places.port.to_string())
        .replace("{abstract}", &places.abstract_socket)
        .replace("{socket}", &places.socket)
}

fn judge(case: &Case, outcome: &Outcome, output: &str, errors: &str, isolation: Isolation) -> Seen {
    let tail = |text: &str| {
        let lines: Vec<&str> = text.trim_end().lines().collect();
        let last = lines.last().copied().unwrap_or_default();
        last.chars().take(200).collect::<String>()
    };
    let seen = format!("{:?}, {:?}, {:?}", outcome.ended, tail(output), tail(errors));
    let is_right = match &case.see {
        See::Held => {
            let is_said = outcome.ended == Ended::Exit(0) && tail(output) == "held";
            is_said || outcome.ended == Ended::Violation
        }
        See::Killed => outcome.ended == Ended::Violation || isolation != Isolation::Contained,
        See::Ends(ends) => ends.iter().any(|end| is_end(end, outcome.ended)),
    };
    let is_right = is_right && !output.contains("ESCAPED");
    if is_right { Ok(seen) } else { Err(format!("{seen}; it must be {:?}", case.see)) }
}

fn is_end(word: &str, ended: Ended) -> bool {
    match ended {
        Ended::Exit(1) => word == "exit" || word == "exit1",
        Ended::Exit(status) => word == "exit" && status != 66,
        Ended::Signal(_) => word == "signal",
        Ended::WallTime => word == "wall",
        Ended::CpuTime => word == "cpu",
        Ended::Memory => word == "memory",
        Ended::Output => word == "output",
        Ended::Violation => false,
    }
}
