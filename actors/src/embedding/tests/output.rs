//! Output formats, against values worked out by hand or by numpy's rules.

use headwater_vectors::quantise::Calibration;

use crate::embedding::{OutputFormat, Quantised, fixed_range, quantise};

#[test]
fn formats() {
    let vector = vec![0.0, 1.0, -1.0, 0.5, -0.004, 0.004, f32::MIN_POSITIVE, -0.0, 0.2];
    let table = [
        (OutputFormat::Float, Quantised::Float(vector.clone())),
        // 0.5 × 127 = 63.5 rounds away from zero; 0.004 × 127 = 0.508.
        (OutputFormat::Int8, Quantised::Signed(vec![0, 127, -127, 64, -1, 1, 0, 0, 25])),
        // Signs 0 1 0 1 0 1 1 0 | 1, the first in the highest bit.
        (OutputFormat::Ubinary, Quantised::Unsigned(vec![0b0101_0110, 0b1000_0000])),
        // numpy.packbits(...) less 128: 86 - 128 and 128 - 128.
        (OutputFormat::Binary, Quantised::Signed(vec![-42, 0])),
    ];
    for (format, expected) in table {
        assert_eq!(quantise(vector.clone(), format, None), expected, "{format:?}");
    }
}

#[test]
fn bytes_are_little_endian_floats() {
    // IEEE 754: 1.0 is 3f800000 and 3c00, -2.5 is c0200000 and c100, 2⁻²⁴ is the half 0001.
    let vector = vec![1.0, -2.5, 2f32.powi(-24)];
    let whole = vec![0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0, 0, 0, 0x80, 0x33];
    let half = vec![0, 0x3c, 0, 0xc1, 1, 0];
    assert_eq!(quantise(vector.clone(), OutputFormat::Base64, None), Quantised::Bytes(whole));
    assert_eq!(quantise(vector, OutputFormat::Float16, None), Quantised::Bytes(half));
}

#[test]
fn components_beyond_one_are_clamped() {
    let values = vec![1.5, -7.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    let expected = Quantised::Signed(vec![127, -127, 127, -127, 0]);
    assert_eq!(quantise(values, OutputFormat::Int8, None), expected);
}

#[test]
fn a_calibration_spreads_each_component_over_all_codes() {
    let calibration = Calibration::new(vec![-0.1, 0.2], vec![0.1, 0.3]).expect("ranges");
    let int8 = |vector: Vec<f32>| quantise(vector, OutputFormat::Int8, Some(&calibration));
    assert_eq!(int8(vec![-0.1, 0.2]), Quantised::Signed(vec![-128, -128]));
    assert_eq!(int8(vec![0.1, 0.3]), Quantised::Signed(vec![127, 127]));
    assert_eq!(int8(vec![0.5, -0.5]), Quantised::Signed(vec![127, -128]));
    assert_eq!(int8(vec![1.0, 0.0, -1.0]), Quantised::Signed(vec![127, 0, -127]), "another length");
}

#[test]
fn the_fixed_scale_is_read_by_the_same_formula() {
    let (low, high) = fixed_range();
    let fixed = Calibration::new(vec![low; 255], vec![high; 255]).expect("ranges");
    let codes: Vec<i8> = (-127..=127).collect();
    for (code, value) in codes.iter().zip(fixed.decode(&codes)) {
        assert!((value - f32::from(*code) / 127.0).abs() < 1e-6, "{code} is {value}");
    }
}
