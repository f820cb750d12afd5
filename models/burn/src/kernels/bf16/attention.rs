//! Attention of every sequence to itself, 32 queries at a time.

use std::arch::x86_64::{
    __m512, _mm512_add_ps, _mm512_fmadd_ps, _mm512_mask_mov_ps, _mm512_mask_storeu_ps,
    _mm512_max_ps, _mm512_mul_ps, _mm512_reduce_add_ps, _mm512_reduce_max_ps, _mm512_roundscale_ps,
    _mm512_scalef_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_sub_ps,
};
use std::ops::Range;

use half::bf16;

use super::dense::{Layer, rounded};
use super::lines::{Left, Lines, join, masks};
use super::panels::{interleave, transpose};
use super::sinks::row_of;
use super::{BLOCK, Line, Operands, Product, Sums, WIDE};
use crate::kernels::workers::{STEP, Workers};

/// What attention reads and how it is cut into sequences and heads.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Sequences<'a> {
    /// Row-major of shape `[rows, 3 · hidden]`: query, key and value side by side.
    pub(super) qkv: &'a [bf16],
    pub(super) spans: &'a [Range<usize>],
    pub(super) hidden: usize,
    pub(super) heads: usize,
}

/// Attention to what `layer` makes of `x`: query, key and value are never written in f32.
///
/// # Safety
/// The chip and the system let `P` run.
pub(in crate::kernels) unsafe fn self_attention<P: Product>(
    workers: &Workers<'_>,
    x: &[f32],
    layer: &Layer<'_>,
    spans: &[Range<usize>],
    heads: usize,
) -> Vec<f32> {
    let columns = layer.bias.len();
    let rows = x.len() / layer.inputs;
    let mut room = Lines::take((rows * columns).div_ceil(WIDE));
    let qkv = &mut numbers(&mut room)[..rows * columns];
    // SAFETY: by the caller.
    unsafe {
        rounded::<P>(workers, x, layer, qkv);
        attention::<P>(workers, &Sequences { qkv, spans, hidden: columns / 3, heads })
    }
}

fn numbers(lines: &mut [Line]) -> &mut [bf16] {
    let count = lines.len() * WIDE;
    // SAFETY: a line is 32 numbers, without any padding.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), count) }
}

/// The contexts, shape `[rows, hidden]`.
///
/// # Safety
/// The chip and the system let `P` run.
unsafe fn attention<P: Product>(workers: &Workers<'_>, of: &Sequences<'_>) -> Vec<f32> {
    let mut answer = vec![0.0; of.qkv.len() / 3];
    let into = Into(answer.as_mut_ptr());
    let count = of.spans.len() * of.heads;
    let size = (of.hidden / of.heads).next_multiple_of(WIDE);
    let squares: usize = of.spans.iter().map(|span| span.len() * span.len()).sum();
    let operations = 4 * squares * size / of.spans.len().max(1);
    workers.each(count, operations, |heads: Range<usize>| {
        let into = &into;
        for index in heads {
            let span = &of.spans[index / of.heads];
            // SAFETY: by the caller; no two calls get the same head of the same sequence.
            unsafe {
                let head = Head::read(of, span, index % of.heads);
                head.attend::<P>(workers, into.0.add(span.start * of.hidden), of.hidden);
            }
        }
    });
    answer
}

struct Into(*mut f32);

// SAFETY: each head of each sequence is written by one thread.
unsafe impl Sync for Into {}

/// One head of one sequence as operands of the products.
struct Head {
    /// Blocks of the queries.
    queries: Left,
    /// A panel for each 32 keys, as deep as a query.
    keys: Lines,
    /// A panel for each 32 numbers of a value, as deep as there are tokens.
    values: Lines,
    head: usize,
    size: usize,
}

