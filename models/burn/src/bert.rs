//! The BERT encoder after Devlin et al. 2018 (arXiv:1810.04805), post-LN, on any backend.

use burn_tensor::backend::Backend;
use burn_tensor::{DType, Int, Tensor, TensorData};
use headwater_models::Pooling;

use crate::checkpoint::{HostLayer, HostLinear, HostNorm, HostTensor, HostWeights};
use crate::config::BertConfig;
use crate::kernels::{Kernels, Linear, Norm};
use crate::rows::{Rows, pooled_rows};

/// The weights on one device; a clone shares them.
#[derive(Debug, Clone)]
pub(crate) struct Bert<B: Backend> {
    device: B::Device,
    heads: usize,
    /// `[vocabulary, hidden]`.
    words: Tensor<B, 2>,
    /// `[max_positions, hidden]`, with the embedding of token type 0 added: embedding
    /// models know no second segment.
    positions: Tensor<B, 2>,
    norm: Norm<B>,
    layers: Vec<Layer<B>>,
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
    /// Moves the weights to the device, in the backend's number format.
    pub(crate) fn upload<K: Kernels<B>>(
        weights: HostWeights,
        config: &BertConfig,
        device: &B::Device,
    ) -> Self {
        let epsilon = config.layer_norm_eps;
        let mut positions = weights.positions;
        let first_type = &weights.types.values[..config.hidden_size];
        for row in positions.values.chunks_exact_mut(config.hidden_size) {
            for (value, addend) in row.iter_mut().zip(first_type) {
                *value += addend;
            }
        }
        Bert {
            device: device.clone(),
            heads: config.heads,
            words: matrix(weights.words, device),
            positions: matrix(positions, device),
            norm: norm(weights.norm, epsilon, device),
            layers: weights
                .layers
                .into_iter()
                .map(|layer| Layer::upload::<K>(layer, epsilon, device))
                .collect(),
        }
    }

    /// One pooled vector for each sequence, row-major, not scaled. Sequences must not be
    /// empty, longer than the table of positions or name an id outside the vocabulary.
    pub(crate) fn embed<K: Kernels<B>>(
        &self,
        kernels: &K,
        sequences: &[&[u32]],
        pooling: Pooling,
    ) -> Result<Vec<f32>, String> {
        let rows = kernels.rows(sequences);
        let states = self.forward(kernels, &rows).cast(DType::F32);
        let shape = [rows.spans.len(), rows.len()];
        let selection = TensorData::new(rows.pooling_matrix(pooling), shape);
        let selection = Tensor::<B, 2>::from_data(selection, (&self.device, DType::F32));
        let sums = selection.matmul(states);
        let [_, hidden] = sums.dims();
        let mut vectors = sums.into_data().to_vec::<f32>().map_err(|error| format!("{error:?}"))?;
        for (vector, span) in vectors.chunks_exact_mut(hidden).zip(&rows.spans) {
            let inverse = 1.0 / pooled_rows(span, pooling).len() as f32;
            vector.iter_mut().for_each(|value| *value *= inverse);
        }
        Ok(vectors)
    }

    /// The hidden states after the last layer, shape `[rows, hidden]`.
    fn forward<K: Kernels<B>>(&self, kernels: &K, rows: &Rows) -> Tensor<B, 2> {
        let words = self.words.clone().select(0, self.indices(&rows.ids));
        let positions = self.positions.clone().select(0, self.indices(&rows.positions));
        let mut x = kernels.add_norm(words, positions, &self.norm);
        let plan = kernels.plan(rows, &self.device);
        for layer in &self.layers {
            let context = kernels.self_attention(x.clone(), &layer.qkv, &plan, self.heads);
            x = kernels.linear_add_norm(context, &layer.attention_output, x, &layer.attention_norm);
            x = kernels.feed_forward(x, &layer.intermediate, &layer.output, &layer.output_norm);
        }
        x
    }

    fn indices(&self, values: &[i32]) -> Tensor<B, 1, Int> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &self.device)
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
fn linear<B: Backend, K: Kernels<B>>(parts: &[HostLinear], device: &B::Device) -> Linear<B> {
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

fn norm<B: Backend>(norm: HostNorm, epsilon: f64, device: &B::Device) -> Norm<B> {
    let row = |tensor: HostTensor| {
        matrix(HostTensor { shape: vec![1, tensor.values.len()], ..tensor }, device)
    };
    Norm { weight: row(norm.weight), bias: row(norm.bias), epsilon }
}

fn matrix<B: Backend>(tensor: HostTensor, device: &B::Device) -> Tensor<B, 2> {
    Tensor::from_data(TensorData::new(tensor.values, tensor.shape), device)
}
