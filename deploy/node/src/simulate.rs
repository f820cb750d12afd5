//! `headwater simulate`: runs seeds of the deterministic simulation and shows what happened.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use headwater_simulation::lockstep::Scenario;
use headwater_simulation::{Outcome, Verdict, Workload, verify};

use crate::failure::Failure;
use crate::progress::Progress;
use crate::scenario::{self, ScenarioRun};

/// With fewer seeds than this a rare event may fairly not have happened.
const SEEDS_FOR_RARE_EVENTS: usize = 100;
/// A hunt runs so many seeds of one thing before it goes to the next.
const HUNTED_TOGETHER: u64 = 25;

#[derive(Debug, Clone, Args)]
pub(crate) struct SimulateFlags {
    /// Run this workload alone, for example quota-storm; all of them by default.
    #[arg(long, value_parser = parse_workload, value_name = "NAME")]
    workload: Option<Workload>,
    /// Seeds to run, as a range: 0..200 runs 0 to 199, each twice.
    #[arg(long, default_value = "0..200", value_parser = parse_range, value_name = "A..B")]
    seeds: Range<u64>,
    /// Run this seed alone.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Print the whole trace of every failing seed, or of the one that --seed names.
    #[arg(long)]
    trace: bool,
    /// Run a scenario over the real actors instead, one process a node: a name such as
    /// quota-split, or a TOML file.
    #[arg(long, conflicts_with = "workload", value_name = "NAME|FILE")]
    scenario: Option<String>,
    /// Reduce a failing run of a scenario to the faults that it needs.
    #[arg(long, requires = "scenario")]
    shrink: bool,
    /// Write the time-line of a scenario's run as an HTML page.
    #[arg(long, requires = "scenario", value_name = "FILE")]
    page: Option<PathBuf>,
    /// Hunt for so many hours: every workload and scenario, or the one that is named, from the
    /// first of --seeds on.
    #[arg(long, value_parser = parse_hours, conflicts_with = "seed")]
    hours: Option<Duration>,
}

fn parse_hours(text: &str) -> Result<Duration, String> {
    let hours: f64 = text.parse().map_err(|_| format!("'{text}' is no number of hours"))?;
    let fits = hours > 0.0 && hours <= 24.0 * 366.0;
    if fits {
        Ok(Duration::from_secs_f64(hours * 3600.0))
    } else {
        Err("give more than 0 hours and at most a year".to_owned())
    }
}