impl Head {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    fn read(of: &Sequences<'_>, span: &Range<usize>, head: usize) -> Self {
        let (tokens, size) = (span.len(), of.hidden / of.heads);
        let depth = size.div_ceil(WIDE);
        let panels = tokens.div_ceil(WIDE);
        let part = |part: usize| {
            let mut rows = Left::room(tokens, size);
            let first = part * of.hidden + head * size;
            for token in 0..tokens {
                let row = &of.qkv[(span.start + token) * 3 * of.hidden + first..][..size];
                for (tile, numbers) in row.chunks(WIDE).enumerate() {
                    let at = rows.place(token, tile);
                    let mut line = Line::ZERO;
                    line.0[..numbers.len()].copy_from_slice(numbers);
                    rows.lines[at] = line;
                }
            }
            rows.clear_below();
            rows
        };
        let keys_rows = part(1);
        let mut keys = Lines::take(panels * depth * 2 * BLOCK);
        let blocks = keys_rows.lines.chunks_exact(depth * BLOCK);
        for (index, block) in blocks.enumerate() {
            let panel = &mut keys[index / 2 * depth * 2 * BLOCK..][..depth * 2 * BLOCK];
            transpose(block, panel, index % 2);
        }
        if tokens.div_ceil(BLOCK) % 2 == 1 {
            let panel = &mut keys[(panels - 1) * depth * 2 * BLOCK..];
            for tile in panel.chunks_exact_mut(2 * BLOCK) {
                tile[BLOCK..].fill(Line::ZERO);
            }
        }
        let values_rows = part(2);
        let mut values = Lines::take(depth * panels * WIDE);
        let mut column = Lines::take(panels * WIDE);
        for tile in 0..depth {
            for (token, line) in column.iter_mut().enumerate() {
                *line = match token < tokens {
                    true => values_rows.lines[values_rows.place(token, tile)],
                    false => Line::ZERO,
                };
            }
            interleave(&column, &mut values[tile * panels * WIDE..][..panels * WIDE]);
        }
        Head { queries: part(0), keys, values, head, size }
    }

    /// `softmax(queries · keysᵀ / √size) · values` into this head's columns.
    ///
    /// # Safety
    /// The chip and the system let `P` run; `into` has a row of `stride` numbers for each
    /// token, and nobody else touches this head's columns.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn attend<P: Product>(&self, workers: &Workers<'_>, into: *mut f32, stride: usize) {
        let tokens = self.queries.rows;
        let panels = tokens.div_ceil(WIDE);
        let scale = (self.size as f32).powf(-0.5) * std::f32::consts::LOG2_E;
        let mut scores = vec![Sums::ZERO; panels];
        let mut shares = Left::room(WIDE, panels * WIDE);
        let operations = 4 * WIDE * tokens * self.size.next_multiple_of(WIDE);
        let together = (STEP / operations.max(1)).max(1) * WIDE;
        for start in (0..tokens).step_by(together) {
            if start > 0 {
                workers.wait();
            }
            // SAFETY: by the caller.
            let ready = unsafe { P::begin() };
            for first in (start..tokens.min(start + together)).step_by(WIDE) {
                let rows = WIDE.min(tokens - first);
                // SAFETY: by the caller; these are rows of this head.
                unsafe {
                    self.score(&ready, first, rows, &mut scores);
                    let inverses = softmax(&scores, tokens, rows, scale, &mut shares);
                    let into = into.add(first * stride + self.head * self.size);
                    self.mix(&ready, rows, &shares, &inverses, into, stride);
                }
            }
        }
    }

    /// Products of `rows` queries with all keys, a square for each 32 of these.
    ///
    /// # Safety
    /// The chip and the system let `P` run.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn score<P: Product>(&self, ready: &P, first: usize, rows: usize, scores: &mut [Sums]) {
        let depth = self.queries.depth;
        let panels = self.keys.chunks_exact(depth * 2 * BLOCK);
        for (panel, into) in panels.zip(scores) {
            let operands = Operands {
                left: &raw const self.queries.lines[self.queries.place(first, 0)],
                left_step: depth * BLOCK,
                blocks: rows.div_ceil(BLOCK),
                right: panel.as_ptr().cast(),
                depth,
                into,
                keep: false,
            };
            // SAFETY: by the caller; both operands are `depth` tiles deep.
            unsafe { ready.run(&operands) }
        }
    }

    /// Sums of the values by their shares, times the inverses.
    ///
    /// # Safety
    /// The chip and the system let `P` run; `into` has `rows` rows.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn mix<P: Product>(
        &self,
        ready: &P,
        rows: usize,
        shares: &Left,
        inverses: &[f32; WIDE],
        into: *mut f32,
        stride: usize,
    ) {
        let depth = shares.depth;
        for (tile, panel) in self.values.chunks_exact(depth * WIDE).enumerate() {
            let mut sums = Sums::ZERO;
            let operands = Operands {
                left: shares.lines.as_ptr(),
                left_step: depth * BLOCK,
                blocks: rows.div_ceil(BLOCK),
                right: panel.as_ptr().cast(),
                depth,
                into: &raw mut sums,
                keep: false,
            };
            // SAFETY: by the caller; both operands are `depth` tiles deep.
            unsafe { ready.run(&operands) }
            let masks = masks(self.size - tile * WIDE);
            for (row, inverse) in inverses.iter().enumerate().take(rows) {
                let sums = row_of(&sums, row);
                for half in 0..2 {
                    let value = _mm512_mul_ps(sums[half], _mm512_set1_ps(*inverse));
                    let into = into.wrapping_add(row * stride + tile * WIDE + half * BLOCK);
                    // SAFETY: by the caller; the mask ends where the head does.
                    unsafe { _mm512_mask_storeu_ps(into, masks[half], value) }
                }
            }
        }
    }
}

