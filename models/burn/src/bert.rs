//! The BERT encoder after Devlin et al. 2018 (arXiv:1810.04805), post-LN, on any backend;
//! RoBERTa (arXiv:1907.11692) and DistilBERT (arXiv:1910.01108) are the same with other tables.

use burn_tensor::backend::Backend;
use burn_tensor::{Tensor, TensorData};
use headwater_models::{Pooling, Sequence};

use crate::checkpoint::{HostLayer, HostLinear, HostNorm, HostTensor, HostWeights};
use crate::config::BertConfig;
use crate::families::head::Head;
use crate::families::pool::{indices, pool};
use crate::kernels::{Kernels, Linear, Norm};
use crate::rows::Rows;

/// The weights on one device; a clone shares them.
#[derive(Debug, Clone)]
pub(crate) struct Bert<B: Backend> {
    device: B::Device,
    heads: usize,
    /// `[vocabulary, hidden]`.
    words: Tensor<B, 2>,
    /// `[max_positions, hidden]`, with the embedding of token type 0 added.
    positions: Tensor<B, 2>,
    /// What is to be added for each token type, `[2, hidden]`: nothing for type 0. `None` when
    /// the model, or its tokenizer, does not tell the second text of a pair by its type.
    second_type: Option<Tensor<B, 2>>,
    norm: Norm<B>,
    layers: Vec<Layer<B>>,
    head: Head<B>,
}

#[derive(Debug, Clone)]
struct Layer<B: Backend> {
    /// Query, key and value side by side.
    qkv: Linear<B>,
    attention_output: Linear<B>,
    attention_norm: Norm<B>,
    intermediate: Linear<B>,
    output: Linear<B>,
    output_norm: Norm<B>,
}

impl<B: Backend> Bert<B> {
    /// Moves the weights to the device, in the backend's number format. `pair_types` says that
    /// the tokenizer gives the second text of a pair the token type 1.
    pub(crate) fn upload<K: Kernels<B>>(
        weights: HostWeights,
        config: &BertConfig,
        pair_types: bool,
        device: &B::Device,
    ) -> Self {
        let epsilon = config.layer_norm_eps;
        let mut positions = weights.positions;
        let mut types = weights.types.values.chunks_exact(config.hidden_size);
        let first_type = types.next().unwrap_or_default();
        for row in positions.values.chunks_exact_mut(config.hidden_size) {
            for (value, addend) in row.iter_mut().zip(first_type) {
                *value += addend;
            }
        }
        let difference = |second: &[f32]| {
            let mut values = vec![0.0; config.hidden_size];
            values.extend(second.iter().zip(first_type).map(|(second, first)| second - first));
            matrix(HostTensor { shape: vec![2, config.hidden_size], values }, device)
        };
        Bert {
            device: device.clone(),
            heads: config.heads,
            words: matrix(weights.words, device),
            positions: matrix(positions, device),
            second_type: types.next().filter(|_| pair_types).map(difference),
            norm: norm(weights.norm, epsilon, device),
            layers: weights
                .layers
                .into_iter()
                .map(|layer| Layer::upload::<K>(layer, epsilon, device))
                .collect(),
            head: Head::upload::<K>(weights.head, epsilon, device),
        }
    }

    /// One vector for each sequence, row-major, not scaled: the pooled states, or what the
    /// model's head makes of them. Sequences must not be empty, longer than the table of
    /// positions or name an id outside the vocabulary.
    pub(crate) fn embed<K: Kernels<B>>(
        &self,
        kernels: &K,
        sequences: &[&Sequence],
        pooling: Pooling,
    ) -> Result<Vec<f32>, String> {
        let ids: Vec<&[u32]> = sequences.iter().map(|sequence| sequence.ids()).collect();
        let rows = kernels.rows(&ids);
        let states = self.forward(kernels, &rows, self.second_segments(sequences, &rows));
        match &self.head {
            Head::None => pool(states, &rows, pooling, &self.device),
            Head::Score(head) => head.score(kernels, states, &rows, &self.device),
            Head::Words(head) => head.weigh(kernels, states, &rows),
        }
    }

