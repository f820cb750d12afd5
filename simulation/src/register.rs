//! The registers: clients that die and come back count up and swing a pointer through the retry
//! loop, and some order of all that they saw must explain it.

mod client;
mod history;

use std::sync::Arc;

use headwater_storage::retry::{Retry, RetryPolicy};

use client::{Client, Journal, Register, value_of};
use history::Finding;

use crate::metered::Defect;
use crate::metered::store::engine;
use crate::outcome::Outcome;
use crate::shared_store::{DoorStore, SharedStore};
use crate::world::{End, World};

/// When faults stop, in virtual ms.
const HEAL_MS: u64 = 40_000;
/// When clients begin nothing new, in virtual ms.
const STOP_MS: u64 = 50_000;
/// When everything must have ended, in virtual ms.
const END_MS: u64 = 120_000;
/// Clients of one process.
const CLIENTS: u64 = 2;

/// What must happen in some of many seeds.
pub(crate) const SOMETIMES: &[&str] = &[
    "commit unknown, done",
    "commit unknown, late",
    "commit unknown, lost",
    "operation forgotten in a crash",
    "operation taken up after a crash",
    "process cut from the store",
    "process killed",
    "read",
    "store conflict",
    "write failed",
    "write unknown",
    "written",
    "written earlier",
];

struct Options {
    processes: u64,
    kills: bool,
    cuts: bool,
}

/// Runs the workload under one seed.
pub(crate) fn run(seed: u64, defect: Option<Defect>) -> Outcome {
    let world = World::new(seed);
    let options = Options {
        processes: world.between(1, 3),
        kills: world.percent(60),
        cuts: world.percent(60),
    };
    let Options { processes, kills, cuts } = options;
    let store = SharedStore::draw(&world, 150, 4_000, Arc::new(|_| {}));
    let described =
        format!("{processes} processes, kills: {kills}, cuts: {cuts}; store: {}", store.describe());
    let journal = Journal::default();
    for process in 0..processes {
        let life = Process {
            number: process,
            world: world.clone(),
            store: store.clone(),
            journal: journal.clone(),
            defect,
        };
        world.spawn(life.live(kills, cuts));
    }
    let (healing, sleep) = (store.clone(), world.sleep(HEAL_MS));
    world.spawn(async move {
        sleep.await;
        healing.heal();
    });
    let end = world.run(END_MS);
    if end != End::Quiet || journal.unfinished() > 0 {
        let seen = format!("{end:?}, {} writes are under way", journal.unfinished());
        world.violated("every_operation_ends", seen);
    }
    check(&world, &store, &journal);
    let (trace, counts, violations) = world.take_notes();
    Outcome { seed, options: described, counts, violations, trace }
}

fn check(world: &World, store: &SharedStore, journal: &Journal) {
    for (register, invariant) in [
        (Register::Counter, "counter_is_linearizable"),
        (Register::Pointer, "pointer_is_linearizable"),
    ] {
        match value_of(store.value(&register.key()).as_ref()) {
            Ok(value) => journal.read_at_the_end(register, value),
            Err(error) => world.violated("every_row_can_be_read", error),
        }
        let history = journal.history(register);
        match history::check(&history, 0) {
            Finding::Linearizable => world.count("history explained"),
            Finding::Undecided => world.count("history too long to explain"),
            Finding::Not => {
                let seen = format!("no order explains these {} operations", history.len());
                world.violated(invariant, seen);
                for operation in history {
                    world.note(format_args!("{operation:?}"));
                }
            }
        }
    }
}

/// One process over its restarts.
struct Process {
    number: u64,
    world: World,
    store: SharedStore,
    journal: Journal,
    defect: Option<Defect>,
}

impl Process {
    /// Starts, is cut off and dies now and then, and starts again, until the world heals.
    async fn live(self, kills: bool, cuts: bool) {
        let world = self.world.clone();
        loop {
            let group = world.new_group();
            let door = self.store.door(self.number);
            for place in 0..CLIENTS {
                let policy = RetryPolicy { tries: 6, total_ms: 4_000, ..RetryPolicy::default() };
                let store = engine(Arc::new(DoorStore(Arc::clone(&door))), self.defect);
                let client = Client {
                    number: self.number * CLIENTS + place,
                    world: world.clone(),
                    retry: Retry::new(store, world.environment(), policy),
                    journal: self.journal.clone(),
                    stop_ms: STOP_MS,
                    snapshot_reads: self.defect == Some(Defect::SnapshotReads),
                };
                world.spawn_in(group, client.run());
            }
            loop {
                world.sleep(world.between(500, 12_000)).await;
                if world.now_ms() >= HEAL_MS {
                    return;
                }
                if cuts && world.percent(50) {
                    world.count("process cut from the store");
                    door.cut(true);
                    world.sleep(world.between(50, 6_000)).await;
                    door.cut(false);
                } else if kills {
                    break;
                }
            }
            world.count("process killed");
            world.note(format_args!("process {} dies", self.number));
            world.kill(group);
            world.sleep(world.between(10, 2_000)).await;
        }
    }
}
