//! The vectorised sums against plain loops.

use half::f16;

use super::{dot, dot_f16, dots_f16, dots_f32, dots_i8, hamming_distances, widen_f16};
use crate::testing::Draw;

fn check_close(what: &str, found: f32, expected: f64, magnitude: f64) {
    let bound = magnitude * 1e-5 + 1e-6;
    assert!((f64::from(found) - expected).abs() <= bound, "{what}: {found}, not {expected}");
}

fn plain(left: &[f32], right: &[f32]) -> (f64, f64) {
    let terms = left.iter().zip(right).map(|(left, right)| f64::from(*left) * f64::from(*right));
    terms.fold((0.0, 0.0), |(sum, magnitude), term| (sum + term, magnitude + term.abs()))
}

#[test]
fn products_are_those_of_a_plain_loop_at_every_length() {
    let mut draw = Draw::new(1);
    for width in [1, 7, 31, 32, 33, 64, 100, 384] {
        let query = draw.vector(width);
        let rows: Vec<Vec<f32>> = (0..5).map(|_| draw.vector(width)).collect();
        let block: Vec<f32> = rows.concat();
        let halves: Vec<f16> = block.iter().map(|value| f16::from_f32(*value)).collect();
        let codes: Vec<i8> = block.iter().map(|value| (value * 40.0) as i8).collect();
        let mut products = [[0.0; 5]; 3];
        dots_f32(&query, &block, &mut products[0]);
        dots_f16(&query, &halves, &mut products[1]);
        dots_i8(&query, &codes, &mut products[2]);
        let as_f32: [Vec<f32>; 3] = [
            block.clone(),
            halves.iter().map(|half| half.to_f32()).collect(),
            codes.iter().map(|code| f32::from(*code)).collect(),
        ];
        for (kind, products) in products.iter().enumerate() {
            for (row, product) in products.iter().enumerate() {
                let vector = &as_f32[kind][row * width..(row + 1) * width];
                let (sum, magnitude) = plain(&query, vector);
                check_close(&format!("kind {kind}, width {width}"), *product, sum, magnitude);
            }
        }
        assert_eq!(dot(&query, &rows[3]), products[0][3], "one alone is as one of many");
        let [first, second] = [&halves[..width], &halves[width..2 * width]];
        let (sum, magnitude) = plain(&as_f32[1][..width], &as_f32[1][width..2 * width]);
        check_close("two of f16", dot_f16(first, second), sum, magnitude);
    }
}

#[test]
fn every_finite_f16_widens_exactly() {
    for bits in 0..=u16::MAX {
        let number = f16::from_bits(bits);
        if number.is_finite() {
            assert_eq!(widen_f16(number).to_bits(), number.to_f32().to_bits(), "{bits:#06x}");
        }
    }
}

#[test]
fn distances_count_the_bits_that_differ() {
    let mut draw = Draw::new(2);
    for width in [1, 3, 8, 9, 16, 48, 61] {
        let mut bytes = || -> Vec<u8> { (0..width).map(|_| draw.number() as u8).collect() };
        let query = bytes();
        let rows = [bytes(), query.clone(), bytes()];
        let mut distances = [0; 3];
        hamming_distances(&query, &rows.concat(), &mut distances);
        for (row, distance) in rows.iter().zip(distances) {
            let differing = query.iter().zip(row).map(|(left, right)| {
                (0..8).filter(|bit| (left >> bit) & 1 != (right >> bit) & 1).count() as u32
            });
            assert_eq!(distance, differing.sum::<u32>(), "width {width}");
        }
    }
}
