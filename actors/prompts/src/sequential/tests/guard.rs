//! Tests of the guard: what it finds, what it leaves alone, and how often it errs.

use super::super::{Guard, Health, Limits, Metric, Outcome, Watched};
use super::peeking::Draw;

/// What a version does: error rate, median latency in milliseconds, score, cost.
#[derive(Clone, Copy)]
struct Version(f64, f64, f64, f64);

const USUAL: Version = Version(0.01, 400.0, 0.8, 1_000.0);

fn outcome(draw: &mut Draw, version: Version) -> Outcome {
    Outcome {
        failed: draw.unit() < version.0,
        latency_ms: Some(version.1 * (0.5 * draw.normal()).exp()),
        judge_score: Some(version.2 + 0.2 * (draw.unit() - 0.5)),
        cost_microdollars: Some(version.3 * (0.3 * draw.normal()).exp()),
    }
}

fn collect(draw: &mut Draw, version: Version, requests: u64) -> Watched {
    let mut watched = Watched::default();
    for _ in 0..requests {
        watched.record(&outcome(draw, version));
    }
    watched
}

/// Which metric the guard blames, and after how many requests of the new version.
fn first_alarm(guard: &Guard, seed: u64, new: Version) -> Option<(Metric, u64)> {
    let mut draw = Draw(seed);
    let old = collect(&mut draw, USUAL, 500);
    let mut watched = Watched::default();
    (1..=300).find_map(|request| {
        watched.record(&outcome(&mut draw, new));
        match guard.look(&old, &watched) {
            Health::Worse { metric, evidence } => {
                assert!(evidence.log_evidence >= evidence.threshold, "{evidence:?}");
                Some((metric, request))
            }
            Health::Healthy | Health::Undecided => None,
        }
    })
}

#[test]
fn finds_what_became_worse_within_a_few_dozen_requests() {
    let check = |new: Version, metric: Metric, within: u64| {
        for seed in 0..20 {
            let (blamed, request) = first_alarm(&Guard::default(), seed, new).unwrap();
            assert_eq!(blamed, metric, "seed {seed}");
            assert!(request <= within, "seed {seed}: {metric:?} after {request}");
        }
    };
    check(Version(0.30, 400.0, 0.8, 1_000.0), Metric::ErrorRate, 100);
    check(Version(0.01, 800.0, 0.8, 1_000.0), Metric::Latency, 60);
    check(Version(0.01, 400.0, 0.6, 1_000.0), Metric::JudgeScore, 60);
    check(Version(0.01, 400.0, 0.8, 2_000.0), Metric::Cost, 60);
}

#[test]
fn leaves_an_equal_version_alone() {
    // Margins of nothing: the hardest true null. 300 runs, at most 5 % and three errors.
    let margins = Limits {
        error_rate: 0.0,
        latency_ratio: 1.0,
        judge_score: 0.0,
        bad_answers: 0.0,
        cost_ratio: 1.0,
    };
    let guard = Guard { alpha: 0.05, margins, ..Guard::default() };
    let alarms = (0..300).filter(|seed| first_alarm(&guard, *seed, USUAL).is_some()).count();
    assert!(alarms as f64 / 300.0 <= 0.05 + 0.038, "{alarms} of 300");
}

#[test]
fn says_healthy_worse_or_undecided() {
    let mut draw = Draw(7);
    let old = collect(&mut draw, USUAL, 2_000);
    let check = |name: &str, old: &Watched, new: &Watched, expected: &str| {
        let health = Guard::default().look(old, new);
        assert!(format!("{health:?}").starts_with(expected), "{name}: {health:?}");
    };
    let mut of = |version: Version, requests: u64| collect(&mut draw, version, requests);
    check("nothing seen", &old, &Watched::default(), "Undecided");
    check("below the minimum", &old, &of(Version(1.0, 400.0, 0.8, 1e3), 9), "Undecided");
    check("every request fails", &old, &of(Version(1.0, 400.0, 0.8, 1e3), 10), "Worse");
    check("few good requests", &old, &of(USUAL, 30), "Undecided");
    check("many good requests", &old, &of(USUAL, 1_000), "Healthy");
    check("cheaper and faster", &old, &of(Version(0.0, 200.0, 0.9, 500.0), 1_000), "Healthy");
    check("slightly slower", &old, &of(Version(0.01, 420.0, 0.8, 1e3), 1_000), "Healthy");
    check("twice as slow", &old, &of(Version(0.01, 800.0, 0.8, 1e3), 1_000), "Worse");
    // A metric that only the old version has cannot be called fine; one nobody has can.
    let mut blind = of(USUAL, 1_000);
    blind.judge_score = super::super::Numeric::default();
    blind.bad = super::super::Binary::default();
    check("scores missing on one side", &old, &blind, "Undecided");
    let unjudged = Watched { judge_score: blind.judge_score, bad: blind.bad, ..old };
    check("scores missing on both", &unjudged, &blind, "Healthy");
}

