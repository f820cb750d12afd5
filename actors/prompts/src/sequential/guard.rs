//! The guard after a promotion: is the new version worse than the old one on any metric?

use super::{Binary, Numeric, Settings, threshold};
use crate::agreement::GOOD;
use serde::{Deserialize, Serialize};

/// A metric the guard watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Share of requests that failed; higher is worse.
    ErrorRate,
    /// Time to answer in milliseconds; higher is worse.
    Latency,
    /// Score of the judge, higher is better.
    JudgeScore,
    /// Share of the judged answers whose score is below a half; higher is worse. It tells where
    /// scores are all alike, and have no spread to compare means by.
    BadAnswers,
    /// Cost of a request in millionths of a dollar; higher is worse.
    Cost,
}

/// All metrics, in the order in which they are reported.
const METRICS: [Metric; 5] =
    [Metric::ErrorRate, Metric::Latency, Metric::JudgeScore, Metric::BadAnswers, Metric::Cost];

/// What one request showed; what was not measured is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Outcome {
    /// Whether the request failed.
    pub failed: bool,
    /// Time to answer in milliseconds.
    pub latency_ms: Option<f64>,
    /// Score of the judge, 0 to 1.
    pub judge_score: Option<f64>,
    /// Cost in millionths of a dollar.
    pub cost_microdollars: Option<f64>,
}

/// Summary of one version under watch. Merges across nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    /// Requests, and those that failed.
    pub errors: Binary,
    /// Logarithms of latency, `ln(1 + ms)`.
    pub latency: Numeric,
    /// Scores of the judge.
    pub judge_score: Numeric,
    /// Answers that were judged, and those that were bad.
    #[serde(default)]
    pub bad: Binary,
    /// Logarithms of cost, `ln(1 + microdollars)`.
    pub cost: Numeric,
}

/// How much worse is tolerated, on each metric. Ratios are above 1, the rest above 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Rise of the error rate, 0 to 1.
    pub error_rate: f64,
    /// Ratio of new to old latency (geometric means).
    pub latency_ratio: f64,
    /// Fall of the mean judge score, 0 to 1.
    pub judge_score: f64,
    /// Rise of the share of bad answers, 0 to 1.
    pub bad_answers: f64,
    /// Ratio of new to old cost (geometric means).
    pub cost_ratio: f64,
}

/// The guard's settings.
///
/// # False alarms
///
/// While the new version is worse by no more than `margins` on every metric, the chance that the
/// guard *ever* says [`Health::Worse`], at any of any number of looks, is at most `alpha`: each
/// metric is tested at `alpha / 5` and the five chances add up (union bound). For the error rate
/// and the share of bad answers the bound is exact; for the other three it holds in the limit of many requests, and a burn-in
/// of 40 requests per version keeps the earliest looks out. It also holds that a version worse
/// than `limits` on some metric is ever called [`Health::Healthy`] with chance at most `alpha`:
/// every metric must pass at `alpha`, so the worst one alone would have to fail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guard {
    /// Chance of a false alarm over the whole watch, 0 to 1.
    pub alpha: f64,
    /// Requests each version needs before any decision, and judged answers before one on those.
    pub minimum_count: u64,
    /// Worse by more than this is an alarm.
    pub margins: Limits,
    /// Surely worse by less than this on every metric is healthy; wider than `margins`.
    pub limits: Limits,
}

impl Default for Guard {
    /// 1 % false alarms, 10 requests, any error-rate rise counts; latency and cost by 10 %.
    fn default() -> Self {
        Self {
            alpha: 0.01,
            minimum_count: 10,
            margins: Limits {
                error_rate: 0.0,
                latency_ratio: 1.1,
                judge_score: 0.0,
                bad_answers: 0.0,
                cost_ratio: 1.1,
            },
            limits: Limits {
                error_rate: 0.05,
                latency_ratio: 1.5,
                judge_score: 0.1,
                bad_answers: 0.05,
                cost_ratio: 1.5,
            },
        }
    }
}

/// Why the guard calls a version worse.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// Old mean: a rate, a score, or for latency and cost the geometric mean in their unit.
    pub old: f64,
    /// New mean, in the same unit.
    pub new: f64,
    /// Natural logarithm of the e-value.
    pub log_evidence: f64,
    /// The value it had to reach, `ln(5 / alpha)`.
    pub threshold: f64,
}

/// What the guard says at a look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Health {
    /// On every metric that is measured, surely not worse by as much as the limits.
    Healthy,
    /// Worse by more than the margin: roll back.
    Worse {
        /// The metric with the strongest evidence.
        metric: Metric,
        /// The evidence on it.
        evidence: Evidence,
    },
    /// Not enough evidence either way: keep watching.
    Undecided,
}

impl Watched {
    /// Takes one request. Measurements that are not finite, or negative amounts, are skipped:
    /// a broken clock must not hide the errors it comes with.
    pub fn record(&mut self, outcome: &Outcome) {
        self.errors.record(outcome.failed);
        if let Some(latency_ms) = outcome.latency_ms {
            let _skipped = self.latency.record_logarithm(latency_ms);
        }
        if let Some(score) = outcome.judge_score
            && self.judge_score.record(score).is_ok()
        {
            self.bad.record(score < GOOD);
        }
        if let Some(cost) = outcome.cost_microdollars {
            let _skipped = self.cost.record_logarithm(cost);
        }
    }

