//! Kernels for the CPU on the storage of burn-flex: packed rows, no copies of query, key
//! and value, loops that the compiler vectorises for the machine at hand, and bf16 where
//! the weights are and the chip multiplies it.

use std::marker::PhantomData;
use std::ops::Range;

use burn_flex::{Flex, FlexDevice, FlexTensor, Layout};
use burn_tensor::{Bytes, DType, Shape, Tensor, TensorPrimitive};
use headwater_models::Pace;

use super::instructions::Instructions;
use super::workers::Workers;
use super::{Kernels, Linear, Norm};
use crate::checkpoint::HostTensor;
use crate::rows::Rows;

pub(super) mod arithmetic;
mod decoder;
#[cfg_attr(not(target_arch = "x86_64"), path = "fused/absent.rs")]
mod halves;
pub(super) mod matrix;
mod single;

use arithmetic::Scale;
use halves::Chosen;
use single::{Layer, PANEL, Then};

/// Dense layers are loaded in f32.
#[derive(Debug, Clone, Copy)]
pub(crate) struct F32;

/// Dense layers are loaded in bf16.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bf16;

/// How one encoder computes on the CPU. `Format` decides how dense layers are loaded; once
/// they are there, every step follows the format of its layer.
#[derive(Clone)]
pub(crate) struct Fused<Format = F32> {
    threads: usize,
    pace: Option<Pace>,
    /// Products of bf16, where they are possible.
    halves: Option<Chosen>,
    format: PhantomData<Format>,
}

impl Fused {
    /// Steps share `threads` threads: more than one only inside the pool whose threads
    /// these are.
    pub(crate) fn new(threads: usize) -> Self {
        let halves = Instructions::best().and_then(Chosen::new);
        Fused { threads, pace: None, halves, format: PhantomData }
    }

    /// Waits in `pace` between steps.
    pub(crate) fn paced(self, pace: Option<Pace>) -> Self {
        Fused { pace, ..self }
    }

    /// Products of bf16 on other instructions than the best, where these are available.
    pub(crate) fn on(self, instructions: Option<Instructions>) -> Self {
        Fused { halves: instructions.and_then(Chosen::new).or(self.halves), ..self }
    }
}

impl<Format> Fused<Format> {
    fn workers(&self) -> Workers<'_> {
        Workers { threads: self.threads, pace: self.pace.as_ref() }
    }

    /// The instructions for a layer in bf16.
    fn halves(&self, layer: &Linear<Flex>) -> Option<Chosen> {
        self.halves.filter(|_| layer.weight.dtype() == DType::BF16)
    }

    fn dense(&self, x: Tensor<Flex, 2>, layer: &Linear<Flex>, then: Then) -> Tensor<Flex, 2> {
        let [rows, inputs] = x.dims();
        let [_, outputs] = layer.bias.dims();
        let x = storage(x);
        let (weight, bias) = (raw(layer.weight.clone()), storage(layer.bias.clone()));
        let answer = match self.halves(layer) {
            Some(chosen) => {
                let layer = halves::layer(&weight, values(&bias), inputs);
                halves::linear(chosen, &self.workers(), values(&x), &layer, then)
            }
            None => {
                let layer = Layer { panels: values(&weight), bias: values(&bias), inputs };
                let mut answer = vec![0.0; rows * outputs];
                single::linear(&self.workers(), values(&x), &layer, &mut answer, then);
                answer
            }
        };
        tensor(answer, [rows, outputs])
    }
}

/// How dense layers are kept.
pub(crate) trait Format: Sized + Send + Sync {
    fn keep(weight: HostTensor) -> Tensor<Flex, 2>;
}

impl Format for F32 {
    fn keep(weight: HostTensor) -> Tensor<Flex, 2> {
        let HostTensor { shape, values } = Fused::<F32>::arrange(weight);
        tensor(values, [shape[0], shape[1]])
    }
}

impl Format for Bf16 {
    fn keep(weight: HostTensor) -> Tensor<Flex, 2> {
        halves::keep(&weight)
    }
}

impl<F: Format> Kernels<Flex> for Fused<F> {
    type Plan = Vec<Range<usize>>;

    /// Panels of `PANEL` columns one below the other, the last one filled up with zeros.
    fn arrange(weight: HostTensor) -> HostTensor {
        let (inputs, outputs) = (weight.shape[0], weight.shape[1]);
        let panels = outputs.div_ceil(PANEL);
        let mut values = vec![0.0; panels * inputs * PANEL];
        for (panel, into) in values.chunks_exact_mut(inputs * PANEL).enumerate() {
            let columns = panel * PANEL..outputs.min((panel + 1) * PANEL);
            for (row, into) in weight.values.chunks_exact(outputs).zip(into.chunks_exact_mut(PANEL))
            {
                into[..columns.len()].copy_from_slice(&row[columns.clone()]);
            }
        }
        HostTensor { shape: vec![panels * inputs, PANEL], values }
    }

    fn dense(weight: HostTensor, bias: HostTensor, _device: &FlexDevice) -> Linear<Flex> {
        let columns = bias.values.len();
        Linear { weight: F::keep(weight), bias: tensor(bias.values, [1, columns]) }
    }

    fn rows(&self, sequences: &[&[u32]]) -> Rows {
        Rows::packed(sequences)
    }

    fn plan(&self, rows: &Rows, _device: &FlexDevice) -> Vec<Range<usize>> {
        rows.spans.clone()
    }

    fn linear(&self, x: Tensor<Flex, 2>, layer: &Linear<Flex>) -> Tensor<Flex, 2> {
        self.dense(x, layer, Then::Nothing)
    }

