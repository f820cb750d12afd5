//! Goals that are numbers in a known range: an exact empirical-Bernstein confidence sequence.

use super::{Comparison, ValueError};
use serde::{Deserialize, Serialize};

/// Growth of the epochs that the boundary is stitched from.
const EPOCH: f64 = 2.0;
/// Power with which later epochs get less of alpha.
const POWER: f64 = 1.4;
/// Riemann's zeta function at `POWER`: makes the shares of all epochs sum to one.
const ZETA: f64 = 3.105_547_278;
/// Halvings that find a p-value on the logarithmic scale.
const HALVINGS: usize = 60;

/// The smallest and largest value a goal can take, in its own unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// Smallest value.
    pub min: f64,
    /// Largest value; above `min`.
    pub max: f64,
}

/// Summary of one arm of a bounded goal, on the scale where the range is 0 to 1.
///
/// Nodes may predict on their own and merge: squared errors of any predictions made before the
/// value was seen serve the theorem.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Bounded {
    /// Observations.
    pub count: u64,
    /// Sum of the scaled values.
    pub sum: f64,
    /// Sum of squared errors of the running mean as a prediction of the next scaled value.
    pub squares: f64,
}

impl Bounded {
    /// Takes one observation, in the unit of the goal.
    ///
    /// # Errors
    /// [`ValueError::NotFinite`] and [`ValueError::OutsideRange`].
    pub fn record(&mut self, value: f64, range: Range) -> Result<(), ValueError> {
        if !value.is_finite() {
            return Err(ValueError::NotFinite(value));
        }
        let Range { min, max } = range;
        if value < min || value > max || max <= min {
            return Err(ValueError::OutsideRange { value, min, max });
        }
        let scaled = (value - min) / (max - min);
        // Half an imaginary observation in the middle: the first prediction needs no data.
        let prediction = (0.5 + self.sum) / (1.0 + self.count as f64);
        self.squares += (scaled - prediction) * (scaled - prediction);
        self.sum += scaled;
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    /// Adds the observations of another node.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            sum: self.sum + other.sum,
            squares: self.squares + other.squares,
        }
    }

    /// Mean on the scale 0 to 1; one half without observations.
    fn mean(&self) -> f64 {
        if self.count == 0 { 0.5 } else { self.sum / self.count as f64 }
    }

    /// Half-width of the one-sided bound whose error is `exp(-ln_inverse_alpha)`.
    ///
    /// Howard, Ramdas, McAuliffe, Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence
    /// sequences", AoS 2021: theorem 4 (empirical Bernstein) with the stitched boundary of
    /// theorem 1, equation 10, `c = 1`, `m = 1`, epochs growing by 2, `h(k) = (k + 1)^1.4 zeta(1.4)`.
    fn radius(&self, ln_inverse_alpha: f64) -> f64 {
        if self.count == 0 {
            return f64::INFINITY;
        }
        let variance = self.squares.max(1.0);
        let epochs = variance.ln() / EPOCH.ln() + 1.0;
        let level = POWER * epochs.ln() + ZETA.ln() + ln_inverse_alpha;
        let root = EPOCH.sqrt().sqrt();
        let k1 = (root + 1.0 / root) / std::f64::consts::SQRT_2;
        let k2 = f64::midpoint(EPOCH.sqrt(), 1.0);
        let boundary = (k1 * k1 * variance * level + k2 * k2 * level * level).sqrt() + k2 * level;
        boundary / self.count as f64
    }

    /// Compares two arms at level `alpha`, in the unit of the goal; exact at any count.
    ///
    /// Each arm gets its own two-sided sequence at half of alpha (a union bound); the
    /// difference lies between the differences of their ends.
    #[must_use]
    pub fn compare(control: &Self, variant: &Self, alpha: f64, range: Range) -> Comparison {
        let scale = range.max - range.min;
        let estimate = variant.mean() - control.mean();
        // Four one-sided bounds share alpha: two arms, two sides.
        let both = |ln_inverse: f64| {
            let each = ln_inverse + 4.0_f64.ln();
            control.radius(each) + variant.radius(each)
        };
        let radius = both(-alpha.ln());
        let p = if both(0.0) >= estimate.abs() {
            1.0
        } else {
            let (mut low, mut high) = (0.0, 2_000.0);
            for _ in 0..HALVINGS {
                let middle = f64::midpoint(low, high);
                if both(middle) < estimate.abs() {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            (-low).exp()
        };
        let lower = (estimate - radius).max(-1.0) * scale;
        let upper = (estimate + radius).min(1.0) * scale;
        Comparison::new(estimate * scale, lower, upper, p)
    }
}
