//! Judge drift: whether a golden set's new judge says of answers that were judged before, its
//! anchors, what the judge before it said. A score means something only beside scores of the same
//! measure.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::agreement::{Agreement, GOOD, Verdicts};
use crate::golden::Case;
use crate::judge::Judge;

/// Answers without which a judge is not compared.
pub const ANCHORS: u64 = 10;
/// Most answers that one check judges.
pub const MOST_ANCHORS: usize = 200;
/// The mean may be off by so much.
const DIFFERENCE: f64 = 0.05;
/// The share of answers that may be good for one and bad for the other.
const FLIPS: f64 = 0.1;
/// Kappa that surely is not below this is close enough.
const KAPPA: f64 = 0.6;

/// What of the judging has changed between two versions of a set: in cases of the same id, and new
/// measures in the place of others of their kind. A new case brings a judge of its own, which
/// changes nobody else's score.
pub fn judge_changes(before: &[Case], after: &[Case]) -> Vec<String> {
    let mut changes: Vec<String> = after
        .iter()
        .filter(|case| before.iter().any(|old| old.id == case.id && !old.is_judged_as(case)))
        .map(|case| format!("the judge of the case '{}'", case.id))
        .collect();
    let new: BTreeSet<String> =
        new_measures(before, after).map(|judge| format!("the judge {}", judge.name())).collect();
    changes.extend(new);
    changes
}

/// Judges that measure, and that no case had before although some had one of the kind.
fn new_measures<'a>(before: &'a [Case], after: &'a [Case]) -> impl Iterator<Item = &'a Judge> {
    let is_new = |case: &&Case| {
        let judge = &case.judge;
        judge.measures()
            && !before.iter().any(|old| old.judge == *judge)
            && before.iter().any(|old| old.judge.is_kind_of(judge))
            && !before.iter().any(|old| old.id == case.id)
    };
    after.iter().filter(is_new).map(|case| &case.judge)
}

/// How a case's answers are judged now, where that is not as it was.
pub fn judged_now(old: &Case, before: &[Case], after: &[Case]) -> Option<(Judge, String)> {
    match after.iter().find(|case| case.id == old.id) {
        Some(case) if case.is_judged_as(old) => None,
        Some(case) => Some((case.judge.clone(), case.rubric.clone())),
        None => {
            let judge = new_measures(before, after).find(|judge| judge.is_kind_of(&old.judge))?;
            Some((judge.clone(), old.rubric.clone()))
        }
    }
}

/// An answer that both judges judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rescored {
    pub eval: u64,
    pub case: String,
    pub old: f64,
    pub new: f64,
}

impl Rescored {
    /// Whether it is good for one and bad for the other.
    pub fn is_flipped(&self) -> bool {
        (self.old >= GOOD) != (self.new >= GOOD)
    }
}

/// How far two judges are apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    pub old_mean: f64,
    pub new_mean: f64,
    /// New minus old.
    pub difference: f64,
    /// Answers that are good for one and bad for the other.
    pub flips: u64,
    pub agreement: Agreement,
}

impl Drift {
    /// None without answers.
    pub fn of(rescored: &[Rescored]) -> Option<Drift> {
        let mut verdicts = Verdicts::default();
        let (mut old, mut new) = (0.0, 0.0);
        for one in rescored {
            verdicts.count(one.old >= GOOD, one.new >= GOOD);
            (old, new) = (old + one.old, new + one.new);
        }
        let agreement = verdicts.agreement()?;
        let count = agreement.count as f64;
        let (old_mean, new_mean) = (old / count, new / count);
        let difference = new_mean - old_mean;
        Some(Drift { old_mean, new_mean, difference, flips: verdicts.apart(), agreement })
    }

    /// The share of answers that are good for one and bad for the other.
    pub fn flip_share(&self) -> f64 {
        self.flips as f64 / self.agreement.count.max(1) as f64
    }

    /// Why the new judge must not decide in the place of the old one; nothing when it may.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let count = self.agreement.count;
        if count < ANCHORS {
            problems.push(format!("it judged {count} answers of at least {ANCHORS}"));
        }
        if self.difference.abs() > DIFFERENCE {
            let Drift { old_mean, new_mean, .. } = self;
            problems.push(format!(
                "its mean is {new_mean:.3} against {old_mean:.3}, more than {DIFFERENCE} apart"
            ));
        }
        if self.flip_share() > FLIPS {
            let flips = self.flips;
            problems.push(format!(
                "{flips} of {count} verdicts flipped, more than {:.0} %",
                FLIPS * 100.0
            ));
        }
        if let Some(kappa) = self.agreement.kappa
            && kappa.upper < KAPPA
        {
            problems.push(format!(
                "kappa is {:.2} ({:.2} to {:.2}), surely below {KAPPA}",
                kappa.estimate, kappa.lower, kappa.upper
            ));
        }
        problems
    }
}
