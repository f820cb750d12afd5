//! Statistics that stay valid however often one looks at them, for experiments and for the guard.
//!
//! Each arm of a comparison keeps a small summary ([`Binary`], [`Numeric`] or [`Bounded`]) which
//! takes one observation at a time and merges with the summary of another node. Everything else
//! is a pure function of two such summaries, so the same counts give the same answer anywhere.
//!
//! | goal | function | guarantee under the null, at every look together |
//! |---|---|---|
//! | yes or no | [`Binary::compare`] with [`Guarantee::Exact`] | false alarms at most alpha at any count |
//! | yes or no | [`Binary::compare`] with [`Guarantee::Combined`] | half of alpha exact, half asymptotic |
//! | a number in a known range | [`Bounded::compare`] | at most alpha at any count |
//! | any number | [`Numeric::compare`] | alpha as counts grow; a burn-in keeps early looks out |
//!
//! Words: an *e-value* is evidence against a null; under the null its chance ever to reach
//! `1 / alpha` is at most alpha (Ville's inequality), which is why peeking costs nothing. It is
//! kept as its natural logarithm. The *always-valid p-value* is `min(1, 1 / e-value)` (Johari,
//! Koomen, Pekelis, Walsh, "Always valid inference", Operations Research 2022).
//!
//! What none of these methods can repair: observations must be independent. When the unit of an
//! experiment is a user, give one observation per user, not one per request.

mod binary;
mod bounded;
mod guard;
mod mismatch;
mod numeric;
mod special;
#[cfg(test)]
mod tests;

pub use binary::{Binary, Guarantee};
pub use bounded::{Bounded, Range};
pub use guard::{Evidence, Guard, Health, Limits, Metric, Outcome, Watched};
pub use mismatch::{Mismatch, sample_ratio_mismatch};
pub use numeric::{Numeric, Settings};

/// Why a summary did not take a value.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum ValueError {
    /// Not a number, or infinite.
    #[error("value is {0}; it must be a finite number; drop it or send the number measured")]
    NotFinite(f64),
    /// Neither 0 nor 1 where a goal is yes or no.
    #[error("value is {0}; a yes-or-no goal takes 0 or 1; send 1 for yes and 0 for no")]
    NotBinary(f64),
    /// Below zero where the logarithm is compared.
    #[error(
        "value is {0}; a goal on the logarithmic scale takes 0 or more; send the amount itself"
    )]
    Negative(f64),
    /// Outside the declared range of a bounded goal.
    #[error("value is {value}; the goal allows {min} to {max}; correct it or widen the range")]
    OutsideRange {
        /// The value that was sent.
        value: f64,
        /// The smallest allowed.
        min: f64,
        /// The largest allowed.
        max: f64,
    },
}

/// What a comparison says about the variant against the control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The variant's mean is higher: the whole interval lies above zero.
    Higher,
    /// The variant's mean is lower: the whole interval lies below zero.
    Lower,
    /// Zero is still inside the interval.
    Undecided,
}

/// Variant minus control, with its confidence sequence at this look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// Difference of the two means, in the unit of the goal.
    pub estimate: f64,
    /// Lower end of the interval; minus infinity while nothing can be said.
    pub lower: f64,
    /// Upper end of the interval; infinity while nothing can be said.
    pub upper: f64,
    /// Always-valid p-value of "no difference", 0 to 1.
    pub p_value: f64,
    /// Whether zero is outside the interval, and on which side.
    pub decision: Decision,
}

impl Comparison {
    /// Builds a comparison; the decision is read off the interval, so the two never disagree.
    pub(crate) fn new(estimate: f64, lower: f64, upper: f64, p_value: f64) -> Self {
        let decision = if lower > 0.0 {
            Decision::Higher
        } else if upper < 0.0 {
            Decision::Lower
        } else {
            Decision::Undecided
        };
        Self { estimate, lower, upper, p_value, decision }
    }

    /// A comparison that says nothing yet.
    pub(crate) fn silent(estimate: f64) -> Self {
        Self::new(estimate, f64::NEG_INFINITY, f64::INFINITY, 1.0)
    }
}

/// The always-valid p-value of evidence given as a natural logarithm.
pub(crate) fn p_value(log_evidence: f64) -> f64 {
    (-log_evidence).exp().min(1.0)
}

/// The evidence, as a natural logarithm, that decides at level `alpha`.
pub(crate) fn threshold(alpha: f64) -> f64 {
    -alpha.ln()
}
