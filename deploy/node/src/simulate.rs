//! `headwater simulate`: runs seeds of the deterministic simulation and shows what happened.

use std::collections::BTreeMap;
use std::ops::Range;

use clap::Args;
use headwater_simulation::{Outcome, SOMETIMES, Verdict, verify};

use crate::failure::Failure;
use crate::progress::Progress;

/// With fewer seeds than this a rare event may fairly not have happened.
const SEEDS_FOR_RARE_EVENTS: usize = 100;

#[derive(Debug, Args)]
pub(crate) struct SimulateFlags {
    /// Seeds to run, as a range: 0..200 runs 0 to 199, each twice.
    #[arg(long, default_value = "0..200", value_parser = parse_range, value_name = "A..B")]
    seeds: Range<u64>,
    /// Run this seed alone.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Print the whole trace of every failing seed, or of the one that --seed names.
    #[arg(long)]
    trace: bool,
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let wrong = || format!("'{text}' is not a range of seeds; write for example 0..200");
    let (first, end) = text.split_once("..").ok_or_else(wrong)?;
    let first = first.parse().map_err(|_| wrong())?;
    let end = end.parse().map_err(|_| wrong())?;
    if first < end { Ok(first..end) } else { Err(format!("the range {text} is empty")) }
}

/// What happened, in how many seeds and how often in all.
type Tally = BTreeMap<&'static str, (u64, u64)>;

/// Runs the seeds; fails when an invariant broke, a trace did not repeat or a rare event
/// never happened.
///
/// # Errors
/// Kind `Broken`, with the number of failing seeds.
pub(crate) fn run(flags: &SimulateFlags) -> Result<(), Failure> {
    let seeds = flags.seed.map_or(flags.seeds.clone(), |seed| seed..seed + 1);
    let total = seeds.end - seeds.start;
    let mut progress = Progress::start("simulating", Some(total), false);
    let mut tally = Tally::new();
    let mut failing = 0_u64;
    for (done, seed) in (1..).zip(seeds) {
        let verdict = verify(seed);
        for (what, count) in &verdict.outcome.counts {
            let (seeds, times) = tally.entry(what).or_default();
            *seeds += 1;
            *times += count;
        }
        if !verdict.is_good() {
            failing += 1;
            describe(&verdict);
        }
        if flags.trace && (!verdict.is_good() || flags.seed.is_some()) {
            print_trace(&verdict.outcome);
        }
        progress.at(done, Some(total));
    }
    drop(progress);
    print!("{}", table(&tally));
    let missing: Vec<&str> =
        SOMETIMES.iter().copied().filter(|what| !tally.contains_key(what)).collect();
    println!("{total} seeds, each run twice: {} good, {failing} failing", total - failing);
    if failing > 0 {
        return Err(Failure::broken(format!("{failing} of {total} seeds failed; see above")));
    }
    if total as usize >= SEEDS_FOR_RARE_EVENTS && !missing.is_empty() {
        let missing = missing.join(", ");
        return Err(Failure::broken(format!("these never happened in {total} seeds: {missing}")));
    }
    Ok(())
}

fn describe(verdict: &Verdict) {
    let Outcome { seed, options, violations, .. } = &verdict.outcome;
    println!("seed {seed} FAILED: {options}");
    for violation in violations {
        println!("  {violation}");
    }
    if let Some(line) = verdict.diverged_at {
        println!("  the two runs differ from line {line} of the trace on");
    }
    println!("  replay: headwater simulate --seed {seed} --trace");
}

fn print_trace(outcome: &Outcome) {
    println!("seed {}: {}", outcome.seed, outcome.options);
    for line in &outcome.trace {
        println!("{line}");
    }
}

fn table(tally: &Tally) -> String {
    let mut text = format!("{:<28}{:>8}{:>10}\n", "what happened", "seeds", "times");
    for (what, (seeds, times)) in tally {
        text.push_str(&format!("{what:<28}{seeds:>8}{times:>10}\n"));
    }
    text
}
