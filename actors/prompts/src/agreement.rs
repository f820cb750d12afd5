//! How far two raters agree on the same answers, beyond what chance gives: Cohen's kappa.

use serde::{Deserialize, Serialize};

/// A score of at least this says that an answer is good.
pub const GOOD: f64 = 0.5;
/// Of the normal distribution: 95 % lie within so many standard errors.
const Z: f64 = 1.959_963_984_540_054;

/// A number, and where it lies with a confidence of 95 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    pub estimate: f64,
    pub lower: f64,
    pub upper: f64,
}

impl Interval {
    /// Of a share, after Wilson (1927): it holds for few observations and for shares of 0 and 1,
    /// too. A mean of numbers from 0 to 1 has no more spread than a share, so it holds for one as
    /// well. None without observations.
    pub fn of_share(share: f64, count: u64) -> Option<Interval> {
        if count == 0 {
            return None;
        }
        let (count, square) = (count as f64, Z * Z);
        let middle = (share + square / (2.0 * count)) / (1.0 + square / count);
        let spread = share * (1.0 - share) / count + square / (4.0 * count * count);
        let half = Z * spread.max(0.0).sqrt() / (1.0 + square / count);
        let (lower, upper) = ((middle - half).max(0.0), (middle + half).min(1.0));
        Some(Interval { estimate: share, lower: lower.min(share), upper: upper.max(share) })
    }
}

/// What two raters said of the same answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Verdicts {
    pub both_good: u64,
    pub first_good: u64,
    pub second_good: u64,
    pub both_bad: u64,
}

impl Verdicts {
    pub fn count(&mut self, first: bool, second: bool) {
        *match (first, second) {
            (true, true) => &mut self.both_good,
            (true, false) => &mut self.first_good,
            (false, true) => &mut self.second_good,
            (false, false) => &mut self.both_bad,
        } += 1;
    }

    pub fn total(&self) -> u64 {
        let Verdicts { both_good, first_good, second_good, both_bad } = self;
        both_good + first_good + second_good + both_bad
    }

    /// Answers that they see differently.
    pub fn apart(&self) -> u64 {
        self.first_good + self.second_good
    }

    /// None without answers.
    pub fn agreement(&self) -> Option<Agreement> {
        let total = self.total();
        if total == 0 {
            return None;
        }
        let share = 1.0 - self.apart() as f64 / total as f64;
        let plain = Interval::of_share(share, total)?;
        Some(Agreement { count: total, plain, kappa: self.kappa(plain) })
    }

    /// The wider of two intervals: that of Fleiss, Cohen and Everitt (1969) for many answers, and
    /// that of plain agreement, which does not close when nobody ever disagrees.
    fn kappa(&self, plain: Interval) -> Option<Interval> {
        let count = self.total() as f64;
        let part = |number: u64| number as f64 / count;
        let cells = [
            [part(self.both_good), part(self.first_good)],
            [part(self.second_good), part(self.both_bad)],
        ];
        let [[gg, gb], [bg, bb]] = cells;
        let (first, second) = ([gg + gb, bg + bb], [gg + bg, gb + bb]);
        let chance = first[0] * second[0] + first[1] * second[1];
        // Both said the same of everything: there is nothing that chance could explain.
        if 1.0 - chance < 1e-12 {
            return None;
        }
        let beyond = |share: f64| (share - chance) / (1.0 - chance);
        let agreed = gg + bb;
        let same = |cell: f64, place: usize| {
            let both = first[place] + second[place];
            cell * ((1.0 - chance) - both * (1.0 - agreed)).powi(2)
        };
        let other = gb * (second[0] + first[1]).powi(2) + bg * (second[1] + first[0]).powi(2);
        let rest = (agreed * chance - 2.0 * chance + agreed).powi(2);
        let spread = same(gg, 0) + same(bb, 1) + (1.0 - agreed).powi(2) * other - rest;
        let error = (spread.max(0.0) / count).sqrt() / (1.0 - chance).powi(2);
        let estimate = beyond(agreed);
        let lower = (estimate - Z * error).min(beyond(plain.lower)).clamp(-1.0, 1.0);
        let upper = (estimate + Z * error).max(beyond(plain.upper)).clamp(-1.0, 1.0);
        Some(Interval { estimate, lower, upper })
    }
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Answers that both judged.
    pub count: u64,
    /// The share that both see alike.
    pub plain: Interval,
    /// None when both say the same of every answer, so that chance alone would agree, too.
    pub kappa: Option<Interval>,
}
