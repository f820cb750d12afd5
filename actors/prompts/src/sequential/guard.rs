//! The guard after a promotion: is the new version worse than the old one on any metric?

use super::{Binary, Numeric, Settings, threshold};
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
    /// Cost of a request in millionths of a dollar; higher is worse.
    Cost,
}

/// All metrics, in the order in which they are reported.
const METRICS: [Metric; 4] = [Metric::ErrorRate, Metric::Latency, Metric::JudgeScore, Metric::Cost];

/// What one request showed; what was not measured is left out.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Outcome {
    /// Whether the request failed.
    pub failed: bool,
    /// Time to answer in milliseconds.
    pub latency_ms: Option<f64>,
    /// Score of the judge, in the judge's unit.
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
    /// Fall of the mean judge score, in the judge's unit.
    pub judge_score: f64,
    /// Ratio of new to old cost (geometric means).
    pub cost_ratio: f64,
}

/// The guard's settings.
///
/// # False alarms
///
/// While the new version is worse by no more than `margins` on every metric, the chance that the
/// guard *ever* says [`Health::Worse`], at any of any number of looks, is at most `alpha`: each
/// metric is tested at `alpha / 4` and the four chances add up (union bound). For the error rate
/// the bound is exact; for the other three it holds in the limit of many requests, and a burn-in
/// of 40 requests per version keeps the earliest looks out. It also holds that a version worse
/// than `limits` on some metric is ever called [`Health::Healthy`] with chance at most `alpha`:
/// every metric must pass at `alpha`, so the worst one alone would have to fail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guard {
    /// Chance of a false alarm over the whole watch, 0 to 1.
    pub alpha: f64,
    /// Requests each version needs before any decision.
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
                cost_ratio: 1.1,
            },
            limits: Limits {
                error_rate: 0.05,
                latency_ratio: 1.5,
                judge_score: 0.1,
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
    /// The value it had to reach, `ln(4 / alpha)`.
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
        if let Some(score) = outcome.judge_score {
            let _skipped = self.judge_score.record(score);
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
            cost: self.cost.merge(other.cost),
        }
    }

    /// The numbers of a metric other than the error rate, with the mean in its own unit.
    fn numeric(&self, metric: Metric) -> Option<&Numeric> {
        match metric {
            Metric::ErrorRate => None,
            Metric::Latency => Some(&self.latency),
            Metric::JudgeScore => Some(&self.judge_score),
            Metric::Cost => Some(&self.cost),
        }
    }

    fn mean(&self, metric: Metric) -> f64 {
        match metric {
            Metric::ErrorRate => self.errors.rate(),
            Metric::Latency => self.latency.mean.exp_m1(),
            Metric::JudgeScore => self.judge_score.mean,
            Metric::Cost => self.cost.mean.exp_m1(),
        }
    }

    fn count(&self, metric: Metric) -> u64 {
        self.numeric(metric).map_or(self.errors.count, |numbers| numbers.count)
    }
}

impl Limits {
    /// The bound on "new minus old", on the scale the summaries keep.
    fn on_scale(&self, metric: Metric) -> f64 {
        match metric {
            Metric::ErrorRate => self.error_rate,
            Metric::Latency => self.latency_ratio.ln(),
            Metric::JudgeScore => -self.judge_score,
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
        match (old.numeric(metric), new.numeric(metric)) {
            (Some(old), Some(new)) if metric == Metric::JudgeScore => {
                Numeric::log_evidence_below(old, new, margin, Settings::GUARD)
            }
            (Some(old), Some(new)) => {
                Numeric::log_evidence_above(old, new, margin, Settings::GUARD)
            }
            _ => Binary::log_evidence_above(&old.errors, &new.errors, margin),
        }
    }

    /// Whether "worse by the limit or more" is refuted; a metric nobody measures passes.
    fn passes(&self, metric: Metric, old: &Watched, new: &Watched) -> bool {
        if old.count(metric) == 0 && new.count(metric) == 0 {
            return true;
        }
        let limit = self.limits.on_scale(metric);
        let evidence = match (old.numeric(metric), new.numeric(metric)) {
            (Some(old), Some(new)) if metric == Metric::JudgeScore => {
                Numeric::log_evidence_above(old, new, limit, Settings::GUARD)
            }
            (Some(old), Some(new)) => Numeric::log_evidence_below(old, new, limit, Settings::GUARD),
            _ => Binary::log_evidence_below(&old.errors, &new.errors, limit),
        };
        evidence >= threshold(self.alpha)
    }
}
