//! A query made ready once for many vectors of one format.

use half::f16;

use super::{Calibration, QuantiseError, Stored, signs, to_bits};
use crate::products::{dot, dots_f16, dots_f32, dots_i8, hamming_distances};
use crate::{Metric, similarity};

/// A query for vectors as they are kept. What lies one after the other in a block is scored
/// together, which is the fast way.
#[derive(Debug, Clone)]
pub struct Scorer {
    metric: Metric,
    query: Vec<f32>,
    query_square: f32,
    bits: Vec<u8>,
    /// Weights and offset for the codes of a calibration.
    folded: Option<(Vec<f32>, f32)>,
    calibration: Option<Calibration>,
}

impl Scorer {
    /// A scorer for one query.
    ///
    /// # Errors
    /// When the calibration is of another length.
    pub fn new(
        metric: Metric,
        query: &[f32],
        calibration: Option<&Calibration>,
    ) -> Result<Self, QuantiseError> {
        if let Some(calibration) = calibration {
            calibration.check_length(query.len())?;
        }
        Ok(Scorer {
            metric,
            query: query.to_vec(),
            query_square: dot(query, query),
            bits: to_bits(query),
            folded: calibration.map(|calibration| calibration.fold(query)),
            calibration: calibration.cloned(),
        })
    }

    pub fn query(&self) -> &[f32] {
        &self.query
    }

    /// How near the query is to one kept vector.
    ///
    /// # Errors
    /// For codes without a calibration.
    pub fn score(&self, stored: &Stored) -> Result<f32, QuantiseError> {
        let vector = stored.components(self.query.len(), self.calibration.as_ref())?;
        Ok(similarity(self.metric, &self.query, &vector))
    }

    /// The scores of a block of f32 vectors, one after the other. `squares` are the products of
    /// each with itself; `scores` has one place for each.
    pub fn score_f32(&self, block: &[f32], squares: &[f32], scores: &mut [f32]) {
        dots_f32(&self.query, block, scores);
        self.finish(squares, scores);
    }

    /// As [`Scorer::score_f32`].
    pub fn score_f16(&self, block: &[f16], squares: &[f32], scores: &mut [f32]) {
        dots_f16(&self.query, block, scores);
        self.finish(squares, scores);
    }

    /// As [`Scorer::score_f32`]; `squares` are those of the decoded vectors.
    ///
    /// # Errors
    /// Without a calibration.
    pub fn score_i8(
        &self,
        block: &[i8],
        squares: &[f32],
        scores: &mut [f32],
    ) -> Result<(), QuantiseError> {
        let (weights, offset) = self.folded.as_ref().ok_or_else(super::no_calibration)?;
        dots_i8(weights, block, scores);
        scores.iter_mut().for_each(|score| *score += offset);
        self.finish(squares, scores);
        Ok(())
    }

    /// How many signs of the query differ from those of each packed vector.
    pub fn distances(&self, block: &[u8], distances: &mut [u32]) {
        hamming_distances(&self.bits, block, distances);
    }

    /// How near the query itself is to the signs of a packed vector: finer than the distance,
    /// for the few that the distance found.
    pub fn rescore(&self, bits: &[u8]) -> f32 {
        similarity(self.metric, &self.query, &signs(bits, self.query.len()))
    }

    fn finish(&self, squares: &[f32], scores: &mut [f32]) {
        for (score, square) in scores.iter_mut().zip(squares) {
            *score = self.metric.of_products(*score, self.query_square, *square);
        }
    }
}
