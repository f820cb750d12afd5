//! CLIP after Radford et al. 2021 (arXiv:2103.00020): a causal tower for texts, another for
//! images, both normalised before each half, projected into one space.

use burn_tensor::backend::Backend;
use burn_tensor::{Tensor, TensorData, activation};
use headwater_models::{Pixels, Sequence};

use super::pool::{indices, read};
use crate::bert::{linear, matrix, norm};
use crate::checkpoint::{HostBlock, HostClip, HostTower};
use crate::config::ClipConfig;
use crate::config::clip::{Activation, EndMark, TowerConfig};
use crate::config::decoder::Heads;
use crate::kernels::decoder::DecoderKernels;
use crate::kernels::{Kernels, Linear, Norm};
use crate::rows::Rows;

/// The weights on one device; a clone shares them.
#[derive(Debug, Clone)]
pub(crate) struct Clip<B: Backend> {
    device: B::Device,
    dimensions: usize,
    end: EndMark,
    patch_size: usize,
    /// `[vocabulary, hidden]`.
    words: Tensor<B, 2>,
    /// `[max_positions, hidden]`.
    positions: Tensor<B, 2>,
    text: Tower<B>,
    /// From a patch to its state.
    patches: Linear<B>,
    /// `[1 + patches, hidden]`, of the class token and of every patch.
    places: Tensor<B, 2>,
    first_norm: Norm<B>,
    image: Tower<B>,
}

#[derive(Debug, Clone)]
struct Tower<B: Backend> {
    heads: Heads,
    causal: bool,
    activation: Activation,
    layers: Vec<Block<B>>,
    last_norm: Norm<B>,
    projection: Linear<B>,
}

#[derive(Debug, Clone)]
struct Block<B: Backend> {
    attention_norm: Norm<B>,
    /// Query, key and value side by side.
    qkv: Linear<B>,
    attention_output: Linear<B>,
    wide_norm: Norm<B>,
    intermediate: Linear<B>,
    output: Linear<B>,
}

impl<B: Backend> Clip<B> {
    pub(crate) fn upload<K: DecoderKernels<B>>(
        weights: HostClip,
        config: &ClipConfig,
        device: &B::Device,
    ) -> Self {
        Clip {
            device: device.clone(),
            dimensions: config.dimensions,
            end: config.end,
            patch_size: config.patch_size,
            words: matrix(weights.words, device),
            positions: matrix(weights.positions, device),
            text: Tower::upload::<K>(weights.text, &config.text, true, device),
            patches: linear::<B, K>(&[weights.patches], device),
            places: matrix(weights.places, device),
            first_norm: norm(weights.first_norm, config.image.layer_norm_eps, device),
            image: Tower::upload::<K>(weights.image, &config.image, false, device),
        }
    }

    /// One vector for each text and each image, row-major, not scaled.
    pub(crate) fn embed<K: DecoderKernels<B>>(
        &self,
        kernels: &K,
        sequences: &[&Sequence],
    ) -> Result<Vec<f32>, String> {
        let (mut texts, mut images) = (Vec::new(), Vec::new());
        let (mut text_places, mut image_places) = (Vec::new(), Vec::new());
        for (place, sequence) in sequences.iter().enumerate() {
            match sequence {
                Sequence::Tokens { ids, .. } => {
                    texts.push(ids.as_slice());
                    text_places.push(place);
                }
                Sequence::Image(pixels) => {
                    images.push(pixels.as_ref());
                    image_places.push(place);
                }
            }
        }
        let mut vectors = vec![0.0; sequences.len() * self.dimensions];
        let mut put = |places: &[usize], found: Vec<f32>| {
            for (place, vector) in places.iter().zip(found.chunks_exact(self.dimensions)) {
                vectors[place * self.dimensions..][..self.dimensions].copy_from_slice(vector);
            }
        };
        if !texts.is_empty() {
            put(&text_places, self.texts(kernels, &texts)?);
        }
        if !images.is_empty() {
            put(&image_places, self.images(kernels, &images)?);
        }
        Ok(vectors)
    }

    fn texts<K: DecoderKernels<B>>(
        &self,
        kernels: &K,
        texts: &[&[u32]],
    ) -> Result<Vec<f32>, String> {
        let rows = kernels.rows(texts);
        let words = self.words.clone().select(0, indices(&rows.ids, &self.device));
        let positions = self.positions.clone().select(0, indices(&rows.positions, &self.device));
        let ends: Vec<i32> = rows
            .spans
            .iter()
            .zip(texts)
            .map(|(span, ids)| (span.start + end_of(ids, self.end)) as i32)
            .collect();
        self.text.run(kernels, words + positions, &rows, &ends, &self.device)
    }

