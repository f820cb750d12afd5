//! Dense layers: blocks of rows by panels of the weight.

use std::ops::Range;

use half::bf16;

use super::lines::Left;
use super::panels::panel_size;
use super::sinks::{Gelu, Round, Sink, Write, WriteGelu};
use super::{BLOCK, Operands, Product, Sums, WIDE};
use crate::kernels::fused::arithmetic::Scale;
use crate::kernels::workers::Workers;

/// Rows that go through a layer together: enough to pay for reading the weight, few enough
/// that the widest activations of usual models (4 · hidden) stay in a core's second cache.
const CHUNK: usize = 256;

/// Tiles of depth whose half of a panel stays in the first cache while all rows pass by.
const DEPTH: usize = 16;

/// A dense layer as the products read it.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Layer<'a> {
    /// Panels as `pack` made them, for `bias.len()` outputs.
    pub(in crate::kernels) panels: &'a [bf16],
    pub(in crate::kernels) bias: &'a [f32],
    pub(in crate::kernels) inputs: usize,
}

impl Layer<'_> {
    fn outputs(&self) -> usize {
        self.bias.len()
    }
}

/// `x · weight + bias`, with `gelu` the GELU of it, row-major.
///
/// # Safety
/// The chip and the system let `P` run.
pub(in crate::kernels) unsafe fn linear<P: Product>(
    workers: &Workers<'_>,
    x: &[f32],
    layer: &Layer<'_>,
    gelu: bool,
) -> Vec<f32> {
    let mut answer = vec![0.0; x.len() / layer.inputs * layer.outputs()];
    let chunks = x.chunks(CHUNK * layer.inputs);
    for (x, answer) in chunks.zip(answer.chunks_mut(CHUNK * layer.outputs())) {
        let (bias, into) = (layer.bias, answer.as_mut_ptr());
        // SAFETY: by the caller; `answer` has the rows of `x` and the columns of `bias`.
        unsafe {
            let left = Left::round(x, layer.inputs);
            if gelu {
                product::<P, _>(workers, &left, layer, &WriteGelu { bias, into });
            } else {
                product::<P, _>(workers, &left, layer, &Write::<false> { bias, into });
            }
        }
    }
    answer
}

/// `x · weight + bias` in bf16, row-major.
///
/// # Safety
/// The chip and the system let `P` run.
pub(super) unsafe fn rounded<P: Product>(
    workers: &Workers<'_>,
    x: &[f32],
    layer: &Layer<'_>,
    into: &mut [bf16],
) {
    let chunks = x.chunks(CHUNK * layer.inputs);
    for (x, into) in chunks.zip(into.chunks_mut(CHUNK * layer.outputs())) {
        // SAFETY: by the caller; `into` has the rows of `x` and the columns of `bias`.
        unsafe {
            let left = Left::round(x, layer.inputs);
            let sink = Round { bias: layer.bias, into: into.as_mut_ptr() };
            product::<P, _>(workers, &left, layer, &sink);
        }
    }
}

/// `states = norm(states + x · weight + bias)`.
///
/// # Safety
/// The chip and the system let `P` run.
pub(in crate::kernels) unsafe fn add_norm<P: Product>(
    workers: &Workers<'_>,
    x: &[f32],
    layer: &Layer<'_>,
    states: &mut [f32],
    norm: &Scale<'_>,
) {
    let chunks = x.chunks(CHUNK * layer.inputs);
    for (x, states) in chunks.zip(states.chunks_mut(CHUNK * layer.outputs())) {
        // SAFETY: by the caller; `states` has the rows of `x`.
        unsafe { finish::<P>(workers, &Left::round(x, layer.inputs), layer, states, norm) }
    }
}

/// `states = norm(states + narrow(gelu(wide(states))))`.
///
/// # Safety
/// The chip and the system let `P` run.
pub(in crate::kernels) unsafe fn feed_forward<P: Product>(
    workers: &Workers<'_>,
    states: &mut [f32],
    wide: &Layer<'_>,
    narrow: &Layer<'_>,
    norm: &Scale<'_>,
) {
    for states in states.chunks_mut(CHUNK * wide.inputs) {
        // SAFETY: by the caller; `inner` has room for the rows of `states` and the columns
        // of `wide`.
        unsafe {
            let left = Left::round(states, wide.inputs);
            let mut inner = Left::room(left.rows, wide.outputs());
            inner.clear_below();
            let sink = Gelu::new(wide.bias, &mut inner);
            product::<P, _>(workers, &left, wide, &sink);
            finish::<P>(workers, &inner, narrow, states, norm);
        }
    }
}

/// # Safety
/// The chip and the system let `P` run, and `states` has the rows of `left`.
unsafe fn finish<P: Product>(
    workers: &Workers<'_>,
    left: &Left,
    layer: &Layer<'_>,
    states: &mut [f32],
    norm: &Scale<'_>,
) {
    let sink = Write::<true> { bias: layer.bias, into: states.as_mut_ptr() };
    // SAFETY: by the caller.
    unsafe { product::<P, _>(workers, left, layer, &sink) };
    norm.apply(states);
}

/// All panels of a layer, shared out among the workers.
///
/// # Safety
/// The chip and the system let `P` run; the sink takes the rows of `left` and the columns
/// of the layer.
unsafe fn product<P: Product, S: Sink>(
    workers: &Workers<'_>,
    left: &Left,
    layer: &Layer<'_>,
    sink: &S,
) {
    let size = panel_size(left.depth);
    let panels = layer.outputs().div_ceil(WIDE);
    assert_eq!(layer.panels.len(), panels * size, "a weight of the layer's shape");
    assert_eq!(layer.inputs.div_ceil(WIDE), left.depth, "a left operand as deep as the weight");
    let operations = 2 * left.rows.next_multiple_of(BLOCK) * left.depth * WIDE * WIDE;
    workers.each(panels, operations, |panels: Range<usize>| {
        // SAFETY: by the caller; no two calls get the same panel.
        unsafe {
            let ready = P::begin();
            let mut sums = [Sums::ZERO; CHUNK / WIDE];
            for panel in panels {
                let right = &layer.panels[panel * size..][..size];
                one_panel(&ready, left, right, &mut sums, |sums, first, rows| {
                    sink.put(sums, first, rows, panel);
                });
            }
        }
    });
}

/// All rows by one panel. Depth goes in parts, so that the part of the panel stays in the
/// first cache.
///
/// # Safety
/// The chip and the system let `P` run; `right` is one panel as deep as `left`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn one_panel<P: Product>(
    ready: &P,
    left: &Left,
    right: &[bf16],
    sums: &mut [Sums; CHUNK / WIDE],
    put: impl Fn(&Sums, usize, usize),
) {
    let part = left.depth.div_ceil(left.depth.div_ceil(DEPTH));
    for start in (0..left.depth).step_by(part) {
        let depth = part.min(left.depth - start);
        for first in (0..left.rows).step_by(WIDE) {
            let rows = WIDE.min(left.rows - first);
            // One place for all as long as nothing has to be kept.
            let into = &mut sums[if part == left.depth { 0 } else { first / WIDE }];
            let operands = Operands {
                left: &raw const left.lines[left.place(first, start)],
                left_step: left.depth * BLOCK,
                blocks: rows.div_ceil(BLOCK),
                right: &raw const right[panel_size(start)],
                depth,
                into,
                keep: start > 0,
            };
            // SAFETY: `left` has blocks for its rows and `right` is as deep.
            unsafe { ready.run(&operands) };
            if start + depth == left.depth {
                put(into, first, rows);
            }
        }
    }
}
