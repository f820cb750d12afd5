//! The steps of an encoder that differ between devices.

use burn_tensor::backend::Backend;
use burn_tensor::{Tensor, TensorData};

use crate::checkpoint::HostTensor;
use crate::rows::Rows;

#[cfg(all(feature = "cpu", target_arch = "x86_64"))]
mod bf16;
pub(crate) mod decoder;
#[cfg(feature = "cpu")]
pub(crate) mod fused;
#[cfg(feature = "cpu")]
pub(crate) mod generation;
#[cfg(feature = "cpu")]
pub(crate) mod instructions;
#[cfg(any(feature = "cuda", all(test, feature = "cpu")))]
pub(crate) mod portable;
#[cfg(feature = "cpu")]
pub(crate) mod quantised;
#[cfg(feature = "cpu")]
pub(crate) mod workers;

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

    /// Brings a dense layer onto the device: `weight` as [`arrange`](Kernels::arrange) takes
    /// it, `bias` of shape `[1, outputs]`. Done once, when the weights are loaded.
    fn dense(weight: HostTensor, bias: HostTensor, device: &B::Device) -> Linear<B> {
        let matrix = |tensor: HostTensor| {
            Tensor::from_data(TensorData::new(tensor.values, tensor.shape), device)
        };
        Linear { weight: matrix(Self::arrange(weight)), bias: matrix(bias) }
    }

    /// Lays out sequences as this device likes them.
    fn rows(&self, sequences: &[&[u32]]) -> Rows;

    fn plan(&self, rows: &Rows, device: &B::Device) -> Self::Plan;

    /// `x · weight + bias`.
    fn linear(&self, x: Tensor<B, 2>, layer: &Linear<B>) -> Tensor<B, 2>;

    /// The exact GELU, `x · Φ(x)`.
    fn gelu(&self, x: Tensor<B, 2>) -> Tensor<B, 2>;

    /// `gelu(linear(x, layer))`.
    fn linear_gelu(&self, x: Tensor<B, 2>, layer: &Linear<B>) -> Tensor<B, 2> {
        self.gelu(self.linear(x, layer))
    }

    /// Multi-head attention of every sequence to itself. `qkv` holds query, key and value
    /// side by side, shape `[rows, 3 · hidden]`; the answer has shape `[rows, hidden]`.
    fn attention(&self, qkv: Tensor<B, 2>, plan: &Self::Plan, heads: usize) -> Tensor<B, 2>;

    /// `attention(linear(x, layer), plan, heads)`: `layer` makes query, key and value.
    fn self_attention(
        &self,
        x: Tensor<B, 2>,
        layer: &Linear<B>,
        plan: &Self::Plan,
        heads: usize,
    ) -> Tensor<B, 2> {
        self.attention(self.linear(x, layer), plan, heads)
    }

    /// The normalised sum of both.
    fn add_norm(&self, x: Tensor<B, 2>, residual: Tensor<B, 2>, norm: &Norm<B>) -> Tensor<B, 2>;

    /// `add_norm(linear(x, layer), residual, norm)`.
    fn linear_add_norm(
        &self,
        x: Tensor<B, 2>,
        layer: &Linear<B>,
        residual: Tensor<B, 2>,
        norm: &Norm<B>,
    ) -> Tensor<B, 2> {
        self.add_norm(self.linear(x, layer), residual, norm)
    }

    /// The feed-forward half of a post-LN layer:
    /// `add_norm(linear(linear_gelu(x, wide), narrow), x, norm)`.
    fn feed_forward(
        &self,
        x: Tensor<B, 2>,
        wide: &Linear<B>,
        narrow: &Linear<B>,
        norm: &Norm<B>,
    ) -> Tensor<B, 2> {
        let inner = self.linear_gelu(x.clone(), wide);
        self.linear_add_norm(inner, narrow, x, norm)
    }
}

#[cfg(all(test, feature = "cpu"))]
mod tests;
