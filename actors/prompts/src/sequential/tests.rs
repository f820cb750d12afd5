//! Tests of the statistics: known values, exact false-alarm chances, and simulated peeking.

use super::special::{ln_beta, ln_gamma, ln_normal};
use super::{
    Binary, Bounded, Comparison, Decision, Guarantee, Mismatch, Numeric, Range, Settings,
    ValueError, sample_ratio_mismatch,
};

mod guard;
mod peeking;

const UNIT: Range = Range { min: 0.0, max: 1.0 };

fn arm(successes: u64, count: u64) -> Binary {
    Binary { count, successes }
}

#[test]
fn special_functions_have_their_known_values() {
    let check = |name: &str, found: f64, expected: f64| {
        let error = (found - expected).abs() / expected.abs().max(1.0);
        assert!(error < 2e-7, "{name}: {found} is not {expected}");
    };
    check("gamma of a half", ln_gamma(0.5), 0.572_364_942_924_700_1);
    check("gamma of 1", ln_gamma(1.0), 0.0);
    check("gamma of 10", ln_gamma(10.0), 12.801_827_480_081_469);
    check("gamma of 1000.5", ln_gamma(1000.5), 5_908.673_822_544_255);
    check("beta", ln_beta(2.0, 3.0), (1.0_f64 / 12.0).ln());
    check("beta of halves", ln_beta(0.5, 0.5), std::f64::consts::PI.ln());
    check("normal at 0", ln_normal(0.0), 0.5_f64.ln());
    check("normal at 1.96", ln_normal(1.96), 0.975_002_104_851_780_f64.ln());
    check("normal at -1.96", ln_normal(-1.96), 0.024_997_895_148_220_4_f64.ln());
    check("normal at -10", ln_normal(-10.0), -53.231_285_151_247_14);
}

/// Chance that `rejects` is ever true after a pair, for `pairs` pairs of answers: exactly, by
/// adding up the paths through (yes of the control, yes of the variant).
fn chance_ever(pairs: u64, rates: (f64, f64), rejects: impl Fn(&Binary, &Binary) -> bool) -> f64 {
    let width = pairs as usize + 2;
    let mut paths = vec![vec![0.0; width]; width];
    paths[0][0] = 1.0;
    let mut ever = 0.0;
    for pair in 1..=pairs {
        let mut next = vec![vec![0.0; width]; width];
        for one in 0..pair as usize {
            for two in 0..pair as usize {
                let mass = paths[one][two];
                for (a, pa) in [(0, 1.0 - rates.0), (1, rates.0)] {
                    for (b, pb) in [(0, 1.0 - rates.1), (1, rates.1)] {
                        next[one + a][two + b] += mass * pa * pb;
                    }
                }
            }
        }
        for (one, row) in next.iter_mut().enumerate().take(pair as usize + 1) {
            for (two, mass) in row.iter_mut().enumerate().take(pair as usize + 1) {
                if rejects(&arm(one as u64, pair), &arm(two as u64, pair)) {
                    ever += *mass;
                    *mass = 0.0;
                }
            }
        }
        paths = next;
    }
    ever
}

#[test]
fn exact_test_rarely_rejects_a_true_null_at_any_look() {
    let check = |rates: (f64, f64), alpha: f64| {
        let two_sided = chance_ever(40, rates, |control, variant| {
            Binary::log_evidence(control, variant, rates.1 - rates.0) >= -alpha.ln()
        });
        let above = chance_ever(40, rates, |control, variant| {
            Binary::log_evidence_above(control, variant, rates.1 - rates.0) >= -alpha.ln()
        });
        assert!(two_sided <= alpha, "{rates:?} at {alpha}: {two_sided}");
        assert!(above <= two_sided, "{rates:?} at {alpha}: one side {above} > {two_sided}");
    };
    for alpha in [0.05, 0.5, 0.9] {
        for rates in [(0.02, 0.02), (0.3, 0.3), (0.5, 0.5), (0.1, 0.3), (0.9, 0.6)] {
            check(rates, alpha);
        }
    }
    // The bound is not idle: at a generous alpha the test does reject.
    let some = chance_ever(40, (0.5, 0.5), |control, variant| {
        Binary::log_evidence(control, variant, 0.0) >= -0.9_f64.ln()
    });
    assert!(some > 0.0, "never rejects: {some}");
}

