//! A decoder's steps on the CPU, in place where that is possible.

use std::ops::Range;

use burn_flex::Flex;
use burn_tensor::Tensor;
use pulp::Arch;

use super::matrix::{Block, View, multiply};
use super::{Format, Fused, arithmetic, storage, tensor, values, wrap};
use crate::config::decoder::Heads;
use crate::kernels::decoder::{Angles, DecoderKernels, RmsNorm};

/// Queries whose scores are computed together: the matrix of scores grows with the length of
/// a text and not with its square.
const QUERIES: usize = 256;

impl<F: Format> DecoderKernels<Flex> for Fused<F> {
    fn rms_norm(&self, x: Tensor<Flex, 2>, norm: &RmsNorm<Flex>) -> Tensor<Flex, 2> {
        let [_, columns] = x.dims();
        let mut x = storage(x);
        let weight = storage(norm.weight.clone());
        let weight = values(&weight);
        let epsilon = norm.epsilon as f32;
        let rows = x.storage_mut::<f32>();
        Arch::new().dispatch(|| {
            for row in rows.chunks_exact_mut(columns) {
                let groups = row[..weight.len()].chunks_exact_mut(norm.group);
                for (group, weight) in groups.zip(weight.chunks_exact(norm.group)) {
                    scale_group(group, weight, epsilon);
                }
            }
        });
        wrap(x)
    }

    fn rotate(&self, x: Tensor<Flex, 2>, angles: &Angles<Flex>, heads: usize) -> Tensor<Flex, 2> {
        let [_, columns] = x.dims();
        let [_, half] = angles.cosines.dims();
        let mut x = storage(x);
        let (cosines, sines) = (storage(angles.cosines.clone()), storage(angles.sines.clone()));
        let (cosines, sines) = (values(&cosines), values(&sines));
        let rows = x.storage_mut::<f32>();
        Arch::new().dispatch(|| {
            for (row, (cosines, sines)) in rows
                .chunks_exact_mut(columns)
                .zip(cosines.chunks_exact(half).zip(sines.chunks_exact(half)))
            {
                for head in row[..heads * 2 * half].chunks_exact_mut(2 * half) {
                    turn(head, cosines, sines);
                }
            }
        });
        wrap(x)
    }

    fn causal_attention(
        &self,
        qkv: Tensor<Flex, 2>,
        plan: &Vec<Range<usize>>,
        heads: Heads,
    ) -> Tensor<Flex, 2> {
        let [rows, columns] = qkv.dims();
        let width = heads.queries * heads.size;
        let qkv = storage(qkv);
        let mut answer = vec![0.0; rows * width];
        let longest = plan.iter().map(Range::len).max().unwrap_or(0);
        let mut scores = vec![0.0; longest.min(QUERIES) * longest];
        for span in plan {
            let parts = &values(&qkv)[span.start * columns..span.end * columns];
            let answer = &mut answer[span.start * width..span.end * width];
            for query in 0..heads.queries {
                attend(parts, answer, &mut scores, heads, query);
            }
        }
        tensor(answer, [rows, width])
    }

    fn silu_gate(&self, x: Tensor<Flex, 2>) -> Tensor<Flex, 2> {
        let [rows, columns] = x.dims();
        let half = columns / 2;
        let x = storage(x);
        let mut answer = Vec::with_capacity(rows * half);
        for row in values(&x).chunks_exact(columns) {
            let (gate, up) = row.split_at(half);
            answer.extend(gate.iter().zip(up).map(|(gate, up)| gate / (1.0 + (-gate).exp()) * up));
        }
        tensor(answer, [rows, half])
    }
}

#[inline(always)]
fn scale_group(group: &mut [f32], weight: &[f32], epsilon: f32) {
    let squares: f32 = group.iter().map(|value| value * value).sum();
    let inverse = 1.0 / (squares / group.len() as f32 + epsilon).sqrt();
    for (value, weight) in group.iter_mut().zip(weight) {
        *value = *value * inverse * weight;
    }
}

#[inline(always)]
fn turn(head: &mut [f32], cosines: &[f32], sines: &[f32]) {
    let (first, second) = head.split_at_mut(cosines.len());
    for (((first, second), cosine), sine) in
        first.iter_mut().zip(second.iter_mut()).zip(cosines).zip(sines)
    {
        let (a, b) = (*first, *second);
        *first = a * cosine - b * sine;
        *second = b * cosine + a * sine;
    }
}

/// One query head of one sequence, block of queries by block of queries.
fn attend(parts: &[f32], answer: &mut [f32], scores: &mut [f32], heads: Heads, query: usize) {
    let Heads { queries, keys, size } = heads;
    let columns = (queries + 2 * keys) * size;
    let width = queries * size;
    let key = query / (queries / keys);
    let head = |index: usize| index * size..(index + 1) * size;
    let tokens = parts.len() / columns;
    for start in (0..tokens).step_by(QUERIES) {
        let end = tokens.min(start + QUERIES);
        let seen = &parts[..end * columns];
        let scores = &mut scores[..(end - start) * end];
        multiply(
            &mut Block::rows_of(scores, end, 0..end),
            0.0,
            &View::rows_of(&seen[start * columns..], columns, head(query)),
            &View::rows_of(seen, columns, head(queries + key)).transposed(),
        );
        for (place, row) in scores.chunks_exact_mut(end).enumerate() {
            let (own, later) = row.split_at_mut(start + place + 1);
            let length = own.len();
            arithmetic::softmax(own, length, (size as f32).powf(-0.5));
            later.fill(0.0);
        }
        multiply(
            &mut Block::rows_of(&mut answer[start * width..end * width], width, head(query)),
            0.0,
            &View::rows_of(scores, end, 0..end),
            &View::rows_of(seen, columns, head(queries + keys + key)),
        );
    }
}
