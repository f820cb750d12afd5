//! The steps of an encoder that differ between devices.

use burn_tensor::Tensor;
use burn_tensor::backend::Backend;

use crate::checkpoint::HostTensor;
use crate::rows::Rows;

pub(crate) mod decoder;
#[cfg(feature = "cpu")]
pub(crate) mod fused;
#[cfg(any(feature = "cuda", all(test, feature = "cpu")))]
pub(crate) mod portable;

/// A dense layer: `weight` as [`Kernels::arrange`] left it, `bias` of shape `[1, outputs]`.
#[derive(Debug, Clone)]
pub(crate) struct Linear<B: Backend> {
    pub(crate) weight: Tensor<B, 2>,
    pub(crate) bias: Tensor<B, 2>,
}

/// Layer normalisation over the last axis; `weight` and `bias` of shape `[1, hidden]`.
#[derive(Debug, Clone)]
pub(crate) struct Norm<B: Backend> {
    pub(crate) weight: Tensor<B, 2>,
    pub(crate) bias: Tensor<B, 2>,
    pub(crate) epsilon: f64,
}

/// How one device computes. Hidden states are matrices, one row for each token.
pub(crate) trait Kernels<B: Backend>: Sync {
    /// What attention needs to know of the rows, prepared once for all layers.
    type Plan;

    /// Brings a weight, row-major of shape `[inputs, outputs]`, into the order that
    /// `linear` reads best. Done once, when the weights are loaded.
    fn arrange(weight: HostTensor) -> HostTensor;

    /// Lays out sequences as this device likes them.
    fn rows(&self, sequences: &[&[u32]]) -> Rows;

    fn plan(&self, rows: &Rows, device: &B::Device) -> Self::Plan;

    /// `x · weight + bias`.
    fn linear(&self, x: Tensor<B, 2>, layer: &Linear<B>) -> Tensor<B, 2>;

    /// The exact GELU, `x · Φ(x)`.
    fn gelu(&self, x: Tensor<B, 2>) -> Tensor<B, 2>;

    /// Multi-head attention of every sequence to itself. `qkv` holds query, key and value
    /// side by side, shape `[rows, 3 · hidden]`; the answer has shape `[rows, hidden]`.
    fn attention(&self, qkv: Tensor<B, 2>, plan: &Self::Plan, heads: usize) -> Tensor<B, 2>;

    /// The normalised sum of both.
    fn add_norm(&self, x: Tensor<B, 2>, residual: Tensor<B, 2>, norm: &Norm<B>) -> Tensor<B, 2>;
}

#[cfg(all(test, feature = "cpu"))]
mod tests;