/// `2^(scale · (score − largest))` of each row, rounded to bf16 as the left operand of the
/// next product, and the inverse of each row's sum.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn softmax(
    scores: &[Sums],
    tokens: usize,
    rows: usize,
    scale: f32,
    shares: &mut Left,
) -> [f32; WIDE] {
    let mut inverses = [0.0; WIDE];
    let last = masks(tokens - (scores.len() - 1) * WIDE);
    // Far below any score, and yet finite: the distance between infinities is no number.
    let below = _mm512_set1_ps(-1e30);
    let read = |panel: usize, row: usize| {
        let [low, high] = row_of(&scores[panel], row);
        match panel + 1 == scores.len() {
            true => {
                [_mm512_mask_mov_ps(below, last[0], low), _mm512_mask_mov_ps(below, last[1], high)]
            }
            false => [low, high],
        }
    };
    let scale = _mm512_set1_ps(scale);
    for (row, inverse) in inverses.iter_mut().enumerate().take(rows) {
        let mut top = below;
        for panel in 0..scores.len() {
            let [low, high] = read(panel, row);
            top = _mm512_max_ps(top, _mm512_max_ps(low, high));
        }
        let top = _mm512_mul_ps(_mm512_set1_ps(_mm512_reduce_max_ps(top)), scale);
        let mut sum = _mm512_setzero_ps();
        for panel in 0..scores.len() {
            let [low, high] = read(panel, row);
            let powers = [
                power(_mm512_sub_ps(_mm512_mul_ps(low, scale), top)),
                power(_mm512_sub_ps(_mm512_mul_ps(high, scale), top)),
            ];
            sum = _mm512_add_ps(sum, _mm512_add_ps(powers[0], powers[1]));
            let at = shares.place(row, panel);
            shares.lines[at] = join(powers);
        }
        *inverse = 1.0 / _mm512_reduce_add_ps(sum);
    }
    inverses
}

/// `2ˣ` to a relative 4e-6 for finite `x`: `2^n · 2^r` with |r| ≤ ½, the
/// second factor by its least-maximum fit of degree 4.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn power(x: __m512) -> __m512 {
    const SERIES: [f32; 5] = [9.570_097e-3, 5.591_786e-2, 2.402_474_4e-1, 6.931_218e-1, 1.0];
    let whole = _mm512_roundscale_ps::<0>(x);
    let rest = _mm512_sub_ps(x, whole);
    let mut sum = _mm512_set1_ps(SERIES[0]);
    for coefficient in &SERIES[1..] {
        sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(*coefficient));
    }
    _mm512_scalef_ps(sum, whole)
}
