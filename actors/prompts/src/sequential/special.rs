//! Special functions: the logarithms of gamma, beta and the normal distribution function.

/// Half the natural logarithm of two pi.
const HALF_LN_TWO_PI: f64 = 0.918_938_533_204_672_8;

/// Natural logarithm of the gamma function for `x > 0`, to about twelve digits.
///
/// Stirling's series (Abramowitz and Stegun 6.1.41), after the recurrence has lifted `x` above 8.
pub(crate) fn ln_gamma(x: f64) -> f64 {
    let mut lifted = x;
    let mut product = 1.0;
    while lifted < 8.0 {
        product *= lifted;
        lifted += 1.0;
    }
    let inverse = 1.0 / lifted;
    let square = inverse * inverse;
    let series = inverse
        * (1.0 / 12.0
            - square
                * (1.0 / 360.0
                    - square * (1.0 / 1260.0 - square * (1.0 / 1680.0 - square / 1188.0))));
    (lifted - 0.5) * lifted.ln() - lifted + HALF_LN_TWO_PI + series - product.ln()
}

/// Natural logarithm of the beta function for positive arguments.
pub(crate) fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// Coefficients of the rational Chebyshev fit below, lowest power first.
const ERFC: [f64; 10] = [
    -1.265_512_23,
    1.000_023_68,
    0.374_091_96,
    0.096_784_18,
    -0.186_288_06,
    0.278_868_07,
    -1.135_203_98,
    1.488_515_87,
    -0.822_152_23,
    0.170_872_77,
];

/// Natural logarithm of the standard normal distribution function.
///
/// The complementary error function after Press et al., "Numerical Recipes", section 6.2
/// (`erfcc`): relative error below 1.2e-7 over the whole line, so the far tail keeps its digits.
pub(crate) fn ln_normal(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * x);
    let polynomial = ERFC.iter().rev().fold(0.0, |sum, coefficient| sum * t + coefficient);
    let ln_tail = t.ln() - x * x + polynomial - std::f64::consts::LN_2;
    if z <= 0.0 { ln_tail } else { (-ln_tail.exp()).ln_1p() }
}
