//! Sample-ratio mismatch: whether the arms got the shares of users they should have.

use super::special::ln_gamma;
use super::{p_value, threshold};

/// Weight of the prior in observations. The larger, the sooner small deviations are worth
/// looking for; with 1000 a share that is off by one point in a hundred stays inside the prior.
const CONCENTRATION: f64 = 1_000.0;

/// Result of the mismatch test at this look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mismatch {
    /// Always-valid p-value of "the shares are as planned", 0 to 1.
    pub p_value: f64,
    /// Whether the p-value is at most alpha: results must not be trusted.
    pub found: bool,
}

/// Tests `(weight, users seen)` of each arm against the planned shares, at level `alpha`.
///
/// Lindon and Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022
/// (arXiv:2011.03567, 2020), the Bayes factor of a Dirichlet mixture against the planned shares
/// `p_i`: with `a_i = 1000 p_i`, `n_i` users and totals `a`, `n`,
///
/// `ln e = ln G(a) - ln G(a + n) + sum_i [ln G(a_i + n_i) - ln G(a_i) - n_i ln p_i]`
///
/// Exact at any count, at every look together. Count each user once, however often they return:
/// the test takes users as independent. Arms without weight must have no users; one user there
/// is a mismatch. Without any weight nothing is planned and nothing is found.
#[must_use]
pub fn sample_ratio_mismatch(arms: &[(u32, u64)], alpha: f64) -> Mismatch {
    let weights: f64 = arms.iter().map(|(weight, _)| f64::from(*weight)).sum();
    if weights <= 0.0 {
        return Mismatch { p_value: 1.0, found: false };
    }
    if arms.iter().any(|(weight, users)| *weight == 0 && *users > 0) {
        return Mismatch { p_value: 0.0, found: true };
    }
    let users: f64 = arms.iter().map(|(_, users)| *users as f64).sum();
    let start = ln_gamma(CONCENTRATION) - ln_gamma(CONCENTRATION + users);
    let evidence = arms.iter().filter(|(weight, _)| *weight > 0).fold(start, |sum, arm| {
        let share = f64::from(arm.0) / weights;
        let prior = CONCENTRATION * share;
        let seen = arm.1 as f64;
        sum + ln_gamma(prior + seen) - ln_gamma(prior) - seen * share.ln()
    });
    Mismatch { p_value: p_value(evidence), found: evidence >= threshold(alpha) }
}
