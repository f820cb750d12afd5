//! Each product against plain loops over the same rounded numbers, for odd shapes.

use half::bf16;

use super::dense::{self, Layer};
use super::panels::{SPARE, pack};
use super::{Amx, Avx512, Product, attention};
use crate::kernels::fused::arithmetic::Scale;
use crate::kernels::instructions::Instructions;
use crate::kernels::workers::Workers;

const ALONE: Workers<'_> = Workers { threads: 1, pace: None };

fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 + seed * 104_729) % 1000) as f32 / 1000.0 - 0.5).collect()
}

fn rounded(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| bf16::from_f32(*value).to_f64()).collect()
}

/// `x · weight + bias` over rounded numbers.
fn plain(x: &[f32], weight: &[f32], bias: &[f32], inputs: usize) -> Vec<f64> {
    let (x, weight) = (rounded(x), rounded(weight));
    let mut answer = Vec::new();
    for row in x.chunks(inputs) {
        let mut sums: Vec<f64> = bias.iter().map(|bias| f64::from(*bias)).collect();
        for (x, weights) in row.iter().zip(weight.chunks(bias.len())) {
            sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += x * weight);
        }
        answer.extend(sums);
    }
    answer
}

fn gelu(x: f64) -> f64 {
    // Φ by its series, exact enough between -6 and 6.
    let (mut term, mut sum) = (x, x);
    for n in 1..80 {
        term *= -x * x / (2.0 * f64::from(n));
        sum += term / f64::from(2 * n + 1);
    }
    x * (0.5 + sum / (2.0 * std::f64::consts::PI).sqrt())
}

fn near(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(error <= tolerance, "{what}: number {index} is {found} and not {expected}");
    }
}

/// Runs a check for each product that this chip has.
macro_rules! on_each {
    ($check:ident) => {
        if Instructions::Avx512Bf16.available() {
            $check::<Avx512>();
        } else {
            println!("skipped: this chip lacks AVX512-BF16");
        }
        if Instructions::Amx.available() {
            $check::<Amx>();
        } else {
            println!("skipped: this chip, or its system, lacks AMX-BF16");
        }
    };
}

fn dense_layers<P: Product>() {
    let shapes = [(32, 16), (33, 17), (1, 1), (48, 40), (384, 100), (1600, 33), (7, 65)];
    for (inputs, outputs) in shapes {
        let (weight, bias) = (numbers(inputs * outputs, 1), numbers(outputs, 2));
        let (packed, first) = pack(&weight, inputs, outputs);
        let panels = &packed[first..first + packed.len() - SPARE];
        let layer = Layer { panels, bias: &bias, inputs };
        for rows in (1..=40).chain([256, 257, 300]) {
            let what = format!("{rows} rows, {inputs} to {outputs}");
            let x = numbers(rows * inputs, 3);
            let expected = plain(&x, &weight, &bias, inputs);
            // SAFETY: the caller asked whether the product is available.
            let found = unsafe { dense::linear::<P>(&ALONE, &x, &layer, false) };
            near(&found, &expected, 1e-4, &what);
            // SAFETY: as above.
            let found = unsafe { dense::linear::<P>(&ALONE, &x, &layer, true) };
            let bent: Vec<f64> = expected
                .iter()
                .map(|x| if x.abs() < 6.0 { gelu(*x) } else { x.max(0.0) })
                .collect();
            near(&found, &bent, 3e-4, &what);
        }
    }
}

#[test]
fn dense_layers_agree_with_plain_loops() {
    on_each!(dense_layers);
}