    /// Adds the requests of another node.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self {
            errors: self.errors.merge(other.errors),
            latency: self.latency.merge(other.latency),
            judge_score: self.judge_score.merge(other.judge_score),
            bad: self.bad.merge(other.bad),
            cost: self.cost.merge(other.cost),
        }
    }

    fn summary(&self, metric: Metric) -> Summary<'_> {
        match metric {
            Metric::ErrorRate => Summary::Share(&self.errors),
            Metric::Latency => Summary::Mean(&self.latency),
            Metric::JudgeScore => Summary::Mean(&self.judge_score),
            Metric::BadAnswers => Summary::Share(&self.bad),
            Metric::Cost => Summary::Mean(&self.cost),
        }
    }

    fn mean(&self, metric: Metric) -> f64 {
        match metric {
            Metric::ErrorRate => self.errors.rate(),
            Metric::Latency => self.latency.mean.exp_m1(),
            Metric::JudgeScore => self.judge_score.mean,
            Metric::BadAnswers => self.bad.rate(),
            Metric::Cost => self.cost.mean.exp_m1(),
        }
    }

    fn count(&self, metric: Metric) -> u64 {
        match self.summary(metric) {
            Summary::Share(share) => share.count,
            Summary::Mean(numbers) => numbers.count,
        }
    }
}

/// What is kept of a metric.
enum Summary<'a> {
    Share(&'a Binary),
    Mean(&'a Numeric),
}

impl Limits {
    /// The bound on "new minus old", on the scale the summaries keep.
    fn on_scale(&self, metric: Metric) -> f64 {
        match metric {
            Metric::ErrorRate => self.error_rate,
            Metric::Latency => self.latency_ratio.ln(),
            Metric::JudgeScore => -self.judge_score,
            Metric::BadAnswers => self.bad_answers,
            Metric::Cost => self.cost_ratio.ln(),
        }
    }
}

impl Guard {
    /// Judges the new version against the old at this look. May be called at any time, any
    /// number of times; see the type for the bound on false alarms.
    #[must_use]
    pub fn look(&self, old: &Watched, new: &Watched) -> Health {
        if old.errors.count < self.minimum_count || new.errors.count < self.minimum_count {
            return Health::Undecided;
        }
        let limit = threshold(self.alpha / METRICS.len() as f64);
        let worst = METRICS
            .iter()
            .map(|metric| (*metric, self.evidence_worse(*metric, old, new)))
            .max_by(|left, right| left.1.total_cmp(&right.1))
            .filter(|(_, log_evidence)| *log_evidence >= limit);
        if let Some((metric, log_evidence)) = worst {
            let (old, new) = (old.mean(metric), new.mean(metric));
            let evidence = Evidence { old, new, log_evidence, threshold: limit };
            return Health::Worse { metric, evidence };
        }
        if METRICS.iter().all(|metric| self.passes(*metric, old, new)) {
            Health::Healthy
        } else {
            Health::Undecided
        }
    }

    /// Logarithm of the e-value against "worse by at most the margin".
    fn evidence_worse(&self, metric: Metric, old: &Watched, new: &Watched) -> f64 {
        let margin = self.margins.on_scale(metric);
        if old.count(metric).min(new.count(metric)) < self.minimum_count {
            return 0.0;
        }
        match (old.summary(metric), new.summary(metric)) {
            (Summary::Mean(old), Summary::Mean(new)) if metric == Metric::JudgeScore => {
                Numeric::log_evidence_below(old, new, margin, Settings::GUARD)
            }
            (Summary::Mean(old), Summary::Mean(new)) => {
                Numeric::log_evidence_above(old, new, margin, Settings::GUARD)
            }
            (Summary::Share(old), Summary::Share(new)) => {
                Binary::log_evidence_above(old, new, margin)
            }
            _ => 0.0,
        }
    }

    /// Whether "worse by the limit or more" is refuted; a metric nobody measures passes.
    fn passes(&self, metric: Metric, old: &Watched, new: &Watched) -> bool {
        if old.count(metric) == 0 && new.count(metric) == 0 {
            return true;
        }
        let limit = self.limits.on_scale(metric);
        let evidence = match (old.summary(metric), new.summary(metric)) {
            (Summary::Mean(old), Summary::Mean(new)) if metric == Metric::JudgeScore => {
                Numeric::log_evidence_above(old, new, limit, Settings::GUARD)
            }
            (Summary::Mean(old), Summary::Mean(new)) => {
                Numeric::log_evidence_below(old, new, limit, Settings::GUARD)
            }
            (Summary::Share(old), Summary::Share(new)) => {
                Binary::log_evidence_below(old, new, limit)
            }
            _ => 0.0,
        };
        evidence >= threshold(self.alpha)
    }
}
