//! Measures what peeking does: false alarms and power of the sequential tests beside a z-test.
//!
//! `cargo run --release --example peeking -- [runs] [pairs] [words]`, 10000 and 5000 unless told;
//! only the rows with these words, all unless told. One look after each pair of observations; the
//! seeds are fixed.

use headwater_prompts::sequential::{
    Binary, Bounded, Decision, Guarantee, Guard, Health, Limits, Numeric, Outcome, Range, Settings,
    ValueError, Watched,
};

const ALPHA: f64 = 0.05;
/// Two-sided 5 % point of the normal law.
const Z: f64 = 1.959_964;
const SCORES: Range = Range { min: 0.0, max: 1.0 };

/// SplitMix64.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / 9_007_199_254_740_992.0
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// One kind of data, with the two arms' laws.
#[derive(Clone, Copy)]
enum Law {
    Binary(f64, f64),
    Normal(f64),
    Lognormal(f64),
    LognormalRaw(f64),
    Rating(f64),
    /// Nine observations of the control for one of the variant.
    BinaryNine(f64),
    LognormalNine,
}

/// Which methods have decided, and after how many pairs.
#[derive(Default, Clone, Copy)]
struct Firsts {
    exact: Option<u64>,
    combined: Option<u64>,
    numeric: Option<u64>,
    bounded: Option<u64>,
    naive: Option<u64>,
    last_naive: bool,
}

fn note(first: &mut Option<u64>, pair: u64, decided: bool) {
    if decided && first.is_none() {
        *first = Some(pair);
    }
}

/// The laws above only draw values that the summaries take; anything else is shown.
fn take(result: Result<(), ValueError>) {
    if let Err(error) = result {
        eprintln!("{error}");
    }
}

fn z_test(one: &Numeric, two: &Numeric) -> bool {
    let square = one.variance() / one.count as f64 + two.variance() / two.count as f64;
    one.count >= 30 && square > 0.0 && (two.mean - one.mean).abs() / square.sqrt() > Z
}

fn as_numeric(arm: &Binary) -> Numeric {
    let rate = arm.rate();
    Numeric { count: arm.count, mean: rate, m2: arm.count as f64 * rate * (1.0 - rate) }
}

fn run_binary(draw: &mut Draw, rates: (f64, f64), ratio: u64, pairs: u64, stop: bool) -> Firsts {
    let (mut one, mut two, mut firsts) = (Binary::default(), Binary::default(), Firsts::default());
    for pair in 1..=pairs {
        for _ in 0..ratio {
            one.record(draw.unit() < rates.0);
        }
        two.record(draw.unit() < rates.1);
        if firsts.exact.is_none() {
            let p = Binary::p_value(&one, &two, Guarantee::Exact);
            note(&mut firsts.exact, pair, p <= ALPHA);
        }
        if firsts.combined.is_none() {
            let p = Binary::p_value(&one, &two, Guarantee::Combined);
            note(&mut firsts.combined, pair, p <= ALPHA);
        }
        if stop && firsts.exact.is_some() && firsts.combined.is_some() {
            break;
        }
        if firsts.naive.is_none() || pair == pairs {
            let naive = z_test(&as_numeric(&one), &as_numeric(&two));
            note(&mut firsts.naive, pair, naive);
            firsts.last_naive = naive;
        }
    }
    firsts
}