/// The steps with a normalisation against the same from parts.
fn normalised<P: Product>() {
    for (hidden, wide, rows) in [(32, 128, 5), (48, 96, 40), (40, 70, 33), (64, 1100, 290)] {
        let what = format!("{rows} rows of {hidden}, {wide} wide");
        let pack_of = |inputs: usize, outputs: usize, seed: usize| {
            (pack(&numbers(inputs * outputs, seed), inputs, outputs), numbers(outputs, seed + 1))
        };
        let ((up, up_first), up_bias) = pack_of(hidden, wide, 4);
        let ((down, down_first), down_bias) = pack_of(wide, hidden, 6);
        let up = Layer {
            panels: &up[up_first..up_first + up.len() - SPARE],
            bias: &up_bias,
            inputs: hidden,
        };
        let down = Layer {
            panels: &down[down_first..down_first + down.len() - SPARE],
            bias: &down_bias,
            inputs: wide,
        };
        let (weight, bias) = (numbers(hidden, 8), numbers(hidden, 9));
        let norm = Scale { weight: &weight, bias: &bias, epsilon: 1e-12 };
        let x = numbers(rows * hidden, 10);
        let mut found = x.clone();
        // SAFETY: the caller asked whether the product is available.
        let inner = unsafe {
            dense::feed_forward::<P>(&ALONE, &mut found, &up, &down, &norm);
            dense::linear::<P>(&ALONE, &x, &up, true)
        };
        // SAFETY: as above.
        let mut expected = unsafe { dense::linear::<P>(&ALONE, &inner, &down, false) };
        expected.iter_mut().zip(&x).for_each(|(sum, x)| *sum += x);
        norm.apply(&mut expected);
        let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
        near(&found, &expected, 1e-4, &what);
        let mut found = x.clone();
        // SAFETY: as above.
        unsafe { dense::add_norm::<P>(&ALONE, &inner, &down, &mut found, &norm) };
        near(&found, &expected, 1e-4, &what);
    }
}

#[test]
fn steps_with_a_normalisation_are_their_parts() {
    on_each!(normalised);
}

fn attends<P: Product>() {
    for (heads, size) in [(1, 32), (3, 16), (2, 8), (2, 80), (1, 64)] {
        let (hidden, inputs) = (heads * size, 24);
        let (weight, bias) = (numbers(inputs * 3 * hidden, 1), numbers(3 * hidden, 2));
        let (packed, first) = pack(&weight, inputs, 3 * hidden);
        let panels = &packed[first..first + packed.len() - SPARE];
        let layer = Layer { panels, bias: &bias, inputs };
        let lengths: Vec<usize> = (1..=40).chain([64, 97]).collect();
        let mut spans = Vec::new();
        for length in &lengths {
            let start = spans.last().map_or(0, |span: &std::ops::Range<usize>| span.end);
            spans.push(start..start + length);
        }
        let x = numbers(lengths.iter().sum::<usize>() * inputs, 3);
        // SAFETY: the caller asked whether the product is available.
        let found = unsafe { attention::self_attention::<P>(&ALONE, &x, &layer, &spans, heads) };
        let qkv = plain(&x, &weight, &bias, inputs);
        let at = |row: usize, part: usize, column: usize| {
            bf16::from_f64(qkv[row * 3 * hidden + part * hidden + column]).to_f64()
        };
        for span in &spans {
            for (row, head) in span.clone().flat_map(|row| (0..heads).map(move |head| (row, head)))
            {
                let columns = head * size..(head + 1) * size;
                let dot = |other: usize| -> f64 {
                    columns.clone().map(|column| at(row, 0, column) * at(other, 1, column)).sum()
                };
                let powers: Vec<f64> =
                    span.clone().map(|other| (dot(other) / (size as f64).sqrt()).exp()).collect();
                let sum: f64 = powers.iter().sum();
                let expected: Vec<f64> = columns
                    .clone()
                    .map(|column| {
                        let shares = span.clone().zip(&powers);
                        shares.map(|(other, power)| power / sum * at(other, 2, column)).sum()
                    })
                    .collect();
                let found = &found[row * hidden..][columns];
                near(found, &expected, 1e-2, &format!("{} tokens, {heads} x {size}", span.len()));
            }
        }
    }
}

#[test]
fn attention_agrees_with_its_formula() {
    on_each!(attends);
}
