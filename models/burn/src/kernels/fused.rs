//! Kernels for the CPU on the storage of burn-flex: packed rows, no copies of query, key
//! and value, and loops that the compiler vectorises for the machine at hand.

use std::ops::Range;

use burn_flex::{Flex, FlexDevice, FlexTensor};
use burn_tensor::{DType, Shape, Tensor, TensorPrimitive};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::{Kernels, Linear, Norm};
use crate::checkpoint::HostTensor;
use crate::rows::Rows;

mod arithmetic;
mod decoder;

/// Columns of a weight that are stored together. Rows of a whole weight lie a page apart,
/// so that reading some columns of all rows misses the address cache at every step.
const PANEL: usize = 64;

/// Threads that one matrix product may use. More than one only while a single shard runs
/// inside the encoder's own pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fused {
    pub(crate) threads: usize,
}

impl Kernels<Flex> for Fused {
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

    fn rows(&self, sequences: &[&[u32]]) -> Rows {
        Rows::packed(sequences)
    }

    fn plan(&self, rows: &Rows, _device: &FlexDevice) -> Vec<Range<usize>> {
        rows.spans.clone()
    }

    fn linear(&self, x: Tensor<Flex, 2>, layer: &Linear<Flex>) -> Tensor<Flex, 2> {
        let [rows, inputs] = x.dims();
        let [_, outputs] = layer.bias.dims();
        let (x, weight) = (storage(x), storage(layer.weight.clone()));
        let bias = storage(layer.bias.clone());
        let (x, weight, bias) = (values(&x), values(&weight), values(&bias));
        let panels = outputs.div_ceil(PANEL);
        let part = |panels: Range<usize>| {
            let columns = panels.start * PANEL..outputs.min(panels.end * PANEL);
            let weight = &weight[panels.start * inputs * PANEL..panels.end * inputs * PANEL];
            product(x, inputs, weight, &bias[columns])
        };
        if self.threads == 1 {
            return tensor(part(0..panels), [rows, outputs]);
        }
        let share = panels.div_ceil(self.threads);
        let parts: Vec<Vec<f32>> = (0..panels.div_ceil(share))
            .into_par_iter()
            .map(|index| part(index * share..panels.min((index + 1) * share)))
            .collect();
        let mut answer = Vec::with_capacity(rows * outputs);
        for row in 0..rows {
            for part in &parts {
                let width = part.len() / rows;
                answer.extend_from_slice(&part[row * width..(row + 1) * width]);
            }
        }
        tensor(answer, [rows, outputs])
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
        let mut answer = vec![0.0; rows * hidden];
        let longest = plan.iter().map(Range::len).max().unwrap_or(0);
        let mut scores = vec![0.0; longest * longest];
        for span in plan {
            let parts = &values(&qkv)[span.start * columns..span.end * columns];
            let answer = &mut answer[span.start * hidden..span.end * hidden];
            for head in 0..heads {
                attend(parts, answer, &mut scores[..span.len() * span.len()], hidden, heads, head);
            }
        }
        tensor(answer, [rows, hidden])
    }

    fn add_norm(
        &self,
        x: Tensor<Flex, 2>,
        residual: Tensor<Flex, 2>,
        norm: &Norm<Flex>,
    ) -> Tensor<Flex, 2> {
        let (mut x, residual) = (storage(x), storage(residual));
        let (weight, bias) = (storage(norm.weight.clone()), storage(norm.bias.clone()));
        arithmetic::add_norm(
            x.storage_mut(),
            values(&residual),
            values(&weight),
            values(&bias),
            norm.epsilon as f32,
        );
        wrap(x)
    }
}

/// `x · weight + bias` for the panels of `weight` that make up the columns of `bias`.
fn product(x: &[f32], inputs: usize, weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let outputs = bias.len();
    let mut answer = bias.repeat(x.len() / inputs);
    let x = View::rows_of(x, inputs, 0..inputs);
    for (panel, start) in weight.chunks_exact(inputs * PANEL).zip((0..outputs).step_by(PANEL)) {
        let columns = start..outputs.min(start + PANEL);
        let panel = View::rows_of(panel, PANEL, 0..columns.len());
        multiply(&mut Block::rows_of(&mut answer, outputs, columns), 1.0, &x, &panel);
    }
    answer
}

/// One head of one sequence: `softmax(query · keyᵀ / √size) · value`, all of them read in
/// place from `[tokens, 3 · hidden]` and written in place to `[tokens, hidden]`.
fn attend(
    parts: &[f32],
    answer: &mut [f32],
    scores: &mut [f32],
    hidden: usize,
    heads: usize,
    head: usize,
) {
    let size = hidden / heads;
    let columns = 3 * hidden;
    let part = |index: usize| {
        let start = index * hidden + head * size;
        View::rows_of(parts, columns, start..start + size)
    };
    let tokens = answer.len() / hidden;
    let mut block = Block::rows_of(scores, tokens, 0..tokens);
    multiply(&mut block, 0.0, &part(0), &part(1).transposed());
    arithmetic::softmax(scores, tokens, (size as f32).powf(-0.5));
    multiply(
        &mut Block::rows_of(answer, hidden, head * size..(head + 1) * size),
        0.0,
        &View::rows_of(scores, tokens, 0..tokens),
        &part(2),
    );
}

/// Some columns of a row-major matrix, or their transpose.
#[derive(Clone, Copy)]
struct View<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> View<'a> {
    /// The `columns` of a matrix whose rows are `width` long.
    fn rows_of(data: &'a [f32], width: usize, columns: Range<usize>) -> Self {
        assert!(columns.end <= width && data.len().is_multiple_of(width), "a view inside its data");
        View {
            rows: data.len() / width,
            columns: columns.len(),
            row_stride: width,
            column_stride: 1,
            data: &data[columns.start..],
        }
    }

    fn transposed(self) -> Self {
        View {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            data: self.data,
        }
    }
}

/// Some columns of a row-major matrix to write to.
struct Block<'a> {
    data: &'a mut [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
}

impl<'a> Block<'a> {
    fn rows_of(data: &'a mut [f32], width: usize, columns: Range<usize>) -> Self {
        assert!(
            columns.end <= width && data.len().is_multiple_of(width),
            "a block inside its data"
        );
        Block {
            rows: data.len() / width,
            columns: columns.len(),
            row_stride: width,
            data: &mut data[columns.start..],
        }
    }
}

/// `into = keep · into + left · right`.
fn multiply(into: &mut Block<'_>, keep: f32, left: &View<'_>, right: &View<'_>) {
    assert_eq!((into.rows, into.columns), (left.rows, right.columns), "shape of the product");
    assert_eq!(left.columns, right.rows, "inner length of the product");
    // SAFETY: views and blocks lie inside their slices by construction (`rows_of`), the
    // shapes agree, and `into` is borrowed alone, so it overlaps neither operand.
    unsafe {
        gemm::gemm(
            into.rows,
            into.columns,
            left.columns,
            into.data.as_mut_ptr(),
            1,
            into.row_stride as isize,
            keep != 0.0,
            left.data.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.data.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            keep,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// The contiguous storage of a tensor, without a copy when it is one already.
fn storage(tensor: Tensor<Flex, 2>) -> FlexTensor {
    let tensor = tensor.into_primitive().tensor();
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
    let layout = burn_flex::Layout::contiguous(Shape::from(shape));
    wrap(FlexTensor::new(burn_tensor::Bytes::from_elems(values), layout, DType::F32))
}