fn run_numeric(draw: &mut Draw, law: Law, ratio: u64, pairs: u64, stop: bool) -> Firsts {
    let (mut one, mut two, mut firsts) =
        (Numeric::default(), Numeric::default(), Firsts::default());
    let (mut low, mut high) = (Bounded::default(), Bounded::default());
    let raw = matches!(law, Law::LognormalRaw(_));
    let settings = if raw { Settings::HEAVY_TAIL } else { Settings::EXPERIMENT };
    for pair in 1..=pairs {
        let (x, y) = match law {
            Law::Normal(shift) => (draw.normal(), draw.normal() + shift),
            Law::Lognormal(shift) | Law::LognormalRaw(shift) => {
                let one = (6.0 + draw.normal()).exp();
                (one, (6.0 + shift + draw.normal()).exp())
            }
            Law::Rating(shift) => (draw.unit() * 0.9, draw.unit() * 0.9 + shift),
            Law::Binary(..) | Law::BinaryNine(_) | Law::LognormalNine => return firsts,
        };
        for _ in 1..ratio {
            // The unequal split is measured without a difference: one law serves both arms.
            take(one.record((6.0 + draw.normal()).exp()));
        }
        if matches!(law, Law::Lognormal(_)) {
            take(one.record_logarithm(x));
            take(two.record_logarithm(y));
        } else {
            take(one.record(x));
            take(two.record(y));
        }
        if matches!(law, Law::Rating(_)) {
            take(low.record(x, SCORES));
            take(high.record(y, SCORES));
            if firsts.bounded.is_none() {
                let decision = Bounded::compare(&low, &high, ALPHA, SCORES).decision;
                note(&mut firsts.bounded, pair, decision != Decision::Undecided);
            }
        }
        if firsts.numeric.is_none() {
            let evidence = Numeric::log_evidence(&one, &two, 0.0, settings);
            note(&mut firsts.numeric, pair, evidence >= -ALPHA.ln());
        }
        let done = !matches!(law, Law::Rating(_)) || firsts.bounded.is_some();
        if stop && firsts.numeric.is_some() && done {
            break;
        }
        let naive = z_test(&one, &two);
        note(&mut firsts.naive, pair, naive);
        firsts.last_naive = naive;
    }
    firsts
}

fn run(draw: &mut Draw, law: Law, pairs: u64, stop: bool) -> Firsts {
    match law {
        Law::Binary(one, two) => run_binary(draw, (one, two), 1, pairs, stop),
        Law::BinaryNine(rate) => run_binary(draw, (rate, rate), 9, pairs, stop),
        Law::LognormalNine => run_numeric(draw, Law::LognormalRaw(0.0), 9, pairs, stop),
        _ => run_numeric(draw, law, 1, pairs, stop),
    }
}

fn share(found: usize, runs: usize) -> String {
    let rate = found as f64 / runs as f64;
    let error = Z * (rate * (1.0 - rate) / runs as f64).sqrt();
    format!("{:6.2} +-{:4.2} %", rate * 100.0, error * 100.0)
}

fn cell(all: &[Firsts], of: impl Fn(&Firsts) -> Option<u64>, measured: bool) -> String {
    if !measured {
        return format!("{:>16}", "-");
    }
    format!("{:>16}", share(all.iter().filter(|one| of(one).is_some()).count(), all.len()))
}

fn false_alarms(runs: usize, pairs: u64, words: &str) {
    println!("A/A, {runs} runs of {pairs} pairs, a look after each pair, alpha 5 %: ever rejected");
    println!(
        "{:24}{:>16}{:>16}{:>16}{:>16}{:>16}{:>16}",
        "data", "exact", "combined", "asymptotic", "bounded", "z at each look", "z at the end"
    );
    let laws = [
        ("binary 0.5", Law::Binary(0.5, 0.5)),
        ("binary 0.1", Law::Binary(0.1, 0.1)),
        ("binary 0.01", Law::Binary(0.01, 0.01)),
        ("normal", Law::Normal(0.0)),
        ("log-normal, logarithm", Law::Lognormal(0.0)),
        ("log-normal, as it is", Law::LognormalRaw(0.0)),
        ("rating in [0, 0.9]", Law::Rating(0.0)),
        ("binary 0.02, split 9:1", Law::BinaryNine(0.02)),
        ("log-normal raw, 9:1", Law::LognormalNine),
    ];
    for (index, (name, law)) in laws.into_iter().enumerate() {
        if !name.contains(words) {
            continue;
        }
        let all: Vec<Firsts> = (0..runs)
            .map(|seed| run(&mut Draw((index * 1_000_003 + seed) as u64), law, pairs, false))
            .collect();
        let binary = matches!(law, Law::Binary(..) | Law::BinaryNine(_));
        println!(
            "{name:24}{}{}{}{}{}{:>16}",
            cell(&all, |one| one.exact, binary),
            cell(&all, |one| one.combined, binary),
            cell(&all, |one| one.numeric, !binary),
            cell(&all, |one| one.bounded, matches!(law, Law::Rating(_))),
            cell(&all, |one| one.naive, true),
            share(all.iter().filter(|one| one.last_naive).count(), runs),
        );
    }
}