#[test]
fn interval_p_value_and_decision_agree() {
    let check = |control: Binary, variant: Binary, guarantee: Guarantee, decision: Decision| {
        let name = format!("{control:?} {variant:?} {guarantee:?}");
        let found = Binary::compare(&control, &variant, 0.05, guarantee);
        let Comparison { estimate, lower, upper, p_value, .. } = found;
        assert_eq!(found.decision, decision, "{name}: {found:?}");
        assert!(lower <= estimate && estimate <= upper, "{name}: {found:?}");
        assert!(lower >= -1.0 && upper <= 1.0, "{name}: {found:?}");
        assert_eq!(p_value <= 0.05, decision != Decision::Undecided, "{name}: {found:?}");
        let mirror = Binary::compare(&variant, &control, 0.05, guarantee);
        assert!((mirror.lower + upper).abs() < 1e-9, "{name}: {mirror:?}");
        assert!((mirror.p_value - p_value).abs() < 1e-9, "{name}: {mirror:?}");
    };
    for guarantee in [Guarantee::Exact, Guarantee::Combined] {
        check(arm(0, 0), arm(0, 0), guarantee, Decision::Undecided);
        check(arm(1, 1), arm(0, 1), guarantee, Decision::Undecided);
        check(arm(5, 50), arm(8, 50), guarantee, Decision::Undecided);
        check(arm(0, 40), arm(20, 40), guarantee, Decision::Higher);
        check(arm(40, 40), arm(20, 40), guarantee, Decision::Lower);
        check(arm(1_000, 10_000), arm(1_500, 10_000), guarantee, Decision::Higher);
        check(arm(9_000, 10_000), arm(80, 100), guarantee, Decision::Undecided);
        check(arm(500_000, 1_000_000), arm(499_000, 1_000_000), guarantee, Decision::Undecided);
    }
    // What the second guarantee is for: a small difference found sooner.
    check(arm(400, 4_000), arm(500, 4_000), Guarantee::Exact, Decision::Undecided);
    check(arm(400, 4_000), arm(500, 4_000), Guarantee::Combined, Decision::Higher);
}

/// Deviations of exact multiples of 1/8, so that sums carry no rounding.
fn values(count: u64, shift: f64) -> impl Iterator<Item = f64> {
    (0..count).map(move |index| (index * 37 % 8) as f64 / 8.0 + shift)
}

fn numeric(count: u64, shift: f64) -> Numeric {
    values(count, shift).fold(Numeric::default(), |mut arm, value| {
        arm.record(value).unwrap();
        arm
    })
}

#[test]
fn numeric_comparison_waits_and_then_decides() {
    let check = |control: Numeric, variant: Numeric, decision: Decision| {
        let found = Numeric::compare(&control, &variant, 0.05, Settings::EXPERIMENT);
        assert_eq!(found.decision, decision, "{control:?} {variant:?}: {found:?}");
        assert_eq!(found.p_value <= 0.05, decision != Decision::Undecided, "{found:?}");
    };
    check(numeric(0, 0.0), numeric(0, 0.0), Decision::Undecided);
    check(numeric(99, 0.0), numeric(1_000, 5.0), Decision::Undecided);
    check(numeric(100, 0.0), numeric(1_000, 5.0), Decision::Higher);
    check(numeric(1_000, 0.0), numeric(1_000, -0.1), Decision::Lower);
    check(numeric(1_000, 0.0), numeric(1_000, 0.01), Decision::Undecided);
    // Without any spread there is no scale to judge a difference by.
    let flat = |mean: f64| Numeric { count: 1_000, mean, m2: 0.0 };
    check(flat(1.0), flat(2.0), Decision::Undecided);
}

#[test]
fn bounded_comparison_keeps_to_the_unit_of_the_goal() {
    let fill = |count: u64, shift: f64| {
        values(count, shift).fold(Bounded::default(), |mut arm, value| {
            arm.record(1.0 + value * 2.0, Range { min: 1.0, max: 5.0 }).unwrap();
            arm
        })
    };
    let check = |control: Bounded, variant: Bounded, estimate: f64, decision: Decision| {
        let range = Range { min: 1.0, max: 5.0 };
        let found = Bounded::compare(&control, &variant, 0.05, range);
        assert!((found.estimate - estimate).abs() < 1e-9, "{found:?}");
        assert_eq!(found.decision, decision, "{found:?}");
        assert_eq!(found.p_value <= 0.05, decision != Decision::Undecided, "{found:?}");
        assert!(found.lower >= -4.0 && found.upper <= 4.0, "{found:?}");
    };
    check(fill(0, 0.0), fill(0, 0.0), 0.0, Decision::Undecided);
    check(fill(80, 0.0), fill(80, 0.5), 1.0, Decision::Undecided);
    check(fill(800, 0.0), fill(800, 0.5), 1.0, Decision::Higher);
    check(fill(8_000, 0.25), fill(8_000, 0.0), -0.5, Decision::Lower);
}

