//! `headwater simulate --scenario`: the real actors on simulated nodes, one process each.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use headwater_simulation::lockstep::{
    Divergence, LockstepOutcome, LockstepVerdict, Scenario, shrink, timeline_html, verify,
};

use crate::failure::Failure;
use crate::progress::Progress;

/// Most runs that a reduction may take.
const SHRINK_RUNS: usize = 200;

/// What to do with which scenario.
pub(crate) struct ScenarioRun {
    pub(crate) scenario: Scenario,
    pub(crate) seeds: Range<u64>,
    /// Print the story of every failing seed, or of the only one.
    pub(crate) trace: bool,
    /// Reduce the first failing seed to the faults that it needs.
    pub(crate) shrink: bool,
    /// Where the time-line of the last failing seed, or of the last one, goes as a page.
    pub(crate) page: Option<PathBuf>,
    /// Goes on with further seeds until then.
    pub(crate) until: Option<Instant>,
}

/// The scenario of this name, or in this file.
///
/// # Errors
/// Kind `Settings`, naming what there is.
pub(crate) fn find(name: &str) -> Result<Scenario, Failure> {
    if let Some(scenario) = Scenario::named(name).map_err(Failure::settings)? {
        return Ok(scenario);
    }
    if Path::new(name).is_file() {
        return Scenario::read(Path::new(name)).map_err(Failure::settings);
    }
    let names: Vec<&str> = Scenario::names().collect();
    let names = names.join(", ");
    Err(Failure::settings(format!(
        "--scenario {name}: there is no such file, and the scenarios that ship are {names}"
    )))
}

#[derive(Default)]
struct Tested {
    seeds: u64,
    failing: u64,
    counts: BTreeMap<String, (u64, u64)>,
    cpu_ms: u64,
}

/// Runs the seeds, each twice.
///
/// # Errors
/// Kind `Broken` when an invariant broke or a run did not repeat itself, `Unavailable` when the
/// nodes' program is not there.
pub(crate) fn run(run: &ScenarioRun) -> Result<(), Failure> {
    let began = Instant::now();
    let count = run.seeds.end - run.seeds.start;
    let total = run.until.is_none().then_some(count);
    let mut progress = Progress::start(&format!("scenario {}", run.scenario.name), total, false);
    let mut tested = Tested::default();
    for seed in run.seeds.start.. {
        let over = match run.until {
            Some(until) => Instant::now() >= until,
            None => seed >= run.seeds.end,
        };
        if over {
            break;
        }
        let verdict = verify(&run.scenario, seed, None).map_err(Failure::unavailable)?;
        tested.take(&verdict);
        let only = count == 1 && run.until.is_none();
        show(run, &verdict, only)?;
        progress.at(tested.seeds, total);
    }
    drop(progress);
    tested.report(&run.scenario.name, began.elapsed());
    match tested.failing {
        0 => Ok(()),
        failing => {
            Err(Failure::broken(format!("{failing} of {} seeds failed; see above", tested.seeds)))
        }
    }
}

fn show(run: &ScenarioRun, verdict: &LockstepVerdict, only: bool) -> Result<(), Failure> {
    let (outcome, good) = (&verdict.outcome, verdict.is_good());
    if !good {
        describe(verdict);
    }
    if run.trace && (!good || only) {
        print_story(outcome);
    }
    if run.shrink && !outcome.violations.is_empty() {
        let shrunk = shrink(&run.scenario, outcome.clone(), SHRINK_RUNS, None);
        let shrunk = shrunk.map_err(Failure::unavailable)?;
        println!("reduced in {} runs to {} faults:", shrunk.runs, shrunk.outcome.faults.len());
        print_story(&shrunk.outcome);
    }
    if let Some(page) = run.page.as_ref().filter(|_| !good || only) {
        std::fs::write(page, timeline_html(outcome)).map_err(|error| {
            Failure::settings(format!("--page: cannot write {}: {error}", page.display()))
        })?;
        println!("the time-line is in {}", page.display());
    }
    Ok(())
}

fn describe(verdict: &LockstepVerdict) {
    let LockstepOutcome { scenario, seed, options, violations, .. } = &verdict.outcome;
    println!("scenario {scenario} seed {seed} FAILED: {options}");
    for violation in violations {
        println!("  {violation}");
    }
    match verdict.divergence {
        Some(Divergence::Line(line)) => {
            println!("  the two runs differ from line {line} of the story on");
        }
        Some(Divergence::Bytes) => println!("  the two runs differ in bytes between the nodes"),
        None => {}
    }
    println!("  replay: headwater simulate --scenario {scenario} --seed {seed} --trace");
}

fn print_story(outcome: &LockstepOutcome) {
    println!("seed {}: {}", outcome.seed, outcome.options);
    for line in &outcome.trace {
        println!("{line}");
    }
}

impl Tested {
    fn take(&mut self, verdict: &LockstepVerdict) {
        self.seeds += 1;
        self.failing += u64::from(!verdict.is_good());
        // The second run took as much.
        self.cpu_ms += 2 * verdict.outcome.cost.cpu_ms;
        for (what, count) in &verdict.outcome.counts {
            let (seeds, times) = self.counts.entry(what.clone()).or_default();
            *seeds += 1;
            *times += count;
        }
    }

    fn report(&self, name: &str, elapsed: Duration) {
        let Tested { seeds, failing, counts, cpu_ms } = self;
        println!("{:<32}{:>8}{:>10}", name, "seeds", "times");
        for (what, (in_seeds, times)) in counts {
            println!("{what:<32}{in_seeds:>8}{times:>10}");
        }
        let per_minute = *seeds as f64 * 60.0 / elapsed.as_secs_f64().max(0.001);
        println!(
            "{name}: {seeds} seeds, each run twice: {} good, {failing} failing; {per_minute:.0} \
             seeds a minute, {:.1} s of processor time",
            seeds - failing,
            *cpu_ms as f64 / 1000.0,
        );
    }
}
