//! Dense layers whose weights stay in blocks of few bits, with sums in f32.
//!
//! One row is multiplied block by block, as its numbers come out of the bits: then the memory
//! is what limits, and there is less of it to read. Several rows share panels that are spread
//! to f32 once.

use std::ops::Range;

use half::f16;
use pulp::{Arch, Simd, WithSimd};

use super::fused::matrix::{Target, View, multiply};
use super::workers::Workers;
use crate::gguf::{Kind, Tensor};

/// Numbers of one block.
pub(crate) const BLOCK: usize = 32;

/// Outputs that are computed together.
const PANEL: usize = 64;

/// The weight of a layer without bias, one row of `inputs` numbers for each output.
pub(crate) struct Matrix {
    inputs: usize,
    outputs: usize,
    weight: Weight,
}

enum Weight {
    Floats(Vec<[f32; BLOCK]>),
    Bytes(Vec<Bytes>),
    Nibbles(Vec<Nibbles>),
}

/// Numbers `scale · byte`.
struct Bytes {
    scale: f32,
    bytes: [i8; BLOCK],
}

/// Numbers `scale · nibble + least`; the low halves of the bytes come first.
struct Nibbles {
    scale: f32,
    least: f32,
    bytes: [u8; BLOCK / 2],
}

trait Block: Sync {
    fn numbers(&self) -> [f32; BLOCK];
}

impl Block for [f32; BLOCK] {
    #[inline(always)]
    fn numbers(&self) -> [f32; BLOCK] {
        *self
    }
}

impl Block for Bytes {
    #[inline(always)]
    fn numbers(&self) -> [f32; BLOCK] {
        self.bytes.map(|byte| f32::from(byte) * self.scale)
    }
}

impl Block for Nibbles {
    #[inline(always)]
    fn numbers(&self) -> [f32; BLOCK] {
        let mut numbers = [0.0; BLOCK];
        let (low, high) = numbers.split_at_mut(BLOCK / 2);
        for (number, byte) in low.iter_mut().zip(&self.bytes) {
            *number = f32::from(byte & 15).mul_add(self.scale, self.least);
        }
        for (number, byte) in high.iter_mut().zip(&self.bytes) {
            *number = f32::from(byte >> 4).mul_add(self.scale, self.least);
        }
        numbers
    }
}

impl Matrix {
    /// None when the rows are not whole blocks.
    pub(crate) fn read(tensor: &Tensor<'_>) -> Option<Matrix> {
        if !tensor.columns.is_multiple_of(BLOCK) {
            return None;
        }
        let bytes = tensor.bytes;
        let weight = match tensor.kind {
            Kind::F32 => Weight::Floats(floats(bytes, f32::from_le_bytes)),
            Kind::F16 => {
                Weight::Floats(floats(bytes, |bytes: [u8; 2]| f16::from_le_bytes(bytes).to_f32()))
            }
            Kind::Q8_0 => Weight::Bytes(bytes.as_chunks::<34>().0.iter().map(eight_bits).collect()),
            // The nibbles of Q4_0 stand for -8 to 7.
            Kind::Q4_0 => Weight::Nibbles(nibbles::<18>(bytes, |scale, _| -8.0 * scale)),
            Kind::Q4_1 => Weight::Nibbles(nibbles::<20>(bytes, |_, head| half(head[2], head[3]))),
        };
        Some(Matrix { inputs: tensor.columns, outputs: tensor.rows, weight })
    }

    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// Writes one row, as long as the inputs, to `into`.
    pub(crate) fn row(&self, row: usize, into: &mut [f32]) {
        self.spread(row..row + 1, into);
    }

    fn spread(&self, rows: Range<usize>, into: &mut [f32]) {
        let each = self.inputs / BLOCK;
        let range = rows.start * each..rows.end * each;
        match &self.weight {
            Weight::Floats(blocks) => spread(&blocks[range], into),
            Weight::Bytes(blocks) => spread(&blocks[range], into),
            Weight::Nibbles(blocks) => spread(&blocks[range], into),
        }
    }

    /// The products of some rows with the one row `x`.
    fn dots(&self, rows: Range<usize>, x: &[f32], into: &mut [f32]) {
        let each = self.inputs / BLOCK;
        let range = rows.start * each..rows.end * each;
        match &self.weight {
            Weight::Floats(blocks) => dots(&blocks[range], x, into),
            Weight::Bytes(blocks) => dots(&blocks[range], x, into),
            Weight::Nibbles(blocks) => dots(&blocks[range], x, into),
        }
    }
}

