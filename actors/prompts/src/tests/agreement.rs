//! Agreement of two raters, against numbers of statsmodels 0.14 (`cohens_kappa`,
//! `proportion_confint`).

use crate::{Interval, Label, Verdict, Verdicts, agreements};

/// Both good, the first only, the second only, both bad.
fn of(counts: [u64; 4]) -> Verdicts {
    let [both_good, first_good, second_good, both_bad] = counts;
    Verdicts { both_good, first_good, second_good, both_bad }
}

#[test]
fn kappa_is_that_of_the_reference() {
    // Kappa and its interval for many answers.
    let cases = [
        ([20, 5, 10, 15], 0.4, 0.151_092_290_5, 0.648_907_709_5),
        ([45, 15, 25, 15], 0.130_434_782_6, -0.062_938_277_8, 0.323_807_843_0),
        ([25, 35, 5, 35], 0.259_259_259_3, 0.108_028_964_0, 0.410_489_554_5),
    ];
    for (counts, kappa, lower, upper) in cases {
        let found = of(counts).agreement().unwrap().kappa.unwrap();
        assert!((found.estimate - kappa).abs() < 1e-9, "{counts:?}: {found:?}");
        // Never narrower than the reference, and not by much wider.
        assert!(found.lower <= lower + 1e-9 && found.lower > lower - 0.12, "{counts:?}: {found:?}");
        assert!(found.upper >= upper - 1e-9 && found.upper < upper + 0.12, "{counts:?}: {found:?}");
    }
}

#[test]
fn what_few_answers_say_is_not_overstated() {
    // The interval of the reference has no width here.
    let all_alike = of([40, 0, 0, 10]).agreement().unwrap().kappa.unwrap();
    assert_eq!((all_alike.estimate, all_alike.upper), (1.0, 1.0));
    assert!(all_alike.lower > 0.7 && all_alike.lower < 0.8, "{all_alike:?}");
    let skewed = of([39, 1, 0, 0]).agreement().unwrap().kappa.unwrap();
    assert!(skewed.estimate.abs() < 1e-9 && skewed.upper > 0.6, "{skewed:?}");
    // Chance agrees as well as they do.
    assert_eq!(of([12, 0, 0, 0]).agreement().unwrap().kappa, None);
    assert_eq!(of([0; 4]).agreement(), None);
}

#[test]
fn shares_have_wilsons_interval() {
    let cases = [
        (35.0 / 50.0, 50, Some((0.562_496_495_4, 0.808_964_464_9))),
        (13.0 / 20.0, 20, Some((0.432_854_276_7, 0.818_808_175_9))),
        (0.0, 10, Some((0.0, 0.277_532_799_9))),
        (1.0, 50, Some((0.928_652_400_9, 1.0))),
        (0.0, 0, None),
    ];
    for (share, count, expected) in cases {
        let found = Interval::of_share(share, count);
        assert_eq!(found.is_some(), expected.is_some(), "{share} of {count}");
        if let (Some(found), Some((lower, upper))) = (found, expected) {
            assert!((found.lower - lower).abs() < 1e-9, "{share} of {count}: {found:?}");
            assert!((found.upper - upper).abs() < 1e-9, "{share} of {count}: {found:?}");
        }
    }
}

#[test]
fn each_judge_is_held_against_people() {
    let label = |judge: &str, verdict, score| Label {
        eval: 1,
        case: "a".to_owned(),
        verdict,
        note: String::new(),
        by: "ann".to_owned(),
        at_ms: 1,
        score,
        judge: judge.to_owned(),
    };
    let (pass, fail) = (Verdict::Pass, Verdict::Fail);
    let labels = [
        label("exact", pass, 1.0),
        label("exact", fail, 0.0),
        label("llm", pass, 0.5),
        label("llm", fail, 0.7),
        label("llm", fail, 0.4),
        label("llm", pass, 0.9),
    ];
    let found = agreements(&labels);
    let shares: Vec<_> =
        found.iter().map(|(judge, one)| (judge.as_str(), one.count, one.plain.estimate)).collect();
    assert_eq!(shares, [("exact", 2, 1.0), ("llm", 4, 0.75)]);
    assert_eq!(found["llm"].kappa.unwrap().estimate, 0.5);
    assert!(Label::check_note(&"x".repeat(1_001)).unwrap_err().to_string().starts_with("note: "));
}