/// Detected share, then mean and median pairs to detection (the cap for those not detected).
fn detection(all: &[Firsts], of: impl Fn(&Firsts) -> Option<u64>, cap: u64) -> String {
    let mut times: Vec<u64> = all.iter().map(|one| of(one).unwrap_or(cap)).collect();
    times.sort_unstable();
    let found = all.iter().filter(|one| of(one).is_some()).count();
    let mean = times.iter().sum::<u64>() as f64 / times.len() as f64;
    let median = times.get(times.len() / 2).copied().unwrap_or(cap);
    format!("{:5.1} % {mean:7.0} {median:6}", found as f64 * 100.0 / all.len() as f64)
}

fn power(runs: usize, words: &str) {
    let cap = 20_000;
    println!(
        "\nPower, {runs} runs of up to {cap} pairs: found, mean and median pairs to detection"
    );
    println!(
        "{:28}{:>14}{:>24}{:>24}",
        "difference", "z, fixed 80 %", "exact or bounded", "combined or asymptotic"
    );
    let laws = [
        ("binary 0.10 -> 0.11", Law::Binary(0.10, 0.11), 0.0),
        ("binary 0.10 -> 0.12", Law::Binary(0.10, 0.12), 0.0),
        ("binary 0.10 -> 0.15", Law::Binary(0.10, 0.15), 0.0),
        ("binary 0.50 -> 0.55", Law::Binary(0.50, 0.55), 0.0),
        ("binary 0.01 -> 0.02", Law::Binary(0.01, 0.02), 0.0),
        ("binary 0.01 -> 0.30", Law::Binary(0.01, 0.30), 0.0),
        ("normal, 0.1 deviations", Law::Normal(0.1), 0.1),
        ("normal, 0.2 deviations", Law::Normal(0.2), 0.2),
        ("normal, 0.5 deviations", Law::Normal(0.5), 0.5),
        ("latency +10 %", Law::Lognormal(0.095_31), 0.095_31),
        ("rating +0.05", Law::Rating(0.05), 0.05 / (0.9 / 12.0_f64.sqrt())),
    ];
    for (index, (name, law, deviations)) in laws.into_iter().enumerate() {
        if !name.contains(words) {
            continue;
        }
        let all: Vec<Firsts> = (0..runs)
            .map(|seed| run(&mut Draw((index * 7_000_003 + seed) as u64), law, cap, true))
            .collect();
        let square = match law {
            Law::Binary(a, b) => (a * (1.0 - a) + b * (1.0 - b)) / ((a - b) * (a - b)),
            _ => 2.0 / (deviations * deviations),
        };
        let fixed = (Z + 0.841_621) * (Z + 0.841_621) * square;
        let exact = match law {
            Law::Binary(..) => detection(&all, |one| one.exact, cap),
            Law::Rating(_) => detection(&all, |one| one.bounded, cap),
            _ => "-".to_owned(),
        };
        let other = match law {
            Law::Binary(..) => detection(&all, |one| one.combined, cap),
            _ => detection(&all, |one| one.numeric, cap),
        };
        println!("{name:28}{fixed:>14.0}{exact:>24}{other:>24}");
    }
}

fn outcome(draw: &mut Draw, error_rate: f64, latency: f64, score: f64, cost: f64) -> Outcome {
    Outcome {
        failed: draw.unit() < error_rate,
        latency_ms: Some((6.0 + latency + 0.8 * draw.normal()).exp()),
        judge_score: Some((draw.unit() * 0.4 + 0.6 + score).clamp(0.0, 1.0)),
        cost_microdollars: Some((7.0 + cost + 0.5 * draw.normal()).exp()),
    }
}