    fn linear_gelu(&self, x: Tensor<Flex, 2>, layer: &Linear<Flex>) -> Tensor<Flex, 2> {
        self.dense(x, layer, Then::Gelu)
    }

    fn gelu(&self, x: Tensor<Flex, 2>) -> Tensor<Flex, 2> {
        let mut x = storage(x);
        arithmetic::gelu(x.storage_mut());
        wrap(x)
    }

    fn attention(
        &self,
        qkv: Tensor<Flex, 2>,
        plan: &Vec<Range<usize>>,
        heads: usize,
    ) -> Tensor<Flex, 2> {
        let [rows, columns] = qkv.dims();
        let hidden = columns / 3;
        let qkv = storage(qkv);
        let answer = single::attention(&self.workers(), values(&qkv), plan, hidden, heads);
        tensor(answer, [rows, hidden])
    }

    fn self_attention(
        &self,
        x: Tensor<Flex, 2>,
        layer: &Linear<Flex>,
        plan: &Vec<Range<usize>>,
        heads: usize,
    ) -> Tensor<Flex, 2> {
        let Some(chosen) = self.halves(layer) else {
            return self.attention(self.linear(x, layer), plan, heads);
        };
        let [rows, inputs] = x.dims();
        let [_, columns] = layer.bias.dims();
        let (x, bias) = (storage(x), storage(layer.bias.clone()));
        let weight = raw(layer.weight.clone());
        let layer = halves::layer(&weight, values(&bias), inputs);
        let workers = self.workers();
        let answer = halves::self_attention(chosen, &workers, values(&x), &layer, plan, heads);
        tensor(answer, [rows, columns / 3])
    }

    fn add_norm(
        &self,
        x: Tensor<Flex, 2>,
        residual: Tensor<Flex, 2>,
        norm: &Norm<Flex>,
    ) -> Tensor<Flex, 2> {
        let (mut x, residual) = (storage(x), storage(residual));
        let (weight, bias) = (storage(norm.weight.clone()), storage(norm.bias.clone()));
        let scale = scale(&weight, &bias, norm);
        arithmetic::add(x.storage_mut(), values(&residual));
        scale.apply(x.storage_mut());
        wrap(x)
    }

    fn linear_add_norm(
        &self,
        x: Tensor<Flex, 2>,
        layer: &Linear<Flex>,
        residual: Tensor<Flex, 2>,
        norm: &Norm<Flex>,
    ) -> Tensor<Flex, 2> {
        let [_, inputs] = x.dims();
        let (x, mut states) = (storage(x), storage(residual));
        let (weight, bias) = (storage(norm.weight.clone()), storage(norm.bias.clone()));
        let scale = scale(&weight, &bias, norm);
        let (weight, bias) = (raw(layer.weight.clone()), storage(layer.bias.clone()));
        let workers = self.workers();
        if let Some(chosen) = self.halves(layer) {
            let layer = halves::layer(&weight, values(&bias), inputs);
            let states = states.storage_mut();
            halves::add_norm(chosen, &workers, values(&x), &layer, states, &scale);
        } else {
            let layer = Layer { panels: values(&weight), bias: values(&bias), inputs };
            single::add(&workers, values(&x), &layer, states.storage_mut());
            scale.apply(states.storage_mut());
        }
        wrap(states)
    }

    fn feed_forward(
        &self,
        x: Tensor<Flex, 2>,
        wide: &Linear<Flex>,
        narrow: &Linear<Flex>,
        norm: &Norm<Flex>,
    ) -> Tensor<Flex, 2> {
        let (Some(chosen), Some(_)) = (self.halves(wide), self.halves(narrow)) else {
            let inner = self.linear_gelu(x.clone(), wide);
            return self.linear_add_norm(inner, narrow, x, norm);
        };
        let [_, inputs] = x.dims();
        let [_, inner] = wide.bias.dims();
        let mut states = storage(x);
        let (weight, bias) = (storage(norm.weight.clone()), storage(norm.bias.clone()));
        let scale = scale(&weight, &bias, norm);
        let (wide_bias, narrow_bias) = (storage(wide.bias.clone()), storage(narrow.bias.clone()));
        let (wide, narrow) = (raw(wide.weight.clone()), raw(narrow.weight.clone()));
        let layers = [
            halves::layer(&wide, values(&wide_bias), inputs),
            halves::layer(&narrow, values(&narrow_bias), inner),
        ];
        let workers = self.workers();
        halves::feed_forward(chosen, &workers, states.storage_mut(), &layers, &scale);
        wrap(states)
    }
}

/// A normalisation on the host's storage.
fn scale<'a>(weight: &'a FlexTensor, bias: &'a FlexTensor, norm: &Norm<Flex>) -> Scale<'a> {
    Scale { weight: values(weight), bias: values(bias), epsilon: norm.epsilon as f32 }
}

fn raw(tensor: Tensor<Flex, 2>) -> FlexTensor {
    tensor.into_primitive().tensor()
}

/// The contiguous storage of a tensor, without a copy when it is one already.
fn storage(tensor: Tensor<Flex, 2>) -> FlexTensor {
    let tensor = raw(tensor);
    if tensor.as_slice::<f32>().is_some_and(|slice| slice.len() == tensor.storage::<f32>().len()) {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.storage()
}

fn wrap(tensor: FlexTensor) -> Tensor<Flex, 2> {
    Tensor::from_primitive(TensorPrimitive::Float(tensor))
}

fn tensor(values: Vec<f32>, shape: [usize; 2]) -> Tensor<Flex, 2> {
    let layout = Layout::contiguous(Shape::from(shape));
    wrap(FlexTensor::new(Bytes::from_elems(values), layout, DType::F32))
}