#[test]
fn merging_equals_recording_in_one_place() {
    let check = |cut: u64| {
        let mut parts = [Numeric::default(); 2];
        let mut bounded = [Bounded::default(); 2];
        let mut binary = [Binary::default(); 2];
        for (index, value) in values(200, 0.0).enumerate() {
            let node = usize::from(index as u64 >= cut);
            parts[node].record(value).unwrap();
            bounded[node].record(value, UNIT).unwrap();
            binary[node].record(value > 0.5);
        }
        let (merged, whole) = (parts[0].merge(parts[1]), numeric(200, 0.0));
        assert_eq!(merged.count, whole.count);
        assert!((merged.mean - whole.mean).abs() < 1e-12, "{merged:?} {whole:?}");
        assert!((merged.m2 - whole.m2).abs() < 1e-9, "{merged:?} {whole:?}");
        assert_eq!(binary[0].merge(binary[1]), arm(75, 200));
        let bounded = bounded[0].merge(bounded[1]);
        assert_eq!((bounded.count, bounded.sum), (200, 87.5));
    };
    for cut in [0, 1, 100, 200] {
        check(cut);
    }
}

#[test]
fn values_that_cannot_be_are_refused_and_change_nothing() {
    let check = |result: Result<(), ValueError>, words: &str| {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(words), "{message:?} lacks {words:?}");
    };
    let (mut binary, mut numeric) = (Binary::default(), Numeric::default());
    let mut bounded = Bounded::default();
    check(binary.record_number(0.5), "takes 0 or 1");
    check(binary.record_number(f64::NAN), "takes 0 or 1");
    check(numeric.record(f64::INFINITY), "finite");
    check(numeric.record_logarithm(-1.0), "0 or more");
    check(numeric.record_logarithm(f64::NAN), "finite");
    check(bounded.record(1.5, UNIT), "allows 0 to 1");
    check(bounded.record(f64::NAN, UNIT), "finite");
    check(bounded.record(1.0, Range { min: 1.0, max: 1.0 }), "widen the range");
    assert_eq!(binary, Binary::default());
    assert_eq!(numeric, Numeric::default());
    assert_eq!(bounded, Bounded::default());
}

#[test]
fn mismatch_finds_wrong_shares_only() {
    let check = |arms: &[(u32, u64)], found: bool| {
        let result = sample_ratio_mismatch(arms, 0.001);
        assert_eq!(result.found, found, "{arms:?}: {result:?}");
        assert_eq!(result.p_value <= 0.001, found, "{arms:?}: {result:?}");
    };
    check(&[], false);
    check(&[(0, 0), (0, 5)], false);
    check(&[(1, 0), (1, 0)], false);
    check(&[(1, 10), (1, 0)], false);
    check(&[(1, 200), (1, 0)], true);
    check(&[(1, 5_000), (1, 5_100)], false);
    check(&[(1, 50_000), (1, 51_500)], true);
    check(&[(9, 9_000), (1, 1_000)], false);
    check(&[(9, 9_000), (1, 1_250)], true);
    check(&[(1, 1_000), (1, 1_010), (2, 1_990)], false);
    check(&[(1, 100), (0, 1)], true);
    assert_eq!(sample_ratio_mismatch(&[], 0.5), Mismatch { p_value: 1.0, found: false });
}

/// The chance of ever finding a mismatch where there is none, exactly, by adding up the paths.
#[test]
fn mismatch_rarely_alarms_at_any_look() {
    let check = |weights: (u32, u32), alpha: f64| {
        let share = f64::from(weights.0) / f64::from(weights.0 + weights.1);
        let mut paths = vec![1.0];
        let mut ever = 0.0;
        for users in 1..=400_u64 {
            let mut next = vec![0.0; paths.len() + 1];
            for (one, mass) in paths.iter().enumerate() {
                next[one + 1] += mass * share;
                next[one] += mass * (1.0 - share);
            }
            for (one, mass) in next.iter_mut().enumerate() {
                let arms = [(weights.0, one as u64), (weights.1, users - one as u64)];
                if *mass > 0.0 && sample_ratio_mismatch(&arms, alpha).found {
                    ever += *mass;
                    *mass = 0.0;
                }
            }
            paths = next;
        }
        assert!(ever > 0.0 && ever <= alpha, "{weights:?} at {alpha}: {ever}");
    };
    check((1, 1), 0.05);
    check((1, 1), 0.5);
    check((9, 1), 0.05);
}
