//! Elementwise and row-wise arithmetic in f32, compiled for each vector width and chosen
//! at run time.

use pulp::{Arch, Simd, WithSimd};

/// Partial sums of one row; independent, so that they fill a vector register.
const LANES: usize = 32;

/// `x · Φ(x)` in place.
pub(in crate::kernels) fn gelu(values: &mut [f32]) {
    struct Gelu<'a>(&'a mut [f32]);
    impl WithSimd for Gelu<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, _simd: S) {
            gelu_row(self.0);
        }
    }
    Arch::new().dispatch(Gelu(values));
}

/// [`gelu`] inside a loop that is dispatched as a whole.
#[inline(always)]
pub(super) fn gelu_row(row: &mut [f32]) {
    for value in row {
        *value = gelu_of(*value);
    }
}

/// [`add`] inside a loop that is dispatched as a whole.
#[inline(always)]
pub(in crate::kernels) fn add_row(row: &mut [f32], other: &[f32]) {
    for (value, other) in row.iter_mut().zip(other) {
        *value += other;
    }
}

/// `softmax(scale · row)` in place for each row of `width` numbers.
pub(in crate::kernels) fn softmax(values: &mut [f32], width: usize, scale: f32) {
    struct Softmax<'a>(&'a mut [f32], usize, f32);
    impl WithSimd for Softmax<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, _simd: S) {
            for row in self.0.chunks_exact_mut(self.1) {
                softmax_row(row, self.2);
            }
        }
    }
    Arch::new().dispatch(Softmax(values, width, scale));
}

/// `values += other`, both as long.
pub(in crate::kernels) fn add(values: &mut [f32], other: &[f32]) {
    struct Add<'a>(&'a mut [f32], &'a [f32]);
    impl WithSimd for Add<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, _simd: S) {
            add_row(self.0, self.1);
        }
    }
    Arch::new().dispatch(Add(values, other));
}

/// Layer normalisation (arXiv:1607.06450) of rows as long as `weight` and `bias`.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) struct Scale<'a> {
    pub(in crate::kernels) weight: &'a [f32],
    pub(in crate::kernels) bias: &'a [f32],
    pub(in crate::kernels) epsilon: f32,
}

impl Scale<'_> {
    /// Every row of `values`, in place.
    pub(in crate::kernels) fn apply(&self, values: &mut [f32]) {
        struct Apply<'a>(&'a mut [f32], Scale<'a>);
        impl WithSimd for Apply<'_> {
            type Output = ();

            #[inline(always)]
            fn with_simd<S: Simd>(self, _simd: S) {
                let Scale { weight, bias, epsilon } = self.1;
                for row in self.0.chunks_exact_mut(weight.len()) {
                    norm_row(row, weight, bias, epsilon);
                }
            }
        }
        Arch::new().dispatch(Apply(values, *self));
    }
}

#[inline(always)]
fn norm_row(row: &mut [f32], weight: &[f32], bias: &[f32], epsilon: f32) {
    let count = row.len() as f32;
    let mean = fold(row, 0.0, |sum, value| sum + value, |a, b| a + b) / count;
    let squares =
        fold(row, 0.0, |sum, value| (value - mean).mul_add(value - mean, sum), |a, b| a + b);
    let scale = 1.0 / (squares / count + epsilon).sqrt();
    for ((value, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
        *value = ((*value - mean) * scale).mul_add(*weight, *bias);
    }
}

#[inline(always)]
fn softmax_row(row: &mut [f32], scale: f32) {
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let top = fold(row, f32::NEG_INFINITY, larger, larger);
    for value in row.iter_mut() {
        *value = exp((*value - top) * scale);
    }
    let inverse = 1.0 / fold(row, 0.0, |sum, value| sum + value, |a, b| a + b);
    for value in row.iter_mut() {
        *value *= inverse;
    }
}

/// A reduction in `LANES` independent strands, because a compiler may not reorder one.
#[inline(always)]
pub(in crate::kernels) fn fold(
    row: &[f32],
    start: f32,
    step: impl Fn(f32, f32) -> f32,
    join: impl Fn(f32, f32) -> f32,
) -> f32 {
    let mut strands = [start; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            strands[lane] = step(strands[lane], chunk[lane]);
        }
    }
    let head = strands.into_iter().fold(start, &join);
    rest.iter().fold(head, |sum, value| step(sum, *value))
}

/// `x · Φ(x) = max(x, 0) − |x| / 2 · erfc(|x| / √2)`, with erfc by formula 7.1.26 of
/// Abramowitz and Stegun (absolute error below 1.5e-7).
#[inline(always)]
fn gelu_of(x: f32) -> f32 {
    let size = x.abs();
    let z = size * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / 0.327_591_1f32.mul_add(z, 1.0);
    let series = 1.061_405_4f32
        .mul_add(t, -1.453_152)
        .mul_add(t, 1.421_413_7)
        .mul_add(t, -0.284_496_74)
        .mul_add(t, 0.254_829_6)
        * t;
    let tail = 0.5 * size * series * exp(-z * z);
    (if x > 0.0 { x } else { 0.0 }) - tail
}

/// `eˣ` for x ≤ 0 to about 2 units in the last place: 2ⁿ · eʳ with |r| ≤ ln 2 / 2, by the
/// polynomial of the Cephes library's `expf`. Below −87 the answer is about 1.6e-38.
#[inline(always)]
pub(in crate::kernels) fn exp(x: f32) -> f32 {
    // Adding and taking away 1.5 · 2²³ rounds to the nearest whole number.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = if x > -87.0 { x } else { -87.0 };
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, x));
    let series = 1.987_569_1e-4f32
        .mul_add(r, 1.398_199_9e-3)
        .mul_add(r, 8.333_452e-3)
        .mul_add(r, 4.166_579_6e-2)
        .mul_add(r, 1.666_666_5e-1)
        .mul_add(r, 0.5);
    let power = series.mul_add(r * r, r + 1.0);
    // The whole number stands in the low bits of `shifted`; shift it into the exponent.
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    power * scale
}

#[cfg(test)]
mod tests;
