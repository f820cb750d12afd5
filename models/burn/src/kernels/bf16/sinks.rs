//! What becomes of the sums of a dense layer: the last arithmetic before they leave the
//! cache.

use std::arch::x86_64::{
    __m512, _mm512_add_ps, _mm512_fmadd_ps, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps,
    _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps, _mm512_set1_ps,
};

use half::bf16;

use super::lines::{Left, join, load, masks, write};
use super::{BLOCK, Line, Sums, WIDE};

/// Takes the sums of some rows and one panel.
pub(super) trait Sink: Sync {
    /// `rows` rows from `first_row` on, at most as many as `sums` holds.
    ///
    /// # Safety
    /// Rows and panel lie in the matrix that the sink writes to, nobody else touches this
    /// part of it, and the chip has AVX512-BF16.
    unsafe fn put(&self, sums: &Sums, first_row: usize, rows: usize, panel: usize);
}

/// Adds the bias and writes f32 to a row-major matrix as wide as the bias; with `ADD` onto
/// what stands there.
pub(super) struct Write<'a, const ADD: bool> {
    pub(super) bias: &'a [f32],
    pub(super) into: *mut f32,
}

// SAFETY: the pointer is used only as `put` allows, each part by one thread.
unsafe impl<const ADD: bool> Sync for Write<'_, ADD> {}

impl<const ADD: bool> Sink for Write<'_, ADD> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn put(&self, sums: &Sums, first_row: usize, rows: usize, panel: usize) {
        let (width, start) = (self.bias.len(), panel * WIDE);
        let bias = load(&self.bias[start..]);
        let masks = masks(width - start);
        for row in 0..rows {
            let sums = row_of(sums, row);
            let into = self.into.wrapping_add((first_row + row) * width + start);
            for half in 0..2 {
                let into = into.wrapping_add(half * BLOCK);
                let mut value = _mm512_add_ps(sums[half], bias[half]);
                // SAFETY: by the caller; the mask ends where the row does.
                unsafe {
                    if ADD {
                        value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(masks[half], into));
                    }
                    _mm512_mask_storeu_ps(into, masks[half], value);
                }
            }
        }
    }
}

/// Adds the bias and writes bf16 to a row-major matrix as wide as the bias.
pub(super) struct Round<'a> {
    pub(super) bias: &'a [f32],
    pub(super) into: *mut bf16,
}

// SAFETY: as for `Write`.
unsafe impl Sync for Round<'_> {}

impl Sink for Round<'_> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn put(&self, sums: &Sums, first_row: usize, rows: usize, panel: usize) {
        let (width, start) = (self.bias.len(), panel * WIDE);
        let bias = load(&self.bias[start..]);
        for row in 0..rows {
            let line = join(added(row_of(sums, row), bias));
            let into = self.into.wrapping_add((first_row + row) * width + start);
            // SAFETY: by the caller; the count ends where the row does.
            unsafe { write(into, line, width - start) }
        }
    }
}

/// Adds the bias, applies GELU and writes the left operand of the next layer, whose depth
/// is this one's panels.
pub(super) struct Gelu<'a> {
    bias: &'a [f32],
    depth: usize,
    into: *mut Line,
}

// SAFETY: as for `Write`.
unsafe impl Sync for Gelu<'_> {}

impl<'a> Gelu<'a> {
    pub(super) fn new(bias: &'a [f32], into: &mut Left) -> Self {
        Gelu { bias, depth: into.depth, into: into.lines.as_mut_ptr() }
    }
}

impl Sink for Gelu<'_> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn put(&self, sums: &Sums, first_row: usize, rows: usize, panel: usize) {
        let bias = load(&self.bias[panel * WIDE..]);
        for row in 0..rows {
            let line = join(activated(row_of(sums, row), bias));
            let place = (first_row + row) / BLOCK * self.depth + panel;
            // SAFETY: by the caller; a row has as many lines as the layer has panels.
            unsafe { self.into.add(place * BLOCK + (first_row + row) % BLOCK).write(line) }
        }
    }
}

/// Adds the bias, applies GELU and writes f32 to a row-major matrix as wide as the bias.
pub(super) struct WriteGelu<'a> {
    pub(super) bias: &'a [f32],
    pub(super) into: *mut f32,
}

// SAFETY: as for `Write`.
unsafe impl Sync for WriteGelu<'_> {}

impl Sink for WriteGelu<'_> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn put(&self, sums: &Sums, first_row: usize, rows: usize, panel: usize) {
        let (width, start) = (self.bias.len(), panel * WIDE);
        let bias = load(&self.bias[start..]);
        let masks = masks(width - start);
        for row in 0..rows {
            let values = activated(row_of(sums, row), bias);
            let into = self.into.wrapping_add((first_row + row) * width + start);
            for half in 0..2 {
                let into = into.wrapping_add(half * BLOCK);
                // SAFETY: by the caller; the mask ends where the row does.
                unsafe { _mm512_mask_storeu_ps(into, masks[half], values[half]) }
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) fn row_of(sums: &Sums, row: usize) -> [__m512; 2] {
    load(&sums.0[row * WIDE..(row + 1) * WIDE])
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn added(values: [__m512; 2], bias: [__m512; 2]) -> [__m512; 2] {
    [_mm512_add_ps(values[0], bias[0]), _mm512_add_ps(values[1], bias[1])]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn activated(values: [__m512; 2], bias: [__m512; 2]) -> [__m512; 2] {
    let [low, high] = added(values, bias);
    // No `map`: it would not inline a function with features of its own.
    [gelu(low), gelu(high)]
}

/// `x · Φ(x)` to within 9e-5, well below what rounding the answer to bf16 loses, with
/// `Φ(x) = ½ + x · P(x²)` between −4.2 and 4.2 and 0 or 1 beyond. `P` is the least-maximum
/// fit of degree 7, weighted by |x|.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) fn gelu(x: __m512) -> __m512 {
    const END: f32 = 4.2;
    const SERIES: [f32; 8] = [
        -9.017_944e-10,
        7.941_607e-8,
        -3.038_001_5e-6,
        6.689_163e-5,
        -9.506_643_4e-4,
        9.298_256e-3,
        -6.552_825e-2,
        3.984_659e-1,
    ];
    // Beyond the end the sum is 0 only to a millionth, so the factor must not grow.
    let factor = _mm512_max_ps(x, _mm512_set1_ps(-END));
    let inner = _mm512_min_ps(factor, _mm512_set1_ps(END));
    let square = _mm512_mul_ps(inner, inner);
    let mut sum = _mm512_set1_ps(SERIES[0]);
    for coefficient in &SERIES[1..] {
        sum = _mm512_fmadd_ps(sum, square, _mm512_set1_ps(*coefficient));
    }
    _mm512_mul_ps(factor, _mm512_fmadd_ps(inner, sum, _mm512_set1_ps(0.5)))
}
