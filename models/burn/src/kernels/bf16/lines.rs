//! Left operands: rows of f32 rounded to bf16 and laid out in blocks.

use std::arch::x86_64::{
    __m512, __m512i, _mm512_cvtne2ps_pbh, _mm512_loadu_ps, _mm512_mask_storeu_epi16,
    _mm512_maskz_loadu_ps,
};
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use half::bf16;

use super::{BLOCK, Line, WIDE};

thread_local! {
    /// Buffers of this thread that nobody uses now. A fresh one for each step would cost
    /// page faults.
    static SPARE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of lines with anything in it; it goes back to its thread's spare ones.
pub(in crate::kernels) struct Lines {
    buffer: Vec<Line>,
    length: usize,
}

impl Lines {
    pub(super) fn take(length: usize) -> Self {
        let mut buffer = SPARE.with_borrow_mut(|spare| spare.pop()).unwrap_or_default();
        if buffer.len() < length {
            buffer.resize(length, Line::ZERO);
        }
        Lines { buffer, length }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        // A thread that ends has no spare buffers any more.
        let _ = SPARE.try_with(|spare| spare.borrow_mut().push(buffer));
    }
}

impl Deref for Lines {
    type Target = [Line];

    fn deref(&self) -> &[Line] {
        &self.buffer[..self.length]
    }
}

impl DerefMut for Lines {
    fn deref_mut(&mut self) -> &mut [Line] {
        &mut self.buffer[..self.length]
    }
}

/// A left operand of `rows` rows, in blocks of `depth` tiles.
pub(in crate::kernels) struct Left {
    pub(super) lines: Lines,
    pub(super) rows: usize,
    pub(super) depth: usize,
}

impl Left {
    /// Room for rows of `width` numbers, with anything in it.
    pub(super) fn room(rows: usize, width: usize) -> Self {
        let depth = width.div_ceil(WIDE);
        Left { lines: Lines::take(rows.div_ceil(BLOCK) * BLOCK * depth), rows, depth }
    }

    /// Rows of `width` numbers, rounded to the nearest, ties to even; zeros up to whole
    /// lines and blocks.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub(super) fn round(values: &[f32], width: usize) -> Self {
        let mut left = Left::room(values.len() / width, width);
        for (row, values) in values.chunks_exact(width).enumerate() {
            for (tile, values) in values.chunks(WIDE).enumerate() {
                let at = left.place(row, tile);
                left.lines[at] = rounded(values);
            }
        }
        left.clear_below();
        left
    }

    /// Where a line lies: blocks of tiles of rows.
    #[inline]
    pub(super) fn place(&self, row: usize, tile: usize) -> usize {
        (row / BLOCK * self.depth + tile) * BLOCK + row % BLOCK
    }

    /// Zeros in the rows that fill up the last block.
    pub(super) fn clear_below(&mut self) {
        for row in self.rows..self.rows.next_multiple_of(BLOCK) {
            for tile in 0..self.depth {
                let at = self.place(row, tile);
                self.lines[at] = Line::ZERO;
            }
        }
    }
}

/// At most 32 numbers as a line, filled up with zeros.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) fn rounded(values: &[f32]) -> Line {
    join(load(values))
}

/// The first 32 numbers in two registers, zeros where there are fewer.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) fn load(values: &[f32]) -> [__m512; 2] {
    let start = values.as_ptr();
    // SAFETY: both loads stay inside the slice, the second pair by its masks.
    unsafe {
        if values.len() >= WIDE {
            [_mm512_loadu_ps(start), _mm512_loadu_ps(start.add(BLOCK))]
        } else {
            let [low, high] = masks(values.len());
            let second = start.wrapping_add(BLOCK);
            [_mm512_maskz_loadu_ps(low, start), _mm512_maskz_loadu_ps(high, second)]
        }
    }
}

/// Two registers rounded to one line.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) fn join([low, high]: [__m512; 2]) -> Line {
    // SAFETY: both types are 512 bits of any content.
    unsafe { std::mem::transmute(_mm512_cvtne2ps_pbh(high, low)) }
}

/// Writes the first numbers of a line.
///
/// # Safety
/// `count` numbers can be written there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn write(at: *mut bf16, line: Line, count: usize) {
    let mask = if count >= WIDE { u32::MAX } else { (1 << count) - 1 };
    // SAFETY: the mask keeps the store to `count` numbers; the types have the same size.
    unsafe {
        let line = std::mem::transmute::<Line, __m512i>(line);
        _mm512_mask_storeu_epi16(at.cast(), mask, line);
    }
}

/// The first `count` of 32 numbers, at most all of them, as masks of two registers.
#[inline]
pub(super) fn masks(count: usize) -> [u16; 2] {
    let mask = if count >= WIDE { u32::MAX } else { (1u32 << count) - 1 };
    [mask as u16, (mask >> BLOCK) as u16]
}
