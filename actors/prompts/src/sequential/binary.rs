//! Yes-or-no goals: an exact test martingale for the difference of two rates.

use super::numeric::{Numeric, Settings};
use super::special::ln_beta;
use super::{Comparison, ValueError, p_value, threshold};
use serde::{Deserialize, Serialize};

/// Both parameters of the beta mixture (Jeffreys' prior, of Krichevsky and Trofimov).
const PRIOR: f64 = 0.5;
/// Halvings of a bisection: enough to reach the last digits of a rate.
const HALVINGS: usize = 60;
/// Yes answers, and no answers, each arm needs before the normal approximation is consulted.
const ASYMPTOTIC_MINIMUM: u64 = 40;

/// Summary of one arm of a yes-or-no goal. Integers, so merging is exact in any order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binary {
    /// Observations.
    pub count: u64,
    /// Observations that were a yes; at most `count`.
    pub successes: u64,
}

/// Which promise [`Binary::compare`] gives about false alarms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// At most alpha at any count, by a test martingale; needs the most observations.
    Exact,
    /// Half of alpha on the exact test, half on the asymptotic confidence sequence once each arm
    /// has 40 yes and 40 no answers: exact for big differences found early, and about half the
    /// observations of `Exact` for small differences found late.
    Combined,
}

impl Binary {
    /// Takes one observation.
    pub fn record(&mut self, success: bool) {
        self.count = self.count.saturating_add(1);
        self.successes = self.successes.saturating_add(u64::from(success));
    }

    /// Takes one observation given as the number 0 or 1.
    ///
    /// # Errors
    /// [`ValueError::NotBinary`] for any other number.
    pub fn record_number(&mut self, value: f64) -> Result<(), ValueError> {
        if value != 0.0 && value != 1.0 {
            return Err(ValueError::NotBinary(value));
        }
        self.record(value == 1.0);
        Ok(())
    }

    /// Adds the observations of another node.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            successes: self.successes.saturating_add(other.successes),
        }
    }

    /// Share of yes answers, 0 to 1; 0 without observations.
    #[must_use]
    pub fn rate(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.successes as f64 / self.count as f64 }
    }

    fn failures(&self) -> u64 {
        self.count.saturating_sub(self.successes)
    }

    /// Logarithm of the likelihood of this arm at `rate`.
    fn ln_likelihood(&self, rate: f64) -> f64 {
        times_ln(self.successes, rate) + times_ln(self.failures(), 1.0 - rate)
    }

    /// Logarithm of the probability of this arm's sequence under the beta mixture.
    fn ln_mixture(&self) -> f64 {
        ln_beta(PRIOR + self.successes as f64, PRIOR + self.failures() as f64)
            - ln_beta(PRIOR, PRIOR)
    }

    /// The arm seen as numbers 0 and 1, for the asymptotic method.
    pub(crate) fn as_numeric(&self) -> Numeric {
        let rate = self.rate();
        let m2 = self.count as f64 * rate * (1.0 - rate);
        Numeric { count: self.count, mean: rate, m2 }
    }

    /// Logarithm of the e-value against "variant rate minus control rate is `difference`".
    ///
    /// For each arm the beta mixture over the likelihood at the true rate is a test martingale
    /// (Robbins 1970; Howard, Ramdas, McAuliffe, Sekhon, "Time-uniform, nonparametric,
    /// nonasymptotic confidence sequences", AoS 2021, proposition 7). The arms
    /// are independent, so the product is one too, however the traffic is split and even if the
    /// split changes with the data. The null leaves one rate free: the likelihood in the
    /// denominator is the largest that the null allows, so the value is below the martingale of
    /// the true rates, whatever they are (the universal inference of Wasserman, Ramdas,
    /// Balakrishnan, PNAS 2020, here with a mixture as the numerator). With
    /// B the beta function, s and f the yes and no answers:
    ///
    /// `e(d) = prod_arm B(1/2 + s, 1/2 + f) / B(1/2, 1/2) / max_r [r^s0 (1-r)^f0 (r+d)^s1 (1-r-d)^f1]`
    #[must_use]
    pub fn log_evidence(control: &Self, variant: &Self, difference: f64) -> f64 {
        control.ln_mixture() + variant.ln_mixture() - ln_profile(control, variant, difference)
    }

    /// Logarithm of the e-value against "variant minus control is at most `margin`".
    #[must_use]
    pub fn log_evidence_above(control: &Self, variant: &Self, margin: f64) -> f64 {
        let estimate = variant.rate() - control.rate();
        Self::log_evidence(control, variant, margin.min(estimate))
    }

    /// Logarithm of the e-value against "variant minus control is at least `margin`".
    #[must_use]
    pub fn log_evidence_below(control: &Self, variant: &Self, margin: f64) -> f64 {
        let estimate = variant.rate() - control.rate();
        Self::log_evidence(control, variant, margin.max(estimate))
    }

    /// Always-valid p-value of "no difference" under the guarantee asked for.
    #[must_use]
    pub fn p_value(control: &Self, variant: &Self, guarantee: Guarantee) -> f64 {
        let exact = p_value(Self::log_evidence(control, variant, 0.0));
        match guarantee {
            Guarantee::Exact => exact,
            Guarantee::Combined => {
                let normal = asymptotic(control, variant).map_or(1.0, |(control, variant)| {
                    let settings = Settings::EXPERIMENT;
                    p_value(Numeric::log_evidence(&control, &variant, 0.0, settings))
                });
                (2.0 * exact.min(normal)).min(1.0)
            }
        }
    }

    /// Compares two arms at level `alpha` (for example 0.05): estimate and interval are
    /// differences of rates, -1 to 1.
    #[must_use]
    pub fn compare(control: &Self, variant: &Self, alpha: f64, guarantee: Guarantee) -> Comparison {
        let estimate = variant.rate() - control.rate();
        let p = Self::p_value(control, variant, guarantee);
        let (mut lower, mut upper) = match guarantee {
            Guarantee::Exact => exact_interval(control, variant, alpha),
            Guarantee::Combined => exact_interval(control, variant, alpha / 2.0),
        };
        if guarantee == Guarantee::Combined
            && let Some((control, variant)) = asymptotic(control, variant)
        {
            let normal = Numeric::compare(&control, &variant, alpha / 2.0, Settings::EXPERIMENT);
            lower = lower.max(normal.lower);
            upper = upper.min(normal.upper);
        }
        Comparison::new(estimate, lower, upper, p)
    }
}

