//! The steps on layers in bf16 where no chip of the architecture multiplies it: none of them
//! can be called, for there is no `Chosen`.

use std::ops::Range;

use burn_flex::{Flex, FlexTensor};
use burn_tensor::Tensor;

use super::arithmetic::Scale;
use super::single::Then;
use super::{F32, Format};
use crate::checkpoint::HostTensor;
use crate::kernels::instructions::Instructions;
use crate::kernels::workers::Workers;

/// Instructions that are available here: none.
#[derive(Debug, Clone, Copy)]
pub(super) enum Chosen {}

/// A layer of which there is none.
pub(super) struct Layer;

impl Chosen {
    pub(super) fn new(_instructions: Instructions) -> Option<Self> {
        None
    }
}

pub(super) fn keep(weight: &HostTensor) -> Tensor<Flex, 2> {
    F32::keep(weight.clone())
}

pub(super) fn layer(_weight: &FlexTensor, _bias: &[f32], _inputs: usize) -> Layer {
    Layer
}

pub(super) fn linear(
    chosen: Chosen,
    _workers: &Workers<'_>,
    _x: &[f32],
    _layer: &Layer,
    _then: Then,
) -> Vec<f32> {
    match chosen {}
}

pub(super) fn add_norm(
    chosen: Chosen,
    _workers: &Workers<'_>,
    _x: &[f32],
    _layer: &Layer,
    _states: &mut [f32],
    _norm: &Scale<'_>,
) {
    match chosen {}
}

pub(super) fn feed_forward(
    chosen: Chosen,
    _workers: &Workers<'_>,
    _states: &mut [f32],
    _layers: &[Layer; 2],
    _norm: &Scale<'_>,
) {
    match chosen {}
}

pub(super) fn self_attention(
    chosen: Chosen,
    _workers: &Workers<'_>,
    _x: &[f32],
    _layer: &Layer,
    _spans: &[Range<usize>],
    _heads: usize,
) -> Vec<f32> {
    match chosen {}
}