    /// What token type 1 adds to each row, when there are pairs and the model tells them apart.
    fn second_segments(&self, sequences: &[&Sequence], rows: &Rows) -> Option<Tensor<B, 2>> {
        let table = self.second_type.as_ref()?;
        let mut types = vec![0; rows.len()];
        for (sequence, span) in sequences.iter().zip(&rows.spans) {
            if let Sequence::Tokens { second: Some(second), .. } = sequence {
                types[(span.start + second).min(span.end)..span.end].fill(1);
            }
        }
        types.contains(&1).then(|| table.clone().select(0, indices(&types, &self.device)))
    }

    /// The hidden states after the last layer, shape `[rows, hidden]`.
    fn forward<K: Kernels<B>>(
        &self,
        kernels: &K,
        rows: &Rows,
        segments: Option<Tensor<B, 2>>,
    ) -> Tensor<B, 2> {
        let mut words = self.words.clone().select(0, indices(&rows.ids, &self.device));
        if let Some(segments) = segments {
            words = words + segments;
        }
        let positions = self.positions.clone().select(0, indices(&rows.positions, &self.device));
        let mut x = kernels.add_norm(words, positions, &self.norm);
        let plan = kernels.plan(rows, &self.device);
        for layer in &self.layers {
            let context = kernels.self_attention(x.clone(), &layer.qkv, &plan, self.heads);
            x = kernels.linear_add_norm(context, &layer.attention_output, x, &layer.attention_norm);
            x = kernels.feed_forward(x, &layer.intermediate, &layer.output, &layer.output_norm);
        }
        x
    }
}

impl<B: Backend> Layer<B> {
    fn upload<K: Kernels<B>>(layer: HostLayer, epsilon: f64, device: &B::Device) -> Self {
        Layer {
            qkv: linear::<B, K>(&[layer.query, layer.key, layer.value], device),
            attention_output: linear::<B, K>(&[layer.attention_output], device),
            attention_norm: norm(layer.attention_norm, epsilon, device),
            intermediate: linear::<B, K>(&[layer.intermediate], device),
            output: linear::<B, K>(&[layer.output], device),
            output_norm: norm(layer.output_norm, epsilon, device),
        }
    }
}

/// Several layers of one input as one: weights transposed to `[inputs, outputs]`.
pub(crate) fn linear<B: Backend, K: Kernels<B>>(
    parts: &[HostLinear],
    device: &B::Device,
) -> Linear<B> {
    let inputs = parts[0].weight.shape[1];
    let outputs: usize = parts.iter().map(|part| part.weight.shape[0]).sum();
    let stored: Vec<&[f32]> =
        parts.iter().flat_map(|part| part.weight.values.chunks_exact(inputs)).collect();
    let mut values = Vec::with_capacity(inputs * outputs);
    for input in 0..inputs {
        values.extend(stored.iter().map(|row| row[input]));
    }
    let weight = HostTensor { shape: vec![inputs, outputs], values };
    let bias: Vec<f32> = parts.iter().flat_map(|part| part.bias.values.iter().copied()).collect();
    K::dense(weight, HostTensor { shape: vec![1, outputs], values: bias }, device)
}

pub(crate) fn norm<B: Backend>(norm: HostNorm, epsilon: f64, device: &B::Device) -> Norm<B> {
    let row = |tensor: HostTensor| {
        matrix(HostTensor { shape: vec![1, tensor.values.len()], ..tensor }, device)
    };
    Norm { weight: row(norm.weight), bias: row(norm.bias), epsilon }
}

pub(crate) fn matrix<B: Backend>(tensor: HostTensor, device: &B::Device) -> Tensor<B, 2> {
    Tensor::from_data(TensorData::new(tensor.values, tensor.shape), device)
}
