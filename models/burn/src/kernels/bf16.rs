//! Dense layers and attention from bf16 products with sums in f32, on the instructions that
//! the chip has: one driver, and a small product for each instruction set.
//!
//! A **block** is 16 rows of a left operand: for each 32 columns of depth one tile of 16
//! lines, a line being 32 numbers of one row. A **panel** is 32 columns of a right operand:
//! for each 32 rows of depth two tiles of 16 columns, whose lines hold two rows of depth in
//! pairs, as both instruction sets want them.

use half::bf16;

pub(super) mod attention;
pub(super) mod dense;
pub(super) mod lines;
pub(super) mod panels;
pub(super) mod sinks;

mod amx;
mod avx512;

pub(super) use amx::Amx;
pub(super) use avx512::Avx512;

/// Rows of a block, and columns of half a panel.
const BLOCK: usize = 16;

/// Columns of a panel, and numbers of a line.
pub(super) const WIDE: usize = 32;

/// Numbers of one tile: 16 lines.
const TILE: usize = BLOCK * WIDE;

/// 32 numbers of one row, as long as a cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [bf16; WIDE]);

impl Line {
    const ZERO: Line = Line([bf16::ZERO; WIDE]);
}

/// The sums of two blocks by one panel, 32 rows of 32.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Sums([f32; WIDE * WIDE]);

impl Sums {
    const ZERO: Sums = Sums([0.0; WIDE * WIDE]);
}

/// One product of one or two blocks by one panel.
#[derive(Clone, Copy)]
pub(super) struct Operands {
    /// The first tile of the first block.
    left: *const Line,
    /// Lines from a tile to the one of the next block.
    left_step: usize,
    /// One or two.
    blocks: usize,
    /// The first tile of the panel; any alignment.
    right: *const bf16,
    /// Tiles of a block, half the tiles of the panel; at least one.
    depth: usize,
    into: *mut Sums,
    /// Whether the product is added to what stands in `into`.
    keep: bool,
}

/// The product of one instruction set.
pub(super) trait Product: Sized {
    /// Makes this thread ready.
    ///
    /// # Safety
    /// The chip has the instructions and the system lets the process use them.
    unsafe fn begin() -> Self;

    /// `into = left · right`, or with `keep` added to it; with one block, the upper half of
    /// `into` only.
    ///
    /// # Safety
    /// `left` and `right` point at as many tiles as `blocks`, `left_step` and `depth` say,
    /// and nobody else touches `into`.
    unsafe fn run(&self, operands: &Operands);
}

#[cfg(test)]
mod tests;
