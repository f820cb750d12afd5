//! The tokens of some sequences as the rows of one matrix.

use std::ops::Range;

use headwater_models::Pooling;

/// Sequences laid out one after the other, packed or padded to the longest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rows {
    /// Token id of each row; 0 in padding.
    pub(crate) ids: Vec<i32>,
    /// Place of each row in its sequence; 0 in padding.
    pub(crate) positions: Vec<i32>,
    /// The real rows of each sequence.
    pub(crate) spans: Vec<Range<usize>>,
    /// Rows of each sequence with its padding; `None` when packed.
    pub(crate) width: Option<usize>,
}

impl Rows {
    /// Without any padding.
    #[cfg(feature = "cpu")]
    pub(crate) fn packed(sequences: &[&[u32]]) -> Self {
        Rows::lay_out(sequences, None)
    }

    /// Every sequence padded to the longest of them.
    #[cfg(any(feature = "cuda", all(test, feature = "cpu")))]
    pub(crate) fn padded(sequences: &[&[u32]]) -> Self {
        Rows::lay_out(sequences, sequences.iter().map(|sequence| sequence.len()).max())
    }

    fn lay_out(sequences: &[&[u32]], width: Option<usize>) -> Self {
        let mut rows = Rows { ids: Vec::new(), positions: Vec::new(), spans: Vec::new(), width };
        for sequence in sequences {
            let start = rows.ids.len();
            rows.ids.extend(sequence.iter().map(|id| *id as i32));
            rows.positions.extend(0..sequence.len() as i32);
            rows.spans.push(start..rows.ids.len());
            let end = start + width.unwrap_or(sequence.len());
            rows.ids.resize(end, 0);
            rows.positions.resize(end, 0);
        }
        rows
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// A matrix of shape `[sequences, rows]` with a 1 for each state that counts: its
    /// product with the hidden states is the pooled vector, for the mean times its length.
    /// Every pooling points at the length of a vector only, which is set after this.
    pub(crate) fn pooling_matrix(&self, pooling: Pooling) -> Vec<f32> {
        let mut matrix = vec![0.0; self.spans.len() * self.len()];
        for (row, span) in matrix.chunks_exact_mut(self.len().max(1)).zip(&self.spans) {
            row[pooled_rows(span, pooling)].fill(1.0);
        }
        matrix
    }
}

/// The rows of one sequence whose mean is its vector.
pub(crate) fn pooled_rows(span: &Range<usize>, pooling: Pooling) -> Range<usize> {
    match pooling {
        Pooling::Cls => span.start..span.start + 1,
        Pooling::Mean | Pooling::Splade => span.clone(),
        Pooling::LastToken => span.end - 1..span.end,
    }
}

#[cfg(all(test, feature = "cpu"))]
mod tests;