/// What the new version does: error rate, shifts of log latency, of the score, of log cost.
type Change = (f64, f64, f64, f64);

fn watch(draw: &mut Draw, guard: &Guard, history: u64, change: Change, requests: u64) -> (u8, u64) {
    let (mut old, mut new) = (Watched::default(), Watched::default());
    for _ in 0..history {
        old.record(&outcome(draw, 0.01, 0.0, 0.0, 0.0));
    }
    let mut healthy = false;
    for request in 1..=requests {
        if history == 0 {
            old.record(&outcome(draw, 0.01, 0.0, 0.0, 0.0));
        }
        new.record(&outcome(draw, change.0, change.1, change.2, change.3));
        match guard.look(&old, &new) {
            Health::Worse { .. } => return (2, request),
            Health::Healthy => healthy = true,
            Health::Undecided => {}
        }
    }
    (u8::from(healthy), requests)
}

fn guard(runs: usize, words: &str) {
    let requests = 600;
    let strict = Guard {
        margins: Limits {
            error_rate: 0.0,
            latency_ratio: 1.0,
            judge_score: 0.0,
            bad_answers: 0.0,
            cost_ratio: 1.0,
        },
        ..Guard::default()
    };
    let strict_5 = Guard { alpha: 0.05, ..strict };
    println!("\nGuard, {runs} runs, a look after each request up to {requests} on the new version");
    println!(
        "{:46}{:>8}{:>18}{:>10}{:>8}{:>8}{:>8}",
        "case", "history", "worse", "healthy", "median", "p90", "p99"
    );
    let none = (0.01, 0.0, 0.0, 0.0);
    let cases: [(&str, Guard, u64, Change); 10] = [
        ("A/A, default margins, alpha 1 %", Guard::default(), 0, none),
        ("A/A, no margins, alpha 1 %", strict, 0, none),
        ("A/A, no margins, alpha 5 %", strict_5, 0, none),
        ("A/A, no margins, alpha 5 %", strict_5, 1000, none),
        ("errors 1 % -> 30 %, default", Guard::default(), 0, (0.30, 0.0, 0.0, 0.0)),
        ("errors 1 % -> 30 %, default", Guard::default(), 1000, (0.30, 0.0, 0.0, 0.0)),
        ("errors 1 % -> 5 %, default", Guard::default(), 1000, (0.05, 0.0, 0.0, 0.0)),
        ("latency doubles, default", Guard::default(), 1000, (0.01, 0.693, 0.0, 0.0)),
        ("score falls by 0.1, default", Guard::default(), 1000, (0.01, 0.0, -0.1, 0.0)),
        ("cost +50 %, default", Guard::default(), 1000, (0.01, 0.0, 0.0, 0.405)),
    ];
    for (index, (name, guard, history, change)) in cases.into_iter().enumerate() {
        if !name.contains(words) {
            continue;
        }
        let all: Vec<(u8, u64)> = (0..runs)
            .map(|seed| {
                let mut draw = Draw((index * 3_000_017 + seed) as u64);
                watch(&mut draw, &guard, history, change, requests)
            })
            .collect();
        let worse = all.iter().filter(|one| one.0 == 2).count();
        let healthy = all.iter().filter(|one| one.0 == 1).count();
        let mut times: Vec<u64> = all.iter().map(|one| one.1).collect();
        times.sort_unstable();
        let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or(requests);
        println!(
            "{name:46}{history:>8}{:>18}{:>8.1} %{:>8}{:>8}{:>8}",
            share(worse, runs),
            healthy as f64 * 100.0 / runs as f64,
            at(50),
            at(90),
            at(99)
        );
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, usual: usize| {
        arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(usual)
    };
    let runs = number(0, 10_000);
    let words = arguments.get(2).map_or("", String::as_str);
    false_alarms(runs, number(1, 5_000) as u64, words);
    power((runs / 10).max(10), words);
    guard(runs, words);
}