    fn images<K: DecoderKernels<B>>(
        &self,
        kernels: &K,
        images: &[&Pixels],
    ) -> Result<Vec<f32>, String> {
        // Only the number of rows matters: an image is as many tokens as patches, and one.
        let lengths: Vec<Vec<u32>> = images.iter().map(|image| vec![0; image.tokens]).collect();
        let lengths: Vec<&[u32]> = lengths.iter().map(Vec::as_slice).collect();
        let rows = kernels.rows(&lengths);
        let width = 3 * self.patch_size * self.patch_size;
        let mut values = Vec::with_capacity(rows.len() * width);
        for image in images {
            // The class token's place: nothing, to which its own state is added.
            values.resize(values.len() + width, 0.0);
            append_patches(&mut values, image, self.patch_size);
        }
        let patches = matrix_of(values, [rows.len(), width], &self.device);
        let places = self.places.clone().select(0, indices(&rows.positions, &self.device));
        let x = kernels.add_norm(kernels.linear(patches, &self.patches), places, &self.first_norm);
        let firsts: Vec<i32> = rows.spans.iter().map(|span| span.start as i32).collect();
        self.image.run(kernels, x, &rows, &firsts, &self.device)
    }
}

impl<B: Backend> Tower<B> {
    fn upload<K: Kernels<B>>(
        tower: HostTower,
        config: &TowerConfig,
        causal: bool,
        device: &B::Device,
    ) -> Self {
        let heads = config.heads;
        let block = |block: HostBlock| Block {
            attention_norm: norm(block.attention_norm, config.layer_norm_eps, device),
            qkv: linear::<B, K>(&[block.query, block.key, block.value], device),
            attention_output: linear::<B, K>(&[block.attention_output], device),
            wide_norm: norm(block.wide_norm, config.layer_norm_eps, device),
            intermediate: linear::<B, K>(&[block.intermediate], device),
            output: linear::<B, K>(&[block.output], device),
        };
        Tower {
            heads: Heads { queries: heads, keys: heads, size: config.hidden_size / heads },
            causal,
            activation: config.activation,
            layers: tower.layers.into_iter().map(block).collect(),
            last_norm: norm(tower.last_norm, config.layer_norm_eps, device),
            projection: linear::<B, K>(&[tower.projection], device),
        }
    }

    /// The projected states of the `wanted` rows.
    fn run<K: DecoderKernels<B>>(
        &self,
        kernels: &K,
        mut x: Tensor<B, 2>,
        rows: &Rows,
        wanted: &[i32],
        device: &B::Device,
    ) -> Result<Vec<f32>, String> {
        let plan = kernels.plan(rows, device);
        for layer in &self.layers {
            let normed = scaled(kernels, x.clone(), &layer.attention_norm);
            let qkv = kernels.linear(normed, &layer.qkv);
            let context = match self.causal {
                true => kernels.causal_attention(qkv, &plan, self.heads),
                false => kernels.attention(qkv, &plan, self.heads.queries),
            };
            x = x + kernels.linear(context, &layer.attention_output);
            let normed = scaled(kernels, x.clone(), &layer.wide_norm);
            let wide = kernels.linear(normed, &layer.intermediate);
            let wide = match self.activation {
                Activation::Gelu => kernels.gelu(wide),
                Activation::QuickGelu => wide.clone() * activation::sigmoid(wide * 1.702),
            };
            x = x + kernels.linear(wide, &layer.output);
        }
        let states = scaled(kernels, x.select(0, indices(wanted, device)), &self.last_norm);
        read(kernels.linear(states, &self.projection))
    }
}

/// Layer normalisation alone.
fn scaled<B: Backend, K: Kernels<B>>(kernels: &K, x: Tensor<B, 2>, norm: &Norm<B>) -> Tensor<B, 2> {
    let nothing = x.zeros_like();
    kernels.add_norm(x, nothing, norm)
}

fn matrix_of<B: Backend>(values: Vec<f32>, shape: [usize; 2], device: &B::Device) -> Tensor<B, 2> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// The place of the token that stands for the text; its last one when no end mark is found.
fn end_of(ids: &[u32], end: EndMark) -> usize {
    let wanted = match end {
        EndMark::Id(id) => Some(id),
        EndMark::Highest => ids.iter().copied().max(),
    };
    ids.iter().position(|id| Some(*id) == wanted).unwrap_or(ids.len() - 1)
}

/// Every patch as one row, shape `[3, side, side]`, patches row by row.
fn append_patches(into: &mut Vec<f32>, image: &Pixels, side: usize) {
    let plane = image.height * image.width;
    for top in (0..image.height).step_by(side) {
        for left in (0..image.width).step_by(side) {
            for channel in 0..3 {
                for row in top..top + side {
                    let start = channel * plane + row * image.width + left;
                    into.extend_from_slice(&image.values[start..start + side]);
                }
            }
        }
    }
}
