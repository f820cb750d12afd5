//! The mutant hunt: plants one defect after the other in the real code and runs seeds of every
//! workload until an invariant breaks. Fails when a defect survives. `mutants [SEEDS] [NAME]`: the
//! most seeds of a workload, and the only defect to plant.

use std::process::ExitCode;
use std::time::Instant;

use headwater_actors::mutants::Mutant;
use headwater_simulation::{Defect, Outcome, Workload, run, run_with};

/// So many seeds of every workload a defect must not survive, unless the first argument says
/// otherwise.
const SEEDS: u64 = 500;

/// What is planted.
#[derive(Clone, Copy)]
enum Planted {
    Actors(Mutant),
    Cluster(headwater_cluster::mutants::Mutant),
    Embedding(headwater_embedding::mutants::Mutant),
    Tenancy(headwater_tenancy::mutants::Mutant),
    Simulation(Defect),
}

impl Planted {
    fn all() -> Vec<Planted> {
        let actors = Mutant::ALL.map(Planted::Actors);
        let cluster = headwater_cluster::mutants::Mutant::ALL.map(Planted::Cluster);
        let embedding = headwater_embedding::mutants::Mutant::ALL.map(Planted::Embedding);
        let tenancy = headwater_tenancy::mutants::Mutant::ALL.map(Planted::Tenancy);
        let simulation = Defect::ALL.map(Planted::Simulation);
        let shells = actors.into_iter().chain(cluster);
        shells.chain(embedding).chain(tenancy).chain(simulation).collect()
    }

    fn name(self) -> String {
        match self {
            Planted::Actors(mutant) => format!("actors {mutant:?}"),
            Planted::Cluster(mutant) => format!("cluster {mutant:?}"),
            Planted::Embedding(mutant) => format!("embedding {mutant:?}"),
            Planted::Tenancy(mutant) => format!("tenancy {mutant:?}"),
            Planted::Simulation(defect) => format!("simulation {defect:?}"),
        }
    }

    /// Runs one seed with this planted, and nothing planted before or after.
    fn run(self, workload: Workload, seed: u64) -> Outcome {
        match self {
            Planted::Actors(mutant) => headwater_actors::mutants::plant(Some(mutant)),
            Planted::Cluster(mutant) => headwater_cluster::mutants::plant(Some(mutant)),
            Planted::Embedding(mutant) => headwater_embedding::mutants::plant(Some(mutant)),
            Planted::Tenancy(mutant) => headwater_tenancy::mutants::plant(Some(mutant)),
            Planted::Simulation(defect) => return run_with(workload, defect, seed),
        }
        let outcome = run(workload, seed);
        headwater_actors::mutants::plant(None);
        headwater_cluster::mutants::plant(None);
        headwater_embedding::mutants::plant(None);
        headwater_tenancy::mutants::plant(None);
        outcome
    }

