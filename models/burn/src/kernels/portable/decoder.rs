//! A decoder's steps from plain tensor operations.

use burn_tensor::backend::Backend;
use burn_tensor::{Bool, DType, Int, Tensor, activation};

use super::{PaddedPlan, Portable};
use crate::config::decoder::Heads;
use crate::kernels::decoder::{Angles, DecoderKernels, RmsNorm};

impl<B: Backend> DecoderKernels<B> for Portable {
    fn rms_norm(&self, x: Tensor<B, 2>, norm: &RmsNorm<B>) -> Tensor<B, 2> {
        let format = x.dtype();
        let [rows, columns] = x.dims();
        let [_, scaled] = norm.weight.dims();
        let part = x.clone().narrow(1, 0, scaled).cast(DType::F32);
        let groups = part.reshape([rows * scaled / norm.group, norm.group]);
        let squares = groups.clone().powi_scalar(2).mean_dim(1);
        let part = (groups / (squares + norm.epsilon).sqrt()).reshape([rows, scaled]);
        let part = (part * norm.weight.clone().cast(DType::F32)).cast(format);
        match columns - scaled {
            0 => part,
            rest => Tensor::cat(vec![part, x.narrow(1, scaled, rest)], 1),
        }
    }

    fn rotate(&self, x: Tensor<B, 2>, angles: &Angles<B>, heads: usize) -> Tensor<B, 2> {
        let [rows, columns] = x.dims();
        let [_, half] = angles.cosines.dims();
        let turned = heads * 2 * half;
        let pairs = x.clone().narrow(1, 0, turned).reshape([rows, heads, 2, half]);
        let part = |index: usize| pairs.clone().narrow(2, index, 1);
        let shape = [rows, 1, 1, half];
        let (cosines, sines) =
            (angles.cosines.clone().reshape(shape), angles.sines.clone().reshape(shape));
        let first = part(0) * cosines.clone() - part(1) * sines.clone();
        let second = part(1) * cosines + part(0) * sines;
        let part = Tensor::cat(vec![first, second], 2).reshape([rows, turned]);
        match columns - turned {
            0 => part,
            rest => Tensor::cat(vec![part, x.narrow(1, turned, rest)], 1),
        }
    }

    /// Padding stands at the end of a sequence, where no token before it looks.
    fn causal_attention(
        &self,
        qkv: Tensor<B, 2>,
        plan: &PaddedPlan<B>,
        heads: Heads,
    ) -> Tensor<B, 2> {
        let Heads { queries, keys, size } = heads;
        let (sequences, width, group) = (plan.sequences, plan.width, queries / keys);
        let device = qkv.device();
        // [sequences, heads, width, size]
        let part = |first: usize, count: usize| {
            let columns = qkv.clone().narrow(1, first * size, count * size);
            columns.reshape([sequences, width, count, size]).swap_dims(1, 2)
        };
        // All queries of one key one below the other.
        let query = part(0, queries).reshape([sequences, keys, group * width, size]);
        let query = query * (size as f64).powf(-0.5);
        let scores = query.matmul(part(queries, keys).swap_dims(2, 3));
        let format = scores.dtype();
        let places = Tensor::<B, 1, Int>::arange(0..width as i64, &device);
        let later: Tensor<B, 2, Bool> = places
            .clone()
            .reshape([1, width])
            .expand([width, width])
            .greater(places.reshape([width, 1]).expand([width, width]));
        let shape = [sequences, keys, group, width, width];
        let scores = scores.cast(DType::F32).reshape(shape);
        let mask = later.reshape([1, 1, 1, width, width]).expand(shape);
        let scores = scores.mask_fill(mask, f32::NEG_INFINITY);
        let shares = activation::softmax(scores, 4).cast(format);
        let shares = shares.reshape([sequences, keys, group * width, width]);
        let answer = shares.matmul(part(queries + keys, keys));
        let answer = answer.reshape([sequences, queries, width, size]).swap_dims(1, 2);
        answer.reshape([sequences * width, queries * size])
    }

    fn silu_gate(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let [_, columns] = x.dims();
        let half = columns / 2;
        activation::silu(x.clone().narrow(1, 0, half)) * x.narrow(1, half, half)
    }
}