#[test]
fn merges_and_skips_broken_measurements() {
    let mut draw = Draw(3);
    let (one, two) = (collect(&mut draw, USUAL, 50), collect(&mut draw, USUAL, 70));
    let merged = one.merge(two);
    assert_eq!((merged.errors.count, merged.latency.count, merged.cost.count), (120, 120, 120));
    let mut broken = Watched::default();
    broken.record(&Outcome {
        failed: true,
        latency_ms: Some(f64::NAN),
        judge_score: Some(f64::INFINITY),
        cost_microdollars: Some(-1.0),
    });
    let expected = Watched { errors: broken.errors, ..Watched::default() };
    assert_eq!(broken, expected);
    assert_eq!((broken.errors.count, broken.errors.successes), (1, 1));
}

/// A judge that says 1 once in twenty: the first forty scores of a new version are often all 0,
/// which must not look like certainty beside an old version with a long history.
#[test]
fn rare_scores_of_a_young_version_are_no_alarm() {
    let judged = |draw: &mut Draw, watched: &mut Watched| {
        let judge_score = Some(f64::from(u8::from(draw.unit() < 0.05)));
        watched.record(&Outcome { judge_score, ..Outcome::default() });
    };
    let check = |history: u64, allowed: u64| {
        let mut alarms = 0;
        for seed in 0..200 {
            let (mut draw, mut old, mut new) = (Draw(seed), Watched::default(), Watched::default());
            (0..history).for_each(|_| judged(&mut draw, &mut old));
            let guard = Guard { alpha: 0.05, ..Guard::default() };
            let alarm = (0..150).any(|_| {
                judged(&mut draw, &mut new);
                matches!(guard.look(&old, &new), Health::Worse { .. })
            });
            alarms += u64::from(alarm);
        }
        assert!(alarms <= allowed, "history {history}: {alarms} of 200");
    };
    check(1_000, 7);
    check(60, 7);
}

/// Scores that are all alike have no spread: the share of bad answers tells them apart.
#[test]
fn answers_that_a_judge_finds_bad_are_found_by_their_share() {
    let judged = |score: f64, answers: u64| {
        let mut watched = Watched::default();
        for _ in 0..answers {
            watched.record(&Outcome { judge_score: Some(score), ..Outcome::default() });
        }
        // Users get many more answers than a judge reads.
        (0..200).for_each(|_| watched.record(&Outcome::default()));
        watched
    };
    let check = |old: &Watched, new: &Watched, expected: Option<Metric>| {
        let found = match Guard::default().look(old, new) {
            Health::Worse { metric, .. } => Some(metric),
            Health::Healthy | Health::Undecided => None,
        };
        assert_eq!(found, expected, "{:?} against {:?}", new.bad, old.bad);
    };
    check(&judged(1.0, 30), &judged(0.0, 30), Some(Metric::BadAnswers));
    check(&judged(1.0, 30), &judged(1.0, 30), None);
    check(&judged(0.0, 30), &judged(1.0, 30), None);
    // Too few of either version to say anything.
    check(&judged(1.0, 9), &judged(0.0, 300), None);
    check(&judged(1.0, 300), &judged(0.0, 9), None);
    // Good answers that become less good without being bad.
    let mut draw = Draw(5);
    let mut spread = |middle: f64| {
        let mut watched = Watched::default();
        for _ in 0..100 {
            let score = Some(middle + 0.2 * (draw.unit() - 0.5));
            watched.record(&Outcome { judge_score: score, ..Outcome::default() });
        }
        watched
    };
    let (good, less) = (spread(0.9), spread(0.7));
    check(&good, &less, Some(Metric::JudgeScore));
    check(&less, &good, None);
}
