//! A decoder as an encoder, in the shape of Llama (arXiv:2302.13971), Mistral and Qwen: RMSNorm
//! before each half, rotary positions, grouped queries, a gated inner layer, a causal mask.

use burn_tensor::backend::Backend;
use burn_tensor::{Tensor, TensorData};
use headwater_models::{Pooling, Sequence};

use super::pool::{indices, pool};
use crate::bert::{linear, matrix};
use crate::checkpoint::{HostDecoder, HostDecoderLayer, HostTensor};
use crate::config::DecoderConfig;
use crate::config::decoder::Heads;
use crate::kernels::Linear;
use crate::kernels::decoder::{Angles, DecoderKernels, RmsNorm};
use crate::rows::Rows;

/// The weights on one device; a clone shares them.
#[derive(Debug, Clone)]
pub(crate) struct Decoder<B: Backend> {
    device: B::Device,
    heads: Heads,
    rope_theta: f64,
    /// `[vocabulary, hidden]`.
    words: Tensor<B, 2>,
    layers: Vec<Layer<B>>,
    norm: RmsNorm<B>,
}

#[derive(Debug, Clone)]
struct Layer<B: Backend> {
    attention_norm: RmsNorm<B>,
    /// Query, key and value side by side.
    qkv: Linear<B>,
    /// Over every head's query and key.
    head_norm: Option<RmsNorm<B>>,
    attention_output: Linear<B>,
    gate_norm: RmsNorm<B>,
    /// Gate and value side by side.
    gate_up: Linear<B>,
    down: Linear<B>,
}

impl<B: Backend> Decoder<B> {
    pub(crate) fn upload<K: DecoderKernels<B>>(
        weights: HostDecoder,
        config: &DecoderConfig,
        device: &B::Device,
    ) -> Self {
        Decoder {
            device: device.clone(),
            heads: config.heads,
            rope_theta: config.rope_theta,
            words: matrix(weights.words, device),
            layers: weights
                .layers
                .into_iter()
                .map(|layer| Layer::upload::<K>(layer, config, device))
                .collect(),
            norm: rms_norm(weights.norm.values, config.hidden_size, config, device),
        }
    }

    /// One pooled vector for each sequence, row-major, not scaled.
    pub(crate) fn embed<K: DecoderKernels<B>>(
        &self,
        kernels: &K,
        sequences: &[&Sequence],
        pooling: Pooling,
    ) -> Result<Vec<f32>, String> {
        let ids: Vec<&[u32]> = sequences.iter().map(|sequence| sequence.ids()).collect();
        let rows = kernels.rows(&ids);
        pool(self.forward(kernels, &rows), &rows, pooling, &self.device)
    }

    /// The hidden states after the last normalisation, shape `[rows, hidden]`.
    fn forward<K: DecoderKernels<B>>(&self, kernels: &K, rows: &Rows) -> Tensor<B, 2> {
        let heads = self.heads;
        let plan = kernels.plan(rows, &self.device);
        let angles = self.angles(&rows.positions);
        let mut x = self.words.clone().select(0, indices(&rows.ids, &self.device));
        for layer in &self.layers {
            let normed = kernels.rms_norm(x.clone(), &layer.attention_norm);
            let mut qkv = kernels.linear(normed, &layer.qkv);
            if let Some(norm) = &layer.head_norm {
                qkv = kernels.rms_norm(qkv, norm);
            }
            let qkv = kernels.rotate(qkv, &angles, heads.queries + heads.keys);
            let context = kernels.causal_attention(qkv, &plan, heads);
            x = x + kernels.linear(context, &layer.attention_output);
            let normed = kernels.rms_norm(x.clone(), &layer.gate_norm);
            let gated = kernels.silu_gate(kernels.linear(normed, &layer.gate_up));
            x = x + kernels.linear(gated, &layer.down);
        }
        kernels.rms_norm(x, &self.norm)
    }

    /// The angle of pair `i` at position `p` is `p · theta^(−2i / size)` (arXiv:2104.09864).
    fn angles(&self, positions: &[i32]) -> Angles<B> {
        let half = self.heads.size / 2;
        let frequencies: Vec<f64> = (0..half)
            .map(|pair| self.rope_theta.powf(-((2 * pair) as f64) / self.heads.size as f64))
            .collect();
        let table = |turn: fn(f64) -> f64| {
            let values: Vec<f32> = positions
                .iter()
                .flat_map(|position| {
                    frequencies.iter().map(move |rate| turn(f64::from(*position) * rate) as f32)
                })
                .collect();
            Tensor::from_data(TensorData::new(values, [positions.len(), half]), &self.device)
        };
        Angles { cosines: table(f64::cos), sines: table(f64::sin) }
    }
}

impl<B: Backend> Layer<B> {
    fn upload<K: DecoderKernels<B>>(
        layer: HostDecoderLayer,
        config: &DecoderConfig,
        device: &B::Device,
    ) -> Self {
        let hidden = config.hidden_size;
        let heads = config.heads;
        Layer {
            attention_norm: rms_norm(layer.attention_norm.values, hidden, config, device),
            qkv: linear::<B, K>(&[layer.query, layer.key, layer.value], device),
            head_norm: layer.head_norms.map(|(query, key)| {
                let mut scales = query.values.repeat(heads.queries);
                scales.extend(key.values.repeat(heads.keys));
                rms_norm(scales, heads.size, config, device)
            }),
            attention_output: linear::<B, K>(&[layer.attention_output], device),
            gate_norm: rms_norm(layer.gate_norm.values, hidden, config, device),
            gate_up: linear::<B, K>(&[layer.gate, layer.up], device),
            down: linear::<B, K>(&[layer.down], device),
        }
    }
}

fn rms_norm<B: Backend>(
    scales: Vec<f32>,
    group: usize,
    config: &DecoderConfig,
    device: &B::Device,
) -> RmsNorm<B> {
    let weight = matrix(HostTensor { shape: vec![1, scales.len()], values: scales }, device);
    RmsNorm { weight, group, epsilon: config.rms_norm_eps }
}