fn parse_workload(text: &str) -> Result<Workload, String> {
    Workload::named(text).ok_or_else(|| {
        let names = Workload::ALL.map(Workload::name).join(", ");
        format!("there is no workload '{text}'; choose one of {names}")
    })
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

/// What the seeds of one workload came to.
#[derive(Default)]
struct Tested {
    tally: Tally,
    failing: u64,
}

/// Runs the seeds of every workload; fails when an invariant broke, a trace did not repeat or a
/// rare event never happened.
///
/// # Errors
/// Kind `Broken`, with the number of failing seeds.
pub(crate) fn run(flags: &SimulateFlags) -> Result<(), Failure> {
    match (flags.hours, &flags.scenario) {
        (Some(time), _) => hunt(flags, time),
        (None, Some(name)) => scenario::run(&flags.scenario_run(name, None)?),
        (None, None) => run_workloads(flags),
    }
}

/// Seeds of everything, in turn, until the time is up; every finding is told at once.
fn hunt(flags: &SimulateFlags, time: Duration) -> Result<(), Failure> {
    let until = Instant::now() + time;
    if let Some(name) = &flags.scenario {
        return scenario::run(&flags.scenario_run(name, Some(until))?);
    }
    let (mut failing, mut seed) = (0, flags.seeds.start);
    while Instant::now() < until {
        let seeds = seed..seed + HUNTED_TOGETHER;
        seed = seeds.end;
        let some = SimulateFlags { seeds, seed: None, hours: None, ..flags.clone() };
        failing += u64::from(run_workloads(&some).is_err());
        if flags.workload.is_some() {
            continue;
        }
        for name in Scenario::names() {
            failing += u64::from(scenario::run(&some.scenario_run(name, None)?).is_err());
        }
    }
    println!("hunted seeds {} to {}", flags.seeds.start, seed - 1);
    match failing {
        0 => Ok(()),
        _ => Err(Failure::broken(format!("{failing} stretches held a failing seed; see above"))),
    }
}

fn run_workloads(flags: &SimulateFlags) -> Result<(), Failure> {
    let workloads = flags.workload.map_or(Workload::ALL.to_vec(), |workload| vec![workload]);
    let mut failing = 0;
    let mut missing = Vec::new();
    for workload in workloads {
        let began = Instant::now();
        let Tested { tally, failing: failed } = test(workload, flags);
        let total = flags.range().count();
        let per_minute = total as f64 * 60.0 / began.elapsed().as_secs_f64().max(0.001);
        print!("{}", table(workload, &tally));
        println!(
            "{}: {total} seeds, each run twice: {} good, {failed} failing; {per_minute:.0} seeds a \
             minute\n",
            workload.name(),
            total as u64 - failed,
        );
        failing += failed;
        if total >= SEEDS_FOR_RARE_EVENTS {
            let never = workload.sometimes().iter().filter(|what| !tally.contains_key(*what));
            missing.extend(never.map(|what| format!("{what} ({})", workload.name())));
        }
    }
    if failing > 0 {
        return Err(Failure::broken(format!("{failing} seeds failed; see above")));
    }
    if !missing.is_empty() {
        return Err(Failure::broken(format!("these never happened: {}", missing.join(", "))));
    }
    Ok(())
}

impl SimulateFlags {
    fn scenario_run(&self, name: &str, until: Option<Instant>) -> Result<ScenarioRun, Failure> {
        Ok(ScenarioRun {
            scenario: scenario::find(name)?,
            seeds: self.range(),
            trace: self.trace,
            shrink: self.shrink,
            page: self.page.clone(),
            until,
        })
    }

    fn range(&self) -> Range<u64> {
        self.seed.map_or(self.seeds.clone(), |seed| seed..seed + 1)
    }
}

fn test(workload: Workload, flags: &SimulateFlags) -> Tested {
    let seeds = flags.range();
    let total = seeds.end - seeds.start;
    let mut progress = Progress::start(workload.name(), Some(total), false);
    let mut tested = Tested::default();
    for (done, seed) in (1..).zip(seeds) {
        let verdict = verify(workload, seed);
        for (what, count) in &verdict.outcome.counts {
            let (seeds, times) = tested.tally.entry(what).or_default();
            *seeds += 1;
            *times += count;
        }
        if !verdict.is_good() {
            tested.failing += 1;
            describe(workload, &verdict);
        }
        if flags.trace && (!verdict.is_good() || flags.seed.is_some()) {
            print_trace(&verdict.outcome);
        }
        progress.at(done, Some(total));
    }
    tested
}

fn describe(workload: Workload, verdict: &Verdict) {
    let Outcome { seed, options, violations, .. } = &verdict.outcome;
    println!("{} seed {seed} FAILED: {options}", workload.name());
    for violation in violations {
        println!("  {violation}");
    }
    if let Some(line) = verdict.diverged_at {
        println!("  the two runs differ from line {line} of the trace on");
    }
    let name = workload.name();
    println!("  replay: headwater simulate --workload {name} --seed {seed} --trace");
}

fn print_trace(outcome: &Outcome) {
    println!("seed {}: {}", outcome.seed, outcome.options);
    for line in &outcome.trace {
        println!("{line}");
    }
}

fn table(workload: Workload, tally: &Tally) -> String {
    let mut text = format!("{:<40}{:>8}{:>10}\n", workload.name(), "seeds", "times");
    for (what, (seeds, times)) in tally {
        text.push_str(&format!("{what:<40}{seeds:>8}{times:>10}\n"));
    }
    text
}
