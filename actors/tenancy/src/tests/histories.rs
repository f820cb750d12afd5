//! Random histories of edges and owners; the invariants stand in `accounts.rs`.

use proptest::prelude::{ProptestConfig, any, prop, prop_assert, proptest};

use super::accounts::Checked;
use super::steps::{Options, Step};
use super::watched::Seen;
use super::world::World;

/// SplitMix64.
struct Lots(u64);

impl Lots {
    fn draw(&mut self) -> [u16; 4] {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        [0, 16, 32, 48].map(|shift| (mixed >> shift) as u16)
    }
}

fn run(options: [u16; 4], steps: impl Iterator<Item = [u16; 4]>) -> Checked<World> {
    let options = Options::of(options);
    let mut world = World::new(&options);
    for raw in steps {
        world.play(&Step::of(raw, &options.faults))?;
    }
    world.heal()?;
    Ok(world)
}

/// The history of one seed.
pub(super) fn run_seed(seed: u64) -> Checked<World> {
    let mut lots = Lots(seed);
    let options = lots.draw();
    run(options, (0..400).map(|_| lots.draw()))
}

#[test]
fn seeds_keep_the_invariants_and_reach_every_corner() {
    let mut seen = Seen::new();
    for seed in 0..500 {
        let world = run_seed(seed).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        for (what, times) in world.seen() {
            *seen.entry(what).or_default() += times;
        }
    }
    println!("{seen:#?}");
    for what in [
        "admitted",
        "admitted in an outage",
        "edge dies",
        "given up",
        "late answer",
        "late word of a report",
        "limits set",
        "outage begins",
        "outage ends",
        "owner overloaded",
        "owner replaced",
        "refused: overloaded",
        "refused: unanswered",
        "refused: used up",
        "report failed",
        "used more than the allowance",
        "used up from memory",
    ] {
        assert!(seen.get(what).is_some_and(|times| *times >= 20), "{what}: too rare in {seen:?}");
    }
}

#[test]
fn a_seed_repeats_exactly() {
    for seed in [3, 77, 2024] {
        let [first, second] = [(); 2].map(|()| run_seed(seed).ok().unwrap());
        assert_eq!((&first.rows, first.seen()), (&second.rows, second.seen()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn every_history_keeps_the_invariants(
        options in any::<[u16; 4]>(),
        steps in prop::collection::vec(any::<[u16; 4]>(), 1..200),
    ) {
        let outcome = run(options, steps.iter().copied()).map_err(|broken| broken.to_string());
        let faults = Options::of(options).faults;
        let told: Vec<Step> = steps.iter().map(|raw| Step::of(*raw, &faults)).collect();
        prop_assert!(outcome.is_ok(), "{:?} in {:#?}", outcome.err(), told);
    }
}
