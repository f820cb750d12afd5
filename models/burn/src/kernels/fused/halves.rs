//! Steps on layers in bf16, on the instructions that were chosen.

use std::ops::Range;

use burn_flex::{Flex, FlexTensor, Layout};
use burn_tensor::{Bytes, DType, Shape, Tensor};
use half::bf16;

use super::arithmetic::Scale;
use super::single::Then;
use super::wrap;
use crate::checkpoint::HostTensor;
use crate::kernels::bf16::dense::{self, Layer};
use crate::kernels::bf16::{Amx, Avx512, attention, panels};
use crate::kernels::instructions::Instructions;
use crate::kernels::workers::Workers;

/// Instructions that are available here; the proof that the steps below may run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chosen(Instructions);

impl Chosen {
    pub(super) fn new(instructions: Instructions) -> Option<Self> {
        instructions.available().then_some(Chosen(instructions))
    }
}

/// Calls a step for the product of the chosen instructions.
macro_rules! on {
    ($chosen:expr, $module:ident :: $step:ident ($($argument:expr),*)) => {
        // SAFETY: a `Chosen` exists only for instructions that are available.
        unsafe {
            match $chosen.0 {
                Instructions::Amx => $module::$step::<Amx>($($argument),*),
                Instructions::Avx512Bf16 => $module::$step::<Avx512>($($argument),*),
            }
        }
    };
}

/// A weight, row-major of shape `[inputs, outputs]`, packed in bf16 for the products.
pub(super) fn keep(weight: &HostTensor) -> Tensor<Flex, 2> {
    let (packed, first) = panels::pack(&weight.values, weight.shape[0], weight.shape[1]);
    let count = packed.len() - panels::SPARE;
    let layout = Layout::new(Shape::from([1, count]), vec![count as isize, 1], first);
    wrap(FlexTensor::new(Bytes::from_elems(packed), layout, DType::BF16))
}

/// A layer whose weight is kept so.
pub(super) fn layer<'a>(weight: &'a FlexTensor, bias: &'a [f32], inputs: usize) -> Layer<'a> {
    let start = weight.layout().start_offset();
    let panels = &weight.storage::<bf16>()[start..start + weight.layout().num_elements()];
    Layer { panels, bias, inputs }
}

pub(super) fn linear(
    chosen: Chosen,
    workers: &Workers<'_>,
    x: &[f32],
    layer: &Layer<'_>,
    then: Then,
) -> Vec<f32> {
    on!(chosen, dense::linear(workers, x, layer, then == Then::Gelu))
}

pub(super) fn add_norm(
    chosen: Chosen,
    workers: &Workers<'_>,
    x: &[f32],
    layer: &Layer<'_>,
    states: &mut [f32],
    norm: &Scale<'_>,
) {
    on!(chosen, dense::add_norm(workers, x, layer, states, norm));
}

pub(super) fn feed_forward(
    chosen: Chosen,
    workers: &Workers<'_>,
    states: &mut [f32],
    [wide, narrow]: &[Layer<'_>; 2],
    norm: &Scale<'_>,
) {
    on!(chosen, dense::feed_forward(workers, states, wide, narrow, norm));
}

pub(super) fn self_attention(
    chosen: Chosen,
    workers: &Workers<'_>,
    x: &[f32],
    layer: &Layer<'_>,
    spans: &[Range<usize>],
    heads: usize,
) -> Vec<f32> {
    on!(chosen, attention::self_attention(workers, x, layer, spans, heads))
}
