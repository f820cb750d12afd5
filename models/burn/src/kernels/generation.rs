//! The steps of a decoder that writes: one or more new rows after those in a cache.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::fused::arithmetic::{exp, fold, softmax};
use super::fused::matrix::{Block, Target, View, multiply};
use super::workers::Workers;
use crate::config::decoder::Heads;

/// Division of every row by the root of its mean square (arXiv:1910.07467); rows are as long as
/// `weight`.
pub(crate) fn rms_norm(rows: &[f32], weight: &[f32], epsilon: f32, into: &mut Vec<f32>) {
    struct Norm<'a>(&'a mut [f32], &'a [f32], f32);
    impl WithSimd for Norm<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, _simd: S) {
            let Norm(rows, weight, epsilon) = self;
            for row in rows.chunks_exact_mut(weight.len()) {
                let squares = fold(row, 0.0, |sum, x| x.mul_add(x, sum), |a, b| a + b);
                let inverse = 1.0 / (squares / row.len() as f32 + epsilon).sqrt();
                for (value, weight) in row.iter_mut().zip(weight) {
                    *value = *value * inverse * weight;
                }
            }
        }
    }
    into.clear();
    into.extend_from_slice(rows);
    Arch::new().dispatch(Norm(into, weight, epsilon));
}

/// Turns every pair of neighbours in `heads` by the angle of its index (arXiv:2104.09864, in the
/// paper's own order, which files in GGUF keep); `turns` holds each angle's cosine and sine.
pub(crate) fn turn(heads: &mut [f32], turns: &[(f32, f32)]) {
    for head in heads.chunks_exact_mut(2 * turns.len()) {
        for (pair, (cosine, sine)) in head.as_chunks_mut::<2>().0.iter_mut().zip(turns) {
            let [a, b] = *pair;
            *pair = [a * cosine - b * sine, a * sine + b * cosine];
        }
    }
}

/// `silu(a) · b` of the two halves of each row of `width` numbers, with `silu(x) = x · σ(x)`
/// (arXiv:2002.05202).
pub(crate) fn silu_gate(rows: &[f32], width: usize, into: &mut Vec<f32>) {
    struct Gate<'a>(&'a [f32], usize, &'a mut [f32]);
    impl WithSimd for Gate<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, _simd: S) {
            let Gate(rows, width, into) = self;
            for (row, into) in rows.chunks_exact(width).zip(into.chunks_exact_mut(width / 2)) {
                let (gate, up) = row.split_at(width / 2);
                for ((into, gate), up) in into.iter_mut().zip(gate).zip(up) {
                    // The power of a number that is not positive, for both signs of the gate.
                    let power = exp(-gate.abs());
                    let share = if *gate >= 0.0 { 1.0 } else { power };
                    *into = gate * share / (1.0 + power) * up;
                }
            }
        }
    }
    into.clear();
    into.resize(rows.len() / 2, 0.0);
    Arch::new().dispatch(Gate(rows, width, into));
}

/// Keys and values of all tokens so far, the new ones too, each row of `heads.keys` heads.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) keys: &'a [f32],
    pub(crate) values: &'a [f32],
}

/// Attention of the newest tokens to themselves and all before them. `rows` hold a query in
/// their first columns and are `width` long; `into` has rows of all query heads.
pub(crate) fn attend(
    workers: &Workers<'_>,
    rows: &[f32],
    width: usize,
    seen: Seen<'_>,
    heads: Heads,
    into: &mut [f32],
) {
    let Heads { queries, keys, size } = heads;
    let count = rows.len() / width;
    let tokens = seen.keys.len() / (keys * size);
    let target = Target::new(into, queries * size);
    let head = |index: usize| index * size..(index + 1) * size;
    workers.each(queries, 4 * count * tokens * size, |range: Range<usize>| {
        let mut scores = vec![0.0; count * tokens];
        for query in range {
            let key = head(query / (queries / keys));
            multiply(
                &mut Block::rows_of(&mut scores, tokens, 0..tokens),
                0.0,
                &View::rows_of(rows, width, head(query)),
                &View::rows_of(seen.keys, keys * size, key.clone()).transposed(),
            );
            for (place, row) in scores.chunks_exact_mut(tokens).enumerate() {
                let (own, later) = row.split_at_mut(tokens - count + place + 1);
                let length = own.len();
                softmax(own, length, (size as f32).powf(-0.5));
                later.fill(0.0);
            }
            // SAFETY: the workers get different heads, and nobody else uses `into`.
            let mut block = unsafe { target.block(0..count, head(query)) };
            let shares = View::rows_of(&scores, tokens, 0..tokens);
            multiply(&mut block, 0.0, &shares, &View::rows_of(seen.values, keys * size, key));
        }
    });
}

#[cfg(test)]
mod tests;