    /// Where this can bite.
    fn workloads(self) -> &'static [Workload] {
        match self {
            Planted::Simulation(Defect::SnapshotReads) => &[Workload::Registers],
            Planted::Embedding(_) => &[Workload::Metered],
            Planted::Simulation(_) => &[Workload::Metered, Workload::Registers],
            Planted::Actors(
                Mutant::NoFence
                | Mutant::EarlierWriteRuns
                | Mutant::DocumentNotLocked
                | Mutant::CountsApart
                | Mutant::EndsBeforeVectors
                | Mutant::EndsBeforeChunks
                | Mutant::AttemptsCountDuplicates
                | Mutant::RemovedVectorsStay
                | Mutant::LateRequestsForgotten,
            ) => &[Workload::Ingest],
            Planted::Actors(
                Mutant::SwitchUnchecked
                | Mutant::SwitchUnfenced
                | Mutant::OnlyServingWritten
                | Mutant::QueryOfNewModel,
            ) => &[Workload::Reembed],
            Planted::Actors(
                Mutant::CutLooksWhole
                | Mutant::LeaverPaysNothing
                | Mutant::LeaverPaysAll
                | Mutant::CutAnswerKept
                | Mutant::KeptAnswerCharged
                | Mutant::FailedTryCharged
                | Mutant::LeaverNotRecorded
                | Mutant::FailedAppendForgotten
                | Mutant::RecordWithoutUse
                | Mutant::LastMessageNotRedacted
                | Mutant::FarQuestionIsNear
                | Mutant::FrameIsNotCompared,
            ) => &[Workload::Gateway],
            Planted::Actors(Mutant::StaleKeysServed) => &[Workload::Identity],
            Planted::Actors(
                Mutant::OlderSlotReplaces
                | Mutant::ChangeNotTold
                | Mutant::RefreshDoesNotRead
                | Mutant::VariantsDrawnAnew
                | Mutant::AnyVersionOfSlot
                | Mutant::LayerNotProved
                | Mutant::NightNotCounted,
            ) => &[Workload::Prompts],
            Planted::Actors(
                Mutant::CallWithoutRow | Mutant::CallNotReserved | Mutant::DoubtForgotten,
            ) => &[Workload::Tools],
            Planted::Actors(
                Mutant::RunNotFenced
                | Mutant::RunBegunAnew
                | Mutant::CallOfRunDrawnAnew
                | Mutant::RunOutlivesItsKey,
            ) => &[Workload::Agents],
            // Each defect of the shells is named above or here: one that no workload can show
            // would be hunted for nothing.
            Planted::Actors(
                Mutant::SettleDoesNotWait
                | Mutant::DrainDoesNotWait
                | Mutant::LeaverKeepsShare
                | Mutant::EpochNotCompared
                | Mutant::RefusalKeepsShares
                | Mutant::TeamAloneSettles
                | Mutant::StruckOutBeforeSent,
            )
            | Planted::Cluster(_)
            | Planted::Tenancy(_) => &QUOTAS,
        }
    }
}

const QUOTAS: [Workload; 4] =
    [Workload::QuotaStorm, Workload::LeaseThrash, Workload::RollingRestart, Workload::SplitBrain];

/// How a defect was found.
struct Found {
    invariant: String,
    workload: Workload,
    seed: u64,
    runs: u64,
}

fn hunt(planted: Planted, seeds: u64) -> Option<Found> {
    let mut runs = 0;
    for seed in 0..seeds {
        for workload in planted.workloads().iter().copied() {
            runs += 1;
            let violations = planted.run(workload, seed).violations;
            if let Some(first) = violations.first() {
                let invariant = first.split(':').next().unwrap_or(first).to_owned();
                return Some(Found { invariant, workload, seed, runs });
            }
        }
    }
    None
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let seeds = arguments.next().map_or(Ok(SEEDS), |text| text.parse());
    let only = arguments.next();
    let Ok(seeds) = seeds else {
        eprintln!("the first argument is the number of seeds, for example 500");
        return ExitCode::FAILURE;
    };
    let began = Instant::now();
    let mut survivors = Vec::new();
    println!("{:<34}{:<44}{:<18}{:>6}{:>6}", "mutant", "found by", "workload", "seed", "runs");
    for planted in Planted::all() {
        let name = planted.name();
        if only.as_ref().is_some_and(|only| name.split_once(' ').is_none_or(|(_, own)| own != only))
        {
            continue;
        }
        match hunt(planted, seeds) {
            Some(Found { invariant, workload, seed, runs }) => {
                let workload = workload.name();
                println!("{name:<34}{invariant:<44}{workload:<18}{seed:>6}{runs:>6}");
            }
            None => {
                println!("{name:<34}survived");
                survivors.push(name);
            }
        }
    }
    println!("{:.0} s", began.elapsed().as_secs_f64());
    if survivors.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("{} survived {seeds} seeds: {}", survivors.len(), survivors.join(", "));
    ExitCode::FAILURE
}
