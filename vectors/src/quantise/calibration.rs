//! The range of each component, by which it is kept in one byte.

use super::QuantiseError;

/// Steps between the ends of a range: 256 codes.
const STEPS: f32 = 255.0;
/// The code of a range's low end.
const LOWEST: f32 = -128.0;
/// Largest share of a sample that [`Calibration::fit`] may leave out at either end.
pub const CUT_MAX: f64 = 0.1;

/// The ends of each component's range.
///
/// With `step = (high - low) / 255`, a component x is kept as
/// `round((x - low) / step) - 128`, clamped to -128..=127, and read as `low + (code + 128) * step`.
/// Within the range the error is at most half a step (and f32's own rounding); beyond it, the
/// distance to the end besides. These are the ranges of sentence-transformers'
/// `quantize_embeddings`, which cuts off where this rounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    low: Vec<f32>,
    high: Vec<f32>,
}

impl Calibration {
    /// A calibration from the ends themselves.
    ///
    /// # Errors
    /// When both are not of one length, or an end is not finite, or low is above high.
    pub fn new(low: Vec<f32>, high: Vec<f32>) -> Result<Self, QuantiseError> {
        if low.len() != high.len() {
            let (low, high) = (low.len(), high.len());
            return Err(QuantiseError(format!(
                "a calibration has {low} low ends and {high} high ones; give one of each for \
                 every component"
            )));
        }
        let wrong = |(low, high): (&f32, &f32)| {
            !(low.is_finite() && high.is_finite() && low <= high && (high - low).is_finite())
        };
        if let Some(place) = low.iter().zip(&high).position(wrong) {
            let (low, high) = (low[place], high[place]);
            return Err(QuantiseError(format!(
                "the range of component {place} goes from {low} to {high}; both must be finite, \
                 the low end first"
            )));
        }
        Ok(Calibration { low, high })
    }

    /// The same range for every component: right for vectors of length 1 with `bound` 1.
    ///
    /// # Errors
    /// When `bound` is not a finite number, 0 or above.
    pub fn symmetric(dimensions: usize, bound: f32) -> Result<Self, QuantiseError> {
        Calibration::new(vec![-bound; dimensions], vec![bound; dimensions])
    }

    /// The ranges of a sample. `cut` is the share of values left out at each end of a component,
    /// 0 to [`CUT_MAX`]: 0 takes the least and the greatest, 0.001 withstands outliers.
    ///
    /// # Errors
    /// When the sample is empty, its vectors differ in length or hold what is no number, or `cut`
    /// is out of range.
    pub fn fit(sample: &[impl AsRef<[f32]>], cut: f64) -> Result<Self, QuantiseError> {
        let Some(first) = sample.first() else {
            return Err(QuantiseError(
                "a calibration needs a sample; give at least one vector".to_owned(),
            ));
        };
        if !(0.0..=CUT_MAX).contains(&cut) {
            return Err(QuantiseError(format!("cut is {cut}; give a share from 0 to {CUT_MAX}")));
        }
        let dimensions = first.as_ref().len();
        if let Some(other) = sample.iter().find(|vector| vector.as_ref().len() != dimensions) {
            let other = other.as_ref().len();
            return Err(QuantiseError(format!(
                "the sample has vectors of {dimensions} and of {other} components; take one kind"
            )));
        }
        let left_out = (sample.len() as f64 * cut) as usize;
        let mut ends = (Vec::with_capacity(dimensions), Vec::with_capacity(dimensions));
        let mut values = Vec::with_capacity(sample.len());
        for place in 0..dimensions {
            values.clear();
            values.extend(sample.iter().map(|vector| vector.as_ref()[place]));
            values.sort_unstable_by(f32::total_cmp);
            ends.0.push(values[left_out]);
            ends.1.push(values[values.len() - 1 - left_out]);
        }
        Calibration::new(ends.0, ends.1)
    }

    pub fn dimensions(&self) -> usize {
        self.low.len()
    }

    /// The low end of each component's range.
    pub fn low(&self) -> &[f32] {
        &self.low
    }

    /// The high end of each component's range.
    pub fn high(&self) -> &[f32] {
        &self.high
    }

    /// The distance between two neighbouring codes of each component.
    pub fn steps(&self) -> impl Iterator<Item = f32> {
        self.low.iter().zip(&self.high).map(|(low, high)| (high - low) / STEPS)
    }

    /// # Errors
    /// For a vector of another length.
    pub fn check_length(&self, dimensions: usize) -> Result<(), QuantiseError> {
        let own = self.dimensions();
        if own == dimensions {
            return Ok(());
        }
        Err(QuantiseError(format!(
            "the vector has {dimensions} components, its calibration {own}; use the calibration of \
             the vector's own space"
        )))
    }

    /// The code of each component. A range of one point gives its lowest code.
    pub fn encode(&self, vector: &[f32]) -> Vec<i8> {
        let ranges = vector.iter().zip(&self.low).zip(self.steps());
        ranges
            .map(|((component, low), step)| {
                let steps = if step > 0.0 { (component - low) / step } else { 0.0 };
                (steps.round() + LOWEST).clamp(LOWEST, LOWEST + STEPS) as i8
            })
            .collect()
    }

    /// What the codes stand for.
    pub fn decode(&self, codes: &[i8]) -> Vec<f32> {
        let ranges = codes.iter().zip(&self.low).zip(self.steps());
        ranges.map(|((code, low), step)| low + (f32::from(*code) - LOWEST) * step).collect()
    }

    /// The parts of a query by which its product with a coded vector is
    /// `offset + Σ weight · code`.
    pub(super) fn fold(&self, query: &[f32]) -> (Vec<f32>, f32) {
        let weights = query.iter().zip(self.steps()).map(|(query, step)| query * step).collect();
        let ranges = query.iter().zip(&self.low).zip(self.steps());
        let terms =
            ranges.map(|((query, low), step)| f64::from(*query) * f64::from(low - LOWEST * step));
        (weights, terms.sum::<f64>() as f32)
    }
}
