//! The steps that decoders, and CLIP's tower for texts, need beside those of BERT.

use burn_tensor::Tensor;
use burn_tensor::backend::Backend;

use super::Kernels;
use crate::config::decoder::Heads;

/// Division by the root of the mean square (arXiv:1910.07467), over each `group` of columns.
#[derive(Debug, Clone)]
pub(crate) struct RmsNorm<B: Backend> {
    /// `[1, columns]`, a multiple of `group`; columns beyond these stay as they are.
    pub(crate) weight: Tensor<B, 2>,
    pub(crate) group: usize,
    pub(crate) epsilon: f64,
}

/// How far the pairs of each row are turned, both of shape `[rows, head size / 2]`.
#[derive(Debug, Clone)]
pub(crate) struct Angles<B: Backend> {
    pub(crate) cosines: Tensor<B, 2>,
    pub(crate) sines: Tensor<B, 2>,
}

/// How one device computes a decoder's steps.
pub(crate) trait DecoderKernels<B: Backend>: Kernels<B> {
    fn rms_norm(&self, x: Tensor<B, 2>, norm: &RmsNorm<B>) -> Tensor<B, 2>;

    /// Turns the first `heads` heads of each row; component `i` of a head makes a pair with
    /// component `i + size / 2`.
    fn rotate(&self, x: Tensor<B, 2>, angles: &Angles<B>, heads: usize) -> Tensor<B, 2>;

    /// Attention of every token to itself and those before it. `qkv` holds all queries, keys
    /// and values side by side, shape `[rows, (queries + 2 · keys) · size]`; the answer has
    /// shape `[rows, queries · size]`.
    fn causal_attention(&self, qkv: Tensor<B, 2>, plan: &Self::Plan, heads: Heads) -> Tensor<B, 2>;

    /// `silu(a) · b` of the first and the second half of each row, with `silu(x) = x · σ(x)`.
    fn silu_gate(&self, x: Tensor<B, 2>) -> Tensor<B, 2>;
}

#[cfg(all(test, feature = "cpu"))]
mod tests;
