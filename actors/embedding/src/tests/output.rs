//! Names of output formats, and vectors cut short.

use proptest::prelude::{ProptestConfig, Strategy, prop, prop_assert, prop_assert_eq, proptest};

use crate::{OutputFormat, shorten};

#[test]
fn names_go_both_ways() {
    let found: Vec<_> = OutputFormat::NAMES.iter().map(|name| OutputFormat::named(name)).collect();
    let all = [
        OutputFormat::Float,
        OutputFormat::Base64,
        OutputFormat::Float16,
        OutputFormat::Int8,
        OutputFormat::Binary,
        OutputFormat::Ubinary,
    ];
    assert_eq!(found, all.map(Some));
    for other in ["", "FLOAT", "f16", "uint8"] {
        assert_eq!(OutputFormat::named(other), None, "{other}");
    }
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
}
