//! Right operands: weights packed once, keys and values packed for each head.

use std::arch::x86_64::{
    _mm512_i32gather_epi32, _mm512_loadu_si512, _mm512_mullo_epi32, _mm512_permutex2var_epi16,
    _mm512_set1_epi32, _mm512_setr_epi32, _mm512_storeu_si512,
};

use half::bf16;

use super::{BLOCK, Line, TILE, WIDE};

/// Numbers that a packed weight is longer than its panels, so that these can begin where a
/// cache line does.
pub(in crate::kernels) const SPARE: usize = WIDE;

/// Numbers of one panel of `depth` tiles.
pub(super) fn panel_size(depth: usize) -> usize {
    2 * depth * TILE
}

/// A weight, row-major of shape `[inputs, outputs]`, in panels one after the other, filled
/// up with zeros. The first panel stands at the returned place of the buffer, where a cache
/// line begins.
pub(in crate::kernels) fn pack(
    weight: &[f32],
    inputs: usize,
    outputs: usize,
) -> (Vec<bf16>, usize) {
    let size = panel_size(inputs.div_ceil(WIDE));
    let count = outputs.div_ceil(WIDE) * size;
    let mut packed = vec![bf16::ZERO; count + SPARE];
    let first = packed.as_ptr().align_offset(align_of::<Line>()).min(SPARE);
    for (input, row) in weight.chunks_exact(outputs).enumerate() {
        for (output, value) in row.iter().enumerate() {
            packed[first + output / WIDE * size + place(input, output % WIDE)] =
                bf16::from_f32(*value);
        }
    }
    (packed, first)
}

/// Where a number lies in its panel.
fn place(row: usize, column: usize) -> usize {
    let tile = row / WIDE * 2 + column / BLOCK;
    tile * TILE + row % WIDE / 2 * WIDE + column % BLOCK * 2 + row % 2
}

/// The transpose of a block as half a panel: its 16 rows become columns.
///
/// `tiles` are the block's, `panel` is where the panel begins and `half` which of its halves
/// to write.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) fn transpose(block: &[Line], panel: &mut [Line], half: usize) {
    let row = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let rows = _mm512_mullo_epi32(row, _mm512_set1_epi32(BLOCK as i32));
    let tiles = block.chunks_exact(BLOCK).zip(panel.chunks_exact_mut(2 * BLOCK));
    for (tile, into) in tiles {
        let into = &mut into[half * BLOCK..];
        for (pair, into) in into.iter_mut().take(BLOCK).enumerate() {
            // SAFETY: a tile holds 16 lines of 16 pairs; the last one read is pair 15 of
            // line 15. A line takes 512 bits.
            unsafe {
                let start = tile.as_ptr().cast::<i32>().add(pair);
                let column = _mm512_i32gather_epi32::<4>(rows, start);
                _mm512_storeu_si512((&raw mut *into).cast(), column);
            }
        }
    }
}

/// Rows of at most 32 columns, one line each, as a panel of as many rows of depth: two rows
/// become the pairs of a line in each half of the panel.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) fn interleave(rows: &[Line], panel: &mut [Line]) {
    /// The numbers from `first` on of two lines in turn; the second line counts from 32.
    const fn pairs_from(first: i16) -> [i16; WIDE] {
        let mut order = [0; WIDE];
        let mut column = 0;
        while column < BLOCK {
            order[2 * column] = first + column as i16;
            order[2 * column + 1] = first + (column + WIDE) as i16;
            column += 1;
        }
        order
    }
    const ORDERS: [[i16; WIDE]; 2] = [pairs_from(0), pairs_from(BLOCK as i16)];
    // SAFETY: an order takes 512 bits.
    let orders = ORDERS.map(|order| unsafe { _mm512_loadu_si512(order.as_ptr().cast()) });
    for (rows, into) in rows.chunks_exact(WIDE).zip(panel.chunks_exact_mut(2 * BLOCK)) {
        for (pair, rows) in rows.as_chunks::<2>().0.iter().enumerate() {
            for (half, order) in orders.iter().enumerate() {
                // SAFETY: lines take 512 bits.
                unsafe {
                    let even = _mm512_loadu_si512((&raw const rows[0]).cast());
                    let odd = _mm512_loadu_si512((&raw const rows[1]).cast());
                    let line = _mm512_permutex2var_epi16(even, *order, odd);
                    _mm512_storeu_si512((&raw mut into[half * BLOCK + pair]).cast(), line);
                }
            }
        }
    }
}
