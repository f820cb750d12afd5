//! Inner products and Hamming distances, with the widest instructions that the chip has.
//!
//! Sums run in 16 separate lanes that are added up in one order, without fused
//! multiply-add: a score has the same bits on every machine.

use half::f16;
use pulp::{Arch, Simd, WithSimd};

/// One register of the widest kind. Of 8, 16 and 32 lanes in several spellings of the loop, this
/// one alone became vector instructions for every kind of number, with AVX2 and with AVX-512.
const LANES: usize = 16;
/// Two to the 112th, which moves the exponent of an f16 to where f32 has it.
const EXPONENT_SHIFT: f32 = f32::from_bits(0x7780_0000);

/// The inner product of two vectors; the longer one's surplus counts as zeros.
pub fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut product = [0.0];
    dots_f32(left, &right[..right.len().min(left.len())], &mut product);
    product[0]
}

/// The products of one vector with each of those that lie one after the other in `block`, one
/// for each place in `products`.
pub fn dots_f32(query: &[f32], block: &[f32], products: &mut [f32]) {
    Arch::new().dispatch(Dots { query, block, products, widen: |component| component });
}

/// The inner product of two vectors of one length, both in half precision.
pub fn dot_f16(left: &[f16], right: &[f16]) -> f32 {
    Arch::new().dispatch(DotF16 { left, right })
}

/// As [`dots_f32`].
pub fn dots_f16(query: &[f32], block: &[f16], products: &mut [f32]) {
    Arch::new().dispatch(Dots { query, block, products, widen: widen_f16 });
}

/// As [`dots_f32`].
pub fn dots_i8(query: &[f32], block: &[i8], products: &mut [f32]) {
    Arch::new().dispatch(Dots { query, block, products, widen: f32::from });
}

/// How many bits of `query` differ from each of the packed vectors that lie one after the other
/// in `block`, one for each place in `distances`.
pub fn hamming_distances(query: &[u8], block: &[u8], distances: &mut [u32]) {
    Arch::new().dispatch(Distances { query, block, distances });
}

/// The value of a finite f16, exact for subnormal ones too.
#[inline(always)]
fn widen_f16(number: f16) -> f32 {
    let bits = u32::from(number.to_bits());
    let magnitude = f32::from_bits((bits & 0x7fff) << 13) * EXPONENT_SHIFT;
    f32::from_bits(magnitude.to_bits() | (bits & 0x8000) << 16)
}

struct Dots<'a, T, F> {
    query: &'a [f32],
    block: &'a [T],
    products: &'a mut [f32],
    widen: F,
}

impl<T: Copy, F: Fn(T) -> f32> WithSimd for Dots<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Dots { query, block, products, widen } = self;
        let width = query.len().max(1);
        for (product, vector) in products.iter_mut().zip(block.chunks(width)) {
            *product = in_lanes(query, vector, &|component| component, &widen);
        }
    }
}

struct DotF16<'a> {
    left: &'a [f16],
    right: &'a [f16],
}

impl WithSimd for DotF16<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> f32 {
        in_lanes(self.left, self.right, &widen_f16, &widen_f16)
    }
}

// The inner loop counts: as a chain of zips the compiler leaves f32 and i8 scalar, which takes 5
// times longer.
#[inline(always)]
fn in_lanes<L: Copy, R: Copy>(
    query: &[L],
    vector: &[R],
    widen_query: &impl Fn(L) -> f32,
    widen: &impl Fn(R) -> f32,
) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (query_chunks, query_rest) = query.as_chunks::<LANES>();
    let (chunks, rest) = vector.as_chunks::<LANES>();
    for (query, chunk) in query_chunks.iter().zip(chunks) {
        for lane in 0..LANES {
            sums[lane] += widen_query(query[lane]) * widen(chunk[lane]);
        }
    }
    for ((sum, left), right) in sums.iter_mut().zip(query_rest).zip(rest) {
        *sum += widen_query(*left) * widen(*right);
    }
    let mut width = LANES / 2;
    while width > 0 {
        let (low, high) = sums.split_at_mut(width);
        low.iter_mut().zip(high).for_each(|(low, high)| *low += *high);
        width /= 2;
    }
    sums[0]
}

struct Distances<'a> {
    query: &'a [u8],
    block: &'a [u8],
    distances: &'a mut [u32],
}

impl WithSimd for Distances<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let width = self.query.len().max(1);
        for (distance, vector) in self.distances.iter_mut().zip(self.block.chunks(width)) {
            *distance = hamming(self.query, vector);
        }
    }
}

#[inline(always)]
fn hamming(left: &[u8], right: &[u8]) -> u32 {
    let (left_words, left_rest) = left.as_chunks::<8>();
    let (right_words, right_rest) = right.as_chunks::<8>();
    let words = left_words.iter().zip(right_words);
    let in_words = words
        .map(|(left, right)| (u64::from_le_bytes(*left) ^ u64::from_le_bytes(*right)).count_ones());
    let rest = left_rest.iter().zip(right_rest);
    in_words.sum::<u32>() + rest.map(|(left, right)| (left ^ right).count_ones()).sum::<u32>()
}

#[cfg(test)]
mod tests;
