//! What stands on top of BERT's hidden states: a score, or a weight for each word.

use burn_tensor::backend::Backend;
use burn_tensor::{Tensor, activation};

use super::pool::{indices, read};
use crate::bert::{linear, norm};
use crate::checkpoint::HostHead;
use crate::kernels::{Kernels, Linear, Norm};
use crate::rows::Rows;

#[derive(Debug, Clone)]
pub(crate) enum Head<B: Backend> {
    /// The hidden states themselves are wanted.
    None,
    Score(ScoreHead<B>),
    Words(WordsHead<B>),
}

#[derive(Debug, Clone)]
pub(crate) struct ScoreHead<B: Backend> {
    dense: Linear<B>,
    /// Tanh after `dense`; else the greater of it and 0.
    tanh: bool,
    output: Linear<B>,
}

#[derive(Debug, Clone)]
pub(crate) struct WordsHead<B: Backend> {
    dense: Linear<B>,
    norm: Norm<B>,
    output: Linear<B>,
}

impl<B: Backend> Head<B> {
    pub(crate) fn upload<K: Kernels<B>>(head: HostHead, epsilon: f64, device: &B::Device) -> Self {
        match head {
            HostHead::None => Head::None,
            HostHead::Score { dense, tanh, output } => Head::Score(ScoreHead {
                dense: linear::<B, K>(&[dense], device),
                tanh,
                output: linear::<B, K>(&[output], device),
            }),
            HostHead::Words { dense, norm: scale, output } => Head::Words(WordsHead {
                dense: linear::<B, K>(&[dense], device),
                norm: norm(scale, epsilon, device),
                output: linear::<B, K>(&[output], device),
            }),
        }
    }
}

impl<B: Backend> ScoreHead<B> {
    /// The raw logit of each sequence, from the state of its first token.
    pub(crate) fn score<K: Kernels<B>>(
        &self,
        kernels: &K,
        states: Tensor<B, 2>,
        rows: &Rows,
        device: &B::Device,
    ) -> Result<Vec<f32>, String> {
        let firsts: Vec<i32> = rows.spans.iter().map(|span| span.start as i32).collect();
        let first = states.select(0, indices(&firsts, device));
        let dense = kernels.linear(first, &self.dense);
        let dense = if self.tanh { dense.tanh() } else { activation::relu(dense) };
        read(kernels.linear(dense, &self.output))
    }
}

impl<B: Backend> WordsHead<B> {
    /// The weight of each word for each sequence: the greatest `log(1 + max(logit, 0))` over
    /// its tokens, special ones too (SPLADE, arXiv:2109.10086).
    pub(crate) fn weigh<K: Kernels<B>>(
        &self,
        kernels: &K,
        states: Tensor<B, 2>,
        rows: &Rows,
    ) -> Result<Vec<f32>, String> {
        let [_, hidden] = states.dims();
        let mut weights = Vec::new();
        // One sequence at a time: the logits of all tokens would be as long as the vocabulary.
        for span in &rows.spans {
            let own = states.clone().slice([span.clone(), 0..hidden]);
            let dense = kernels.gelu(kernels.linear(own, &self.dense));
            let nothing = dense.zeros_like();
            let logits = kernels.linear(kernels.add_norm(dense, nothing, &self.norm), &self.output);
            // The logarithm grows with the logit, so that the greatest comes first.
            let greatest = read(logits.max_dim(0))?;
            weights.extend(greatest.into_iter().map(|logit| logit.max(0.0).ln_1p()));
        }
        Ok(weights)
    }
}
