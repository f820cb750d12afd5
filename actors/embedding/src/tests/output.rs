//! Output formats, against values worked out by hand or by numpy's rules.

use proptest::prelude::{ProptestConfig, Strategy, prop, prop_assert, prop_assert_eq, proptest};

use crate::{OutputFormat, Quantised, quantise, shorten};

#[test]
fn names_go_both_ways() {
    let found: Vec<_> = OutputFormat::NAMES.iter().map(|name| OutputFormat::named(name)).collect();
    let all =
        [OutputFormat::Float, OutputFormat::Base64, OutputFormat::Int8, OutputFormat::Ubinary];
    assert_eq!(found, all.map(Some));
    for other in ["", "FLOAT", "binary", "uint8"] {
        assert_eq!(OutputFormat::named(other), None, "{other}");
    }
}

#[test]
fn formats() {
    let vector = vec![0.0, 1.0, -1.0, 0.5, -0.004, 0.004, f32::MIN_POSITIVE, -0.0, 0.2];
    let table = [
        (OutputFormat::Float, Quantised::Float(vector.clone())),
        // 0.5 × 127 = 63.5 rounds away from zero; 0.004 × 127 = 0.508.
        (OutputFormat::Int8, Quantised::Int8(vec![0, 127, -127, 64, -1, 1, 0, 0, 25])),
        // Signs 0 1 0 1 0 1 1 0 | 1, the first in the highest bit.
        (OutputFormat::Ubinary, Quantised::Ubinary(vec![0b0101_0110, 0b1000_0000])),
    ];
    for (format, expected) in table {
        assert_eq!(quantise(vector.clone(), format), expected, "{format:?}");
    }
}

#[test]
fn bytes_are_little_endian_floats() {
    // IEEE 754: 1.0 is 3f800000, -2.5 is c0200000.
    let expected = vec![0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0];
    assert_eq!(quantise(vec![1.0, -2.5], OutputFormat::Base64), Quantised::Bytes(expected));
}

#[test]
fn components_beyond_one_are_clamped() {
    let values = vec![1.5, -7.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    let expected = Quantised::Int8(vec![127, -127, 127, -127, 0]);
    assert_eq!(quantise(values, OutputFormat::Int8), expected);
}

#[test]
fn shortening() {
    let table: [(&[f32], usize, bool, &[f32]); 6] = [
        (&[3.0, 4.0, 12.0], 2, true, &[0.6, 0.8]),
        (&[3.0, 4.0, 12.0], 2, false, &[3.0, 4.0]),
        // The whole vector is left exactly as it came.
        (&[3.0, 4.0], 2, true, &[3.0, 4.0]),
        (&[3.0, 4.0], 5, true, &[3.0, 4.0]),
        (&[0.0, 0.0, 1.0], 2, true, &[0.0, 0.0]),
        (&[-2.0, 1.0], 1, true, &[-1.0]),
    ];
    for (vector, dimensions, normalise, expected) in table {
        let mut found = vector.to_vec();
        shorten(&mut found, dimensions, normalise);
        assert_eq!(found, expected, "{vector:?} to {dimensions}");
    }
}

fn vectors() -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(-1.0f32..1.0, 1..70)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_shortened_vector_has_length_one_and_its_direction(
        vector in vectors(),
        share in 1..99usize,
    ) {
        let dimensions = vector.len() * share / 100;
        let mut cut = vector.clone();
        shorten(&mut cut, dimensions, true);
        prop_assert_eq!(cut.len(), dimensions);
        let length = cut.iter().map(|value| value * value).sum::<f32>().sqrt();
        let before = vector[..dimensions].iter().map(|value| value * value).sum::<f32>().sqrt();
        if before > 1e-3 {
            prop_assert!((length - 1.0).abs() < 1e-5, "length {}", length);
            for (now, then) in cut.iter().zip(&vector) {
                prop_assert!((now * before - then).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn int8_is_within_half_a_step_and_ubinary_keeps_every_sign(vector in vectors()) {
        let Quantised::Int8(steps) = quantise(vector.clone(), OutputFormat::Int8) else {
            unreachable!("int8 was asked for")
        };
        for (step, value) in steps.iter().zip(&vector) {
            prop_assert!((f32::from(*step) - value * 127.0).abs() <= 0.5001);
        }
        let Quantised::Ubinary(bytes) = quantise(vector.clone(), OutputFormat::Ubinary) else {
            unreachable!("ubinary was asked for")
        };
        prop_assert_eq!(bytes.len(), vector.len().div_ceil(8));
        for place in 0..bytes.len() * 8 {
            let bit = bytes[place / 8] >> (7 - place % 8) & 1 == 1;
            prop_assert_eq!(bit, vector.get(place).is_some_and(|value| *value > 0.0));
        }
    }
}
