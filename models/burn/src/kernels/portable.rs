//! Kernels from plain tensor operations, for every backend: padded rows and a mask.

use burn_tensor::backend::Backend;
use burn_tensor::{Bool, DType, Tensor, TensorData, activation};

use super::{Kernels, Linear, Norm};
use crate::checkpoint::HostTensor;
use crate::rows::Rows;

mod decoder;

/// Sums, softmax and normalisation run in f32 whatever the format of the weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;

pub(crate) struct PaddedPlan<B: Backend> {
    sequences: usize,
    width: usize,
    /// True where a key is padding, shape `[sequences, 1, 1, width]`; `None` without padding.
    mask: Option<Tensor<B, 4, Bool>>,
}

impl<B: Backend> Kernels<B> for Portable {
    type Plan = PaddedPlan<B>;

    fn arrange(weight: HostTensor) -> HostTensor {
        weight
    }

    fn rows(&self, sequences: &[&[u32]]) -> Rows {
        Rows::padded(sequences)
    }

    fn plan(&self, rows: &Rows, device: &B::Device) -> PaddedPlan<B> {
        let sequences = rows.spans.len();
        let width = rows.len() / sequences.max(1);
        let padding: Vec<bool> = rows
            .spans
            .iter()
            .flat_map(|span| (0..width).map(|place| place >= span.len()))
            .collect();
        let mask = padding
            .contains(&true)
            .then(|| Tensor::from_data(TensorData::new(padding, [sequences, 1, 1, width]), device));
        PaddedPlan { sequences, width, mask }
    }

    fn linear(&self, x: Tensor<B, 2>, layer: &Linear<B>) -> Tensor<B, 2> {
        x.matmul(layer.weight.clone()) + layer.bias.clone()
    }

    fn gelu(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        activation::gelu(x)
    }

    fn attention(&self, qkv: Tensor<B, 2>, plan: &PaddedPlan<B>, heads: usize) -> Tensor<B, 2> {
        let [rows, columns] = qkv.dims();
        let hidden = columns / 3;
        let size = hidden / heads;
        let parts = qkv.reshape([plan.sequences, plan.width, 3, heads, size]);
        // [sequences, heads, width, size], query, key or value by its index.
        let part = |index: usize| {
            let shape = [plan.sequences, plan.width, heads, size];
            parts.clone().narrow(2, index, 1).reshape(shape).swap_dims(1, 2)
        };
        let query = part(0) * (size as f64).powf(-0.5);
        let scores = query.matmul(part(1).swap_dims(2, 3));
        let format = scores.dtype();
        let mut scores = scores.cast(DType::F32);
        if let Some(mask) = &plan.mask {
            let shape = scores.dims();
            scores = scores.mask_fill(mask.clone().expand(shape), f32::NEG_INFINITY);
        }
        let shares = activation::softmax(scores, 3).cast(format);
        shares.matmul(part(2)).swap_dims(1, 2).reshape([rows, hidden])
    }

    fn add_norm(&self, x: Tensor<B, 2>, residual: Tensor<B, 2>, norm: &Norm<B>) -> Tensor<B, 2> {
        let format = x.dtype();
        let sum = x.cast(DType::F32) + residual.cast(DType::F32);
        let centred = sum.clone() - sum.mean_dim(1);
        let variance = centred.clone().powi_scalar(2).mean_dim(1);
        let scaled = centred / (variance + norm.epsilon).sqrt();
        let weight = norm.weight.clone().cast(DType::F32);
        (scaled * weight + norm.bias.clone().cast(DType::F32)).cast(format)
    }
}