/// Both arms as numbers, once each has enough answers of both kinds for the normal law.
fn asymptotic(control: &Binary, variant: &Binary) -> Option<(Numeric, Numeric)> {
    let enough = |arm: &Binary| arm.successes.min(arm.failures()) >= ASYMPTOTIC_MINIMUM;
    (enough(control) && enough(variant)).then(|| (control.as_numeric(), variant.as_numeric()))
}

/// `count * ln(rate)`, where no observations contribute nothing even at rate zero.
fn times_ln(count: u64, rate: f64) -> f64 {
    if count == 0 { 0.0 } else { count as f64 * rate.max(0.0).ln() }
}

/// The largest joint log-likelihood with variant rate minus control rate equal to `difference`.
///
/// The log-likelihood is concave along that line, so the sign of its slope guides a bisection.
fn ln_profile(control: &Binary, variant: &Binary, difference: f64) -> f64 {
    let mut low = (-difference).max(0.0);
    let mut high = (1.0 - difference).min(1.0);
    if difference == 0.0 {
        // Closed form: the pooled rate. This is the case every look needs.
        let pooled = control.merge(*variant);
        return pooled.ln_likelihood(pooled.rate());
    }
    let slope_part = |arm: &Binary, rate: f64| {
        let up = if arm.successes == 0 { 0.0 } else { arm.successes as f64 / rate };
        let down = if arm.failures() == 0 { 0.0 } else { arm.failures() as f64 / (1.0 - rate) };
        up - down
    };
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        let slope = slope_part(control, middle) + slope_part(variant, middle + difference);
        if slope > 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    let rate = f64::midpoint(low, high);
    control.ln_likelihood(rate) + variant.ln_likelihood((rate + difference).clamp(0.0, 1.0))
}

/// All differences whose e-value stays below `1 / alpha`.
///
/// The profile likelihood is concave in the difference, so they form an interval around the
/// estimate and a bisection on each side finds its ends.
fn exact_interval(control: &Binary, variant: &Binary, alpha: f64) -> (f64, f64) {
    let limit = threshold(alpha);
    let estimate = variant.rate() - control.rate();
    let end = |edge: f64| {
        if Binary::log_evidence(control, variant, edge) < limit {
            return edge;
        }
        let (mut inside, mut outside) = (estimate, edge);
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(inside, outside);
            if Binary::log_evidence(control, variant, middle) < limit {
                inside = middle;
            } else {
                outside = middle;
            }
        }
        outside
    };
    (end(-1.0), end(1.0))
}
