//! The product on AVX512-BF16: eight rows by one panel in sixteen registers.

use std::arch::x86_64::{
    __m512, __m512bh, _mm512_dpbf16_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_set1_epi32,
    _mm512_setzero_ps, _mm512_storeu_ps,
};

use super::{BLOCK, Operands, Product, TILE, WIDE};

pub(in crate::kernels) struct Avx512(());

/// Rows whose sums stay in registers: twice as many sums, which hide the latency of the
/// product, and room for operands among the 32 registers.
const ROWS: usize = 8;

impl Product for Avx512 {
    unsafe fn begin() -> Self {
        Avx512(())
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn run(&self, operands: &Operands) {
        for block in 0..operands.blocks {
            for part in 0..BLOCK / ROWS {
                // SAFETY: by the caller; the rows are those of `blocks` blocks.
                unsafe { rows(operands, block, part * ROWS) }
            }
        }
    }
}

/// # Safety
/// As [`Product::run`]; `block` is one of the blocks and `first` a row of it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn rows(operands: &Operands, block: usize, first: usize) {
    let into = operands.into.cast::<f32>().wrapping_add((block * BLOCK + first) * WIDE);
    let left = operands.left.wrapping_add(block * operands.left_step + first).cast::<i32>();
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    if operands.keep {
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: these rows of `into` are there.
            unsafe {
                sums[0] = _mm512_loadu_ps(into.add(row * WIDE));
                sums[1] = _mm512_loadu_ps(into.add(row * WIDE + BLOCK));
            }
        }
    }
    for tile in 0..operands.depth {
        let right = operands.right.wrapping_add(2 * tile * TILE);
        let left = left.wrapping_add(tile * TILE / 2);
        for pair in 0..BLOCK {
            // SAFETY: both tiles of the panel hold 16 lines of 32 numbers.
            let right =
                unsafe { [line(right.add(pair * WIDE)), line(right.add(TILE + pair * WIDE))] };
            for (row, sums) in sums.iter_mut().enumerate() {
                // SAFETY: a line of the left tile holds 16 pairs, each of them 32 bits.
                let left = unsafe { pairs(*left.add(row * BLOCK + pair)) };
                sums[0] = _mm512_dpbf16_ps(sums[0], left, right[0]);
                sums[1] = _mm512_dpbf16_ps(sums[1], left, right[1]);
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        // SAFETY: these rows of `into` are there.
        unsafe {
            _mm512_storeu_ps(into.add(row * WIDE), sums[0]);
            _mm512_storeu_ps(into.add(row * WIDE + BLOCK), sums[1]);
        }
    }
}

/// # Safety
/// 64 bytes can be read there.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn line(at: *const half::bf16) -> __m512bh {
    // SAFETY: by the caller; both types are 512 bits of any content.
    unsafe { std::mem::transmute(_mm512_loadu_si512(at.cast())) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn pairs(pair: i32) -> __m512bh {
    // SAFETY: both types are 512 bits of any content.
    unsafe { std::mem::transmute(_mm512_set1_epi32(pair)) }
}

const _: () = assert!(size_of::<__m512>() == BLOCK * size_of::<f32>());
