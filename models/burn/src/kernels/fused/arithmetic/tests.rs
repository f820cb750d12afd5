//! Arithmetic against the same formulas in f64.

use super::{Scale, add, exp, gelu, softmax};

#[test]
fn gelu_is_the_exact_one() {
    // x · Φ(x) from tables of the normal distribution, 9 digits.
    let cases: [(f32, f64); 10] = [
        (0.0, 0.0),
        (1.0, 0.841_344_746),
        (-1.0, -0.158_655_254),
        (2.0, 1.954_499_736),
        (-2.0, -0.045_500_264),
        (0.5, 0.345_731_230),
        (-3.0, -0.004_049_694),
        (6.0, 5.999_999_994),
        (-20.0, 0.0),
        (40.0, 40.0),
    ];
    for (x, expected) in cases {
        let mut values = [x];
        gelu(&mut values);
        assert!((f64::from(values[0]) - expected).abs() < 4e-7, "gelu({x}) = {}", values[0]);
    }
}

#[test]
fn exp_is_near_the_library_over_its_range() {
    for step in 0..=8700 {
        let x = -(step as f32) / 100.0;
        let expected = f64::from(x).exp();
        let error = (f64::from(exp(x)) - expected).abs() / expected;
        assert!(error < 3e-7, "exp({x}) is off by {error}");
    }
    assert!(exp(f32::NEG_INFINITY) < 2e-38 && exp(-1e9) < 2e-38);
    assert_eq!(exp(0.0), 1.0);
}

#[test]
fn softmax_rows_sum_to_one_for_every_width() {
    for width in [1, 2, 31, 32, 33, 100] {
        let mut values: Vec<f32> = (0..2 * width).map(|i| (i as f32 * 1.7).sin() * 30.0).collect();
        let before = values.clone();
        softmax(&mut values, width, 0.25);
        for (row, before) in values.chunks(width).zip(before.chunks(width)) {
            let powers: Vec<f64> = before.iter().map(|x| (f64::from(*x) * 0.25).exp()).collect();
            let sum: f64 = powers.iter().sum();
            for (found, power) in row.iter().zip(powers) {
                assert!((f64::from(*found) - power / sum).abs() < 1e-6, "width {width}");
            }
        }
    }
}

#[test]
fn the_normalised_sum_follows_its_formula_for_every_width() {
    for width in [1, 3, 32, 48, 100] {
        let row = |phase: f32| -> Vec<f32> {
            (0..2 * width).map(|i| (i as f32 * 0.9 + phase).sin() * 3.0).collect()
        };
        let (mut values, residual) = (row(0.0), row(1.0));
        let (weight, bias) = (&row(2.0)[..width], &row(3.0)[..width]);
        let before = values.clone();
        add(&mut values, &residual);
        Scale { weight, bias, epsilon: 1e-5 }.apply(&mut values);
        for start in [0, width] {
            let sums: Vec<f64> = (start..start + width)
                .map(|i| f64::from(before[i]) + f64::from(residual[i]))
                .collect();
            let mean = sums.iter().sum::<f64>() / width as f64;
            let variance = sums.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
            for (i, sum) in sums.iter().enumerate() {
                let scaled = (sum - mean) / (variance + 1e-5).sqrt();
                let expected = scaled * f64::from(weight[i]) + f64::from(bias[i]);
                let found = f64::from(values[start + i]);
                assert!((found - expected).abs() < 2e-5, "width {width}: {found}, {expected}");
            }
        }
    }
}
