//! A decoder in the shape of Llama (arXiv:2302.13971) that writes: it keeps what it has read.

use super::weights::Shape;
use crate::kernels::generation::{Seen, attend, rms_norm, silu_gate, turn};
use crate::kernels::quantised::{Matrix, product};
use crate::kernels::workers::Workers;

/// Rows of a prompt that go through the layers together; between two such parts the caller may
/// stop. 128 rows of the widest layer stay in a core's cache.
pub(super) const PART: usize = 128;

pub(super) struct Network {
    pub(super) shape: Shape,
    /// A row for each token; the output layer too, where the file has no other.
    pub(super) words: Matrix,
    pub(super) layers: Vec<Layer>,
    pub(super) norm: Vec<f32>,
    pub(super) output: Option<Matrix>,
}

pub(super) struct Layer {
    pub(super) attention_norm: Vec<f32>,
    pub(super) query: Matrix,
    pub(super) key: Matrix,
    pub(super) value: Matrix,
    pub(super) attention_output: Matrix,
    pub(super) gate_norm: Vec<f32>,
    pub(super) gate: Matrix,
    pub(super) up: Matrix,
    pub(super) down: Matrix,
}

/// What one sequence has read so far: the keys and values of each layer, row after row.
pub(super) struct Past {
    tokens: usize,
    layers: Vec<(Vec<f32>, Vec<f32>)>,
}

/// Rooms for the numbers between two steps, used again by every layer.
#[derive(Default)]
struct Scratch {
    normed: Vec<f32>,
    qkv: Vec<f32>,
    context: Vec<f32>,
    wide: Vec<f32>,
    gated: Vec<f32>,
    change: Vec<f32>,
}

impl Network {
    /// An empty past with room for so many tokens.
    pub(super) fn past(&self, tokens: usize) -> Past {
        let width = self.shape.heads.keys * self.shape.heads.size;
        let room = || Vec::with_capacity(tokens.saturating_mul(width));
        Past { tokens: 0, layers: self.layers.iter().map(|_| (room(), room())).collect() }
    }

    /// Reads tokens after those of `past`, at least one and each with a row of words, and returns
    /// the last one's hidden state after the last normalisation.
    pub(super) fn read(&self, workers: &Workers<'_>, ids: &[u32], past: &mut Past) -> Vec<f32> {
        let Shape { hidden, epsilon, .. } = self.shape;
        let mut x = vec![0.0; ids.len() * hidden];
        for (id, row) in ids.iter().zip(x.chunks_exact_mut(hidden)) {
            self.words.row(*id as usize, row);
        }
        let turns: Vec<Vec<(f32, f32)>> =
            (0..ids.len()).map(|index| self.turns(past.tokens + index)).collect();
        let mut scratch = Scratch::default();
        for (layer, (keys, values)) in self.layers.iter().zip(&mut past.layers) {
            self.look_back(workers, layer, &mut x, &turns, (keys, values), &mut scratch);
            let Scratch { normed, wide, gated, change, .. } = &mut scratch;
            rms_norm(&x, &layer.gate_norm, epsilon, normed);
            let width = layer.gate.outputs() + layer.up.outputs();
            wide.resize(ids.len() * width, 0.0);
            product(workers, normed, &[&layer.gate, &layer.up], wide);
            silu_gate(wide, width, gated);
            change.resize(x.len(), 0.0);
            product(workers, gated, &[&layer.down], change);
            add(&mut x, change);
        }
        past.tokens += ids.len();
        let last = x.len() - hidden;
        rms_norm(&x[last..], &self.norm, epsilon, &mut scratch.normed);
        scratch.normed
    }

    /// The attention half of a layer.
    fn look_back(
        &self,
        workers: &Workers<'_>,
        layer: &Layer,
        x: &mut [f32],
        turns: &[Vec<(f32, f32)>],
        (keys, values): (&mut Vec<f32>, &mut Vec<f32>),
        scratch: &mut Scratch,
    ) {
        let Shape { heads, epsilon, .. } = self.shape;
        let Scratch { normed, qkv, context, change, .. } = scratch;
        let (query_width, key_width) = (heads.queries * heads.size, heads.keys * heads.size);
        let width = query_width + 2 * key_width;
        rms_norm(x, &layer.attention_norm, epsilon, normed);
        qkv.resize(turns.len() * width, 0.0);
        product(workers, normed, &[&layer.query, &layer.key, &layer.value], qkv);
        for (row, turns) in qkv.chunks_exact_mut(width).zip(turns) {
            turn(&mut row[..query_width + key_width], turns);
            keys.extend_from_slice(&row[query_width..query_width + key_width]);
            values.extend_from_slice(&row[query_width + key_width..]);
        }
        context.resize(turns.len() * query_width, 0.0);
        attend(workers, qkv, width, Seen { keys, values }, heads, context);
        change.resize(x.len(), 0.0);
        product(workers, context, &[&layer.attention_output], change);
        add(x, change);
    }

    /// How likely each token comes next, before any softmax.
    pub(super) fn logits(&self, workers: &Workers<'_>, state: &[f32]) -> Vec<f32> {
        let output = self.output.as_ref().unwrap_or(&self.words);
        let mut logits = vec![0.0; output.outputs()];
        product(workers, state, &[output], &mut logits);
        logits
    }

    /// Cosine and sine of `position · base^(−2i / size)` for each pair `i`.
    fn turns(&self, position: usize) -> Vec<(f32, f32)> {
        let size = self.shape.heads.size;
        (0..size / 2)
            .map(|pair| {
                let rate = self.shape.base.powf(-((2 * pair) as f64) / size as f64);
                let (sine, cosine) = (position as f64 * rate).sin_cos();
                (cosine as f32, sine as f32)
            })
            .collect()
    }
}

fn add(x: &mut [f32], change: &[f32]) {
    for (x, change) in x.iter_mut().zip(change) {
        *x += change;
    }
}

#[cfg(test)]
mod tests;
