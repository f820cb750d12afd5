//! Dense layers and attention in f32.

use std::ops::Range;

use super::arithmetic;
use super::matrix::{Block, Target, View, multiply};
use crate::kernels::workers::{STEP, Workers};

/// Columns of a weight that are stored together. Rows of a whole weight lie a page apart,
/// so that reading some columns of all rows misses the address cache at every step.
pub(super) const PANEL: usize = 64;

/// Rows that go through a layer together.
const CHUNK: usize = 512;

/// A dense layer in panels of `PANEL` columns, the last one filled up.
pub(super) struct Layer<'a> {
    pub(super) panels: &'a [f32],
    pub(super) bias: &'a [f32],
    pub(super) inputs: usize,
}

/// What follows the product while its block is in the cache.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    Gelu,
}

/// `into = x · weight + bias`, and what follows.
pub(super) fn linear(
    workers: &Workers<'_>,
    x: &[f32],
    layer: &Layer<'_>,
    into: &mut [f32],
    then: Then,
) {
    product(workers, x, layer, into, false, then);
}

/// `into += x · weight + bias`.
pub(super) fn add(workers: &Workers<'_>, x: &[f32], layer: &Layer<'_>, into: &mut [f32]) {
    product(workers, x, layer, into, true, Then::Nothing);
}

fn product(
    workers: &Workers<'_>,
    x: &[f32],
    layer: &Layer<'_>,
    into: &mut [f32],
    keep: bool,
    then: Then,
) {
    let (inputs, outputs) = (layer.inputs, layer.bias.len());
    let panels: Vec<&[f32]> = layer.panels.chunks_exact(inputs * PANEL).collect();
    assert_eq!(panels.len(), outputs.div_ceil(PANEL), "a weight of the layer's shape");
    // Wide layers take fewer rows, so that one panel is no more than two steps.
    let rows = CHUNK.min((STEP / (inputs * PANEL)).max(1));
    for (x, into) in x.chunks(rows * inputs).zip(into.chunks_mut(rows * outputs)) {
        let rows = x.len() / inputs;
        let target = Target::new(into, outputs);
        let x = View::rows_of(x, inputs, 0..inputs);
        workers.each(panels.len(), 2 * rows * inputs * PANEL, |range: Range<usize>| {
            for panel in range {
                let columns = panel * PANEL..outputs.min((panel + 1) * PANEL);
                let bias = &layer.bias[columns.clone()];
                let weight = View::rows_of(panels[panel], PANEL, 0..columns.len());
                // SAFETY: the workers get different panels, and nobody else uses `into`.
                let mut block = unsafe { target.block(0..rows, columns) };
                if keep {
                    block.each_row(
                        #[inline(always)]
                        |row| arithmetic::add_row(row, bias),
                    );
                } else {
                    block.each_row(|row| row.copy_from_slice(bias));
                }
                multiply(&mut block, 1.0, &x, &weight);
                if then == Then::Gelu {
                    block.each_row(arithmetic::gelu_row);
                }
            }
        });
    }
}

/// Attention of every sequence to itself; `qkv` of shape `[rows, 3 · hidden]`, the answer
/// of shape `[rows, hidden]`. As many queries at a time as make one step.
pub(super) fn attention(
    workers: &Workers<'_>,
    qkv: &[f32],
    spans: &[Range<usize>],
    hidden: usize,
    heads: usize,
) -> Vec<f32> {
    let mut answer = vec![0.0; qkv.len() / 3];
    let target = Target::new(&mut answer, hidden);
    let squares: usize = spans.iter().map(|span| span.len() * span.len()).sum();
    let operations = 4 * squares * (hidden / heads) / spans.len().max(1);
    workers.each(spans.len() * heads, operations, |range: Range<usize>| {
        let mut scores = Vec::new();
        for index in range {
            let span = &spans[index / heads];
            let parts = &qkv[3 * hidden * span.start..3 * hidden * span.end];
            let head = Head { parts, hidden, heads, head: index % heads };
            let together = (STEP / (4 * head.size() * span.len())).max(1);
            for first in (0..span.len()).step_by(together) {
                if first > 0 {
                    workers.wait();
                }
                let queries = first..span.len().min(first + together);
                let rows = span.start + queries.start..span.start + queries.end;
                let columns = head.head * head.size()..(head.head + 1) * head.size();
                // SAFETY: the workers get different heads, and nobody else uses `answer`.
                let mut block = unsafe { target.block(rows, columns) };
                head.attend(queries, &mut scores, &mut block);
            }
        }
    });
    answer
}

/// One head of one sequence, read in place.
struct Head<'a> {
    parts: &'a [f32],
    hidden: usize,
    heads: usize,
    head: usize,
}

impl<'a> Head<'a> {
    fn size(&self) -> usize {
        self.hidden / self.heads
    }

    /// Rows of query, key or value, by its index.
    fn part(&self, rows: Range<usize>, index: usize) -> View<'a> {
        let width = 3 * self.hidden;
        let start = index * self.hidden + self.head * self.size();
        let rows = &self.parts[rows.start * width..rows.end * width];
        View::rows_of(rows, width, start..start + self.size())
    }

    /// `softmax(query · keyᵀ / √size) · value` for some of the queries.
    fn attend(&self, queries: Range<usize>, scores: &mut Vec<f32>, into: &mut Block<'_>) {
        let tokens = self.parts.len() / (3 * self.hidden);
        scores.resize(queries.len() * tokens, 0.0);
        let mut block = Block::rows_of(scores, tokens, 0..tokens);
        let keys = self.part(0..tokens, 1).transposed();
        multiply(&mut block, 0.0, &self.part(queries, 0), &keys);
        arithmetic::softmax(scores, tokens, (self.size() as f32).powf(-0.5));
        let shares = View::rows_of(scores, tokens, 0..tokens);
        multiply(into, 0.0, &shares, &self.part(0..tokens, 2));
    }
}