/// `into = x · weightᵀ` of all layers side by side; they have as many inputs, and at least one
/// row is in `x`.
pub(crate) fn product(workers: &Workers<'_>, x: &[f32], layers: &[&Matrix], into: &mut [f32]) {
    let inputs = layers[0].inputs;
    let (x, _) = x.as_chunks::<BLOCK>();
    let x = x.as_flattened();
    let rows = x.len() / inputs;
    let mut panels = Vec::new();
    let mut width = 0;
    for matrix in layers {
        assert_eq!(matrix.inputs, inputs, "layers of one input");
        for start in (0..matrix.outputs).step_by(PANEL) {
            let range = start..matrix.outputs.min(start + PANEL);
            panels.push((*matrix, range, width + start));
        }
        width += matrix.outputs;
    }
    assert_eq!(into.len(), rows * width, "shape of the product");
    let target = Target::new(into, width);
    workers.each(panels.len(), 2 * rows * inputs * PANEL, |range: Range<usize>| {
        let mut scratch = Vec::new();
        for (matrix, outputs, column) in &panels[range] {
            let columns = *column..column + outputs.len();
            // SAFETY: the workers get different panels, and nobody else uses `into`.
            let mut block = unsafe { target.block(0..rows, columns) };
            if rows == 1 {
                block.each_row(|row| matrix.dots(outputs.clone(), x, row));
                continue;
            }
            scratch.resize(outputs.len() * inputs, 0.0);
            matrix.spread(outputs.clone(), &mut scratch);
            let weight = View::rows_of(&scratch, inputs, 0..inputs).transposed();
            multiply(&mut block, 0.0, &View::rows_of(x, inputs, 0..inputs), &weight);
        }
    });
}

fn spread<B: Block>(blocks: &[B], into: &mut [f32]) {
    struct Spread<'a, B>(&'a [B], &'a mut [f32]);
    impl<B: Block> WithSimd for Spread<'_, B> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, _simd: S) {
            for (block, into) in self.0.iter().zip(self.1.as_chunks_mut::<BLOCK>().0) {
                *into = block.numbers();
            }
        }
    }
    Arch::new().dispatch(Spread(blocks, into));
}

fn dots<B: Block>(blocks: &[B], x: &[f32], into: &mut [f32]) {
    struct Dots<'a, B>(&'a [B], &'a [[f32; BLOCK]], &'a mut [f32]);
    impl<B: Block> WithSimd for Dots<'_, B> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, _simd: S) {
            for (row, into) in self.0.chunks_exact(self.1.len()).zip(self.2) {
                *into = dot(row, self.1);
            }
        }
    }
    Arch::new().dispatch(Dots(blocks, x.as_chunks::<BLOCK>().0, into));
}

#[inline(always)]
fn dot<B: Block>(row: &[B], x: &[[f32; BLOCK]]) -> f32 {
    let mut sums = [0.0f32; BLOCK];
    for (block, x) in row.iter().zip(x) {
        let numbers = block.numbers();
        for lane in 0..BLOCK {
            sums[lane] = numbers[lane].mul_add(x[lane], sums[lane]);
        }
    }
    // Half by half: a sum in order would take as long as several blocks.
    let mut width = BLOCK / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}

fn half(low: u8, high: u8) -> f32 {
    f16::from_le_bytes([low, high]).to_f32()
}

fn floats<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<[f32; BLOCK]> {
    let numbers: Vec<f32> = bytes.as_chunks::<N>().0.iter().map(|bytes| number(*bytes)).collect();
    numbers.as_chunks::<BLOCK>().0.to_vec()
}

fn eight_bits(block: &[u8; 34]) -> Bytes {
    let mut bytes = [0; BLOCK];
    for (byte, raw) in bytes.iter_mut().zip(&block[2..]) {
        *byte = raw.cast_signed();
    }
    Bytes { scale: half(block[0], block[1]), bytes }
}

/// Blocks of `N` bytes, the last 16 of which are nibbles; `least` is told the scale and the block.
fn nibbles<const N: usize>(bytes: &[u8], least: impl Fn(f32, &[u8; N]) -> f32) -> Vec<Nibbles> {
    let block = |block: &[u8; N]| {
        let scale = half(block[0], block[1]);
        let mut nibbles = [0; BLOCK / 2];
        nibbles.copy_from_slice(&block[N - BLOCK / 2..]);
        Nibbles { scale, least: least(scale, block), bytes: nibbles }
    };
    bytes.as_chunks::<N>().0.iter().map(block).collect()
}

#[cfg(test)]
mod tests;
