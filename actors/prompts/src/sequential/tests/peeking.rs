//! A small version of `examples/peeking.rs`: false alarms with a look after every pair.

use super::super::{Binary, Guarantee, Numeric, Settings};

const RUNS: u64 = 400;
const PAIRS: u64 = 600;
const ALPHA: f64 = 0.05;

/// SplitMix64, so that the seeds give the same data everywhere.
pub(super) struct Draw(pub(super) u64);

impl Draw {
    pub(super) fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((x ^ (x >> 31)) >> 11) as f64 / 9_007_199_254_740_992.0
    }

    pub(super) fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// The test that must not be looked at twice, for contrast.
fn z_test(one: &Numeric, two: &Numeric) -> bool {
    let square = one.variance() / one.count as f64 + two.variance() / two.count as f64;
    one.count >= 30 && square > 0.0 && (two.mean - one.mean).abs() / square.sqrt() > 1.96
}

/// Runs A/A experiments and checks the share that ever rejects: at most alpha and three binomial
/// errors for the sequential test, several times alpha for the z-test.
fn check(name: &str, mut run: impl FnMut(&mut Draw) -> (bool, bool)) {
    let (mut sequential, mut naive) = (0_u64, 0_u64);
    for seed in 0..RUNS {
        let (one, other) = run(&mut Draw(seed));
        sequential += u64::from(one);
        naive += u64::from(other);
    }
    let allowed = ALPHA + 3.0 * (ALPHA * (1.0 - ALPHA) / RUNS as f64).sqrt();
    let share = sequential as f64 / RUNS as f64;
    assert!(share <= allowed, "{name}: {share} rejected");
    assert!(naive as f64 / RUNS as f64 > 3.0 * ALPHA, "{name}: the z-test was not fooled");
}

fn binary(rate: f64, guarantee: Guarantee) -> impl FnMut(&mut Draw) -> (bool, bool) {
    move |draw| {
        let (mut one, mut two, mut ever, mut naive) =
            (Binary::default(), Binary::default(), false, false);
        for _ in 0..PAIRS {
            one.record(draw.unit() < rate);
            two.record(draw.unit() < rate);
            ever = ever || Binary::p_value(&one, &two, guarantee) <= ALPHA;
            naive = naive || z_test(&one.as_numeric(), &two.as_numeric());
        }
        (ever, naive)
    }
}

fn numeric(value: impl Fn(f64) -> f64) -> impl FnMut(&mut Draw) -> (bool, bool) {
    move |draw| {
        let (mut one, mut two, mut ever, mut naive) =
            (Numeric::default(), Numeric::default(), false, false);
        for _ in 0..PAIRS {
            one.record(value(draw.normal())).unwrap();
            two.record(value(draw.normal())).unwrap();
            let evidence = Numeric::log_evidence(&one, &two, 0.0, Settings::EXPERIMENT);
            ever = ever || evidence >= -ALPHA.ln();
            naive = naive || z_test(&one, &two);
        }
        (ever, naive)
    }
}

#[test]
fn peeking_does_not_raise_false_alarms() {
    check("binary 0.1, exact", binary(0.1, Guarantee::Exact));
    check("binary 0.1, combined", binary(0.1, Guarantee::Combined));
    check("binary 0.5, combined", binary(0.5, Guarantee::Combined));
    check("normal", numeric(|z| z));
    check("latency, log-normal", numeric(|z| (6.0 + z).exp().ln_1p()));
}
