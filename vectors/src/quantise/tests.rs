//! Every format against its stated error, and scores against plain similarity.

use half::f16;

use super::{Calibration, QuantiseError, Scorer, Stored, signs, to_bits, to_f16};
use crate::products::dot;
use crate::testing::Draw;
use crate::{Metric, NumberFormat, similarity};

fn sample(seed: u64, count: usize, dimensions: usize) -> Vec<Vec<f32>> {
    let mut draw = Draw::new(seed);
    // Components of different spread and place, as real models have them.
    let spread = |place: usize| 0.1 + place as f32;
    let shifted = |draw: &mut Draw, place: usize| draw.component() * spread(place) + place as f32;
    (0..count).map(|_| (0..dimensions).map(|place| shifted(&mut draw, place)).collect()).collect()
}

#[test]
fn codes_keep_a_component_within_half_a_step() {
    let sample = sample(1, 500, 24);
    let calibration = Calibration::fit(&sample, 0.0).expect("a good sample");
    let steps: Vec<f32> = calibration.steps().collect();
    for vector in &sample {
        let decoded = calibration.decode(&calibration.encode(vector));
        for (place, (found, exact)) in decoded.iter().zip(vector).enumerate() {
            let bound = steps[place] * 0.5 + exact.abs() * 1e-6 + 1e-6;
            assert!((found - exact).abs() <= bound, "{found} for {exact} at {place}");
        }
    }
}

#[test]
fn codes_at_known_places() {
    let calibration = Calibration::new(vec![-1.0, 0.0, 3.0], vec![1.0, 255.0, 3.0]);
    let calibration = calibration.expect("good ranges");
    for (vector, codes) in [
        ([-1.0, 0.0, 3.0], [-128, -128, -128]),
        ([1.0, 255.0, 9.0], [127, 127, -128]),
        ([-7.0, -7.0, -7.0], [-128, -128, -128]),
        ([7.0, 1e30, 3.0], [127, 127, -128]),
        ([0.5, 100.4, 3.0], [63, -28, -128]),
        ([0.5, 100.6, 3.0], [63, -27, -128]),
    ] {
        assert_eq!(calibration.encode(&vector), codes, "{vector:?}");
    }
    assert_eq!(calibration.decode(&[-128, 127, 127]), [-1.0, 255.0, 3.0]);
}

#[test]
fn a_cut_leaves_outliers_out() {
    let mut sample: Vec<[f32; 1]> = (0..1_000).map(|number| [number as f32]).collect();
    sample[500] = [1e9];
    let all = Calibration::fit(&sample, 0.0).expect("a good sample");
    assert_eq!((all.low(), all.high()), (&[0.0][..], &[1e9][..]));
    let cut = Calibration::fit(&sample, 0.01).expect("a good sample");
    assert_eq!((cut.low(), cut.high()), (&[10.0][..], &[990.0][..]));
}

#[test]
fn what_cannot_be_quantised_is_refused_with_a_reason() {
    let none: [Vec<f32>; 0] = [];
    let short = Calibration::symmetric(2, 1.0).expect("a good bound");
    let text = |answer: Result<Calibration, QuantiseError>| answer.expect_err("refused").0;
    let cases = [
        (text(Calibration::fit(&none, 0.0)), "at least one vector"),
        (text(Calibration::fit(&[vec![1.0]], 0.2)), "cut is 0.2"),
        (text(Calibration::fit(&[vec![1.0]], f64::NAN)), "cut is NaN"),
        (text(Calibration::fit(&[vec![1.0], vec![1.0, 2.0]], 0.0)), "of 1 and of 2 components"),
        (text(Calibration::fit(&[vec![f32::NAN]], 0.0)), "component 0"),
        (text(Calibration::new(vec![1.0], vec![])), "1 low ends and 0 high ones"),
        (text(Calibration::new(vec![0.0, 2.0], vec![0.0, 1.0])), "component 1 goes from 2 to 1"),
        (text(Calibration::new(vec![f32::MIN], vec![f32::MAX])), "component 0"),
        (Stored::keep(&[1.0], NumberFormat::I8, None).expect_err("refused").0, "fit one"),
        (
            Stored::keep(&[1.0], NumberFormat::I8, Some(&short)).expect_err("refused").0,
            "1 components, its calibration 2",
        ),
        (
            Scorer::new(Metric::Dot, &[1.0], Some(&short)).expect_err("refused").0,
            "1 components, its calibration 2",
        ),
    ];
    for (found, part) in cases {
        assert!(found.contains(part), "'{found}' does not say '{part}'");
    }
}

#[test]
fn half_precision_rounds_and_clamps() {
    let vector = [0.1, -1e9, 1e9, 1.0 + 1.0 / 4096.0, 0.0];
    let halves = to_f16(&vector);
    let expected = [f16::from_f32(0.1), f16::MIN, f16::MAX, f16::ONE, f16::ZERO];
    assert_eq!(halves, expected);
    for component in Draw::new(3).vector(1_000) {
        let found = f32::from(to_f16(&[component])[0]);
        assert!((found - component).abs() <= component.abs() / 2048.0 + 2.0_f32.powi(-25));
    }
}

#[test]
fn bits_are_numpys() {
    // numpy.packbits(numpy.array(vector) > 0)
    let vector = [0.5, -0.1, 0.0, 2.0, 1e-9, -3.0, -1.0, 7.0, 1.0, -1.0, 0.25];
    assert_eq!(to_bits(&vector), [0b1001_1001, 0b1010_0000]);
    let expected = [1.0, -1.0, -1.0, 1.0, 1.0, -1.0, -1.0, 1.0, 1.0, -1.0, 1.0];
    assert_eq!(signs(&to_bits(&vector), vector.len()), expected);
    assert_eq!(to_bits(&[]), [0_u8; 0]);
}

#[test]
fn blocks_score_as_each_vector_does_and_as_plain_similarity() {
    let dimensions = 50;
    let vectors = sample(4, 40, dimensions);
    let calibration = Calibration::fit(&vectors, 0.0).expect("a good sample");
    let query = Draw::new(5).vector(dimensions);
    for metric in [Metric::Cosine, Metric::Dot] {
        let scorer = Scorer::new(metric, &query, Some(&calibration)).expect("one length");
        for format in NumberFormat::ALL {
            let kept: Vec<Stored> = vectors
                .iter()
                .map(|vector| Stored::keep(vector, format, Some(&calibration)).expect("kept"))
                .collect();
            let scores = block_scores(&scorer, &kept, dimensions, &calibration);
            for (stored, score) in kept.iter().zip(scores) {
                assert_eq!(stored.format(), format);
                let plain = stored.components(dimensions, Some(&calibration)).expect("decoded");
                let exact = similarity(metric, &query, &plain);
                assert_eq!(scorer.score(stored).expect("scored"), exact);
                let bound = 1e-5 * (dot(&query, &query) * dot(&plain, &plain)).sqrt().max(1.0);
                assert!((score - exact).abs() <= bound, "{format:?}: {score}, not {exact}");
            }
        }
    }
}

fn block_scores(
    scorer: &Scorer,
    kept: &[Stored],
    dimensions: usize,
    calibration: &Calibration,
) -> Vec<f32> {
    let squares: Vec<f32> = kept
        .iter()
        .map(|stored| stored.components(dimensions, Some(calibration)).expect("decoded"))
        .map(|vector| dot(&vector, &vector))
        .collect();
    let mut scores = vec![0.0; kept.len()];
    let (mut floats, mut halves, mut codes) = (Vec::new(), Vec::new(), Vec::new());
    for stored in kept {
        match stored {
            Stored::F32(components) => floats.extend_from_slice(components),
            Stored::F16(components) => halves.extend_from_slice(components),
            Stored::I8(components) => codes.extend_from_slice(components),
            Stored::Binary(_) => {}
        }
    }
    match kept[0].format() {
        NumberFormat::F32 => scorer.score_f32(&floats, &squares, &mut scores),
        NumberFormat::F16 => scorer.score_f16(&halves, &squares, &mut scores),
        NumberFormat::I8 => scorer.score_i8(&codes, &squares, &mut scores).expect("calibrated"),
        NumberFormat::Binary => {
            for (stored, score) in kept.iter().zip(&mut scores) {
                let Stored::Binary(bits) = stored else { panic!("one format") };
                *score = scorer.rescore(bits);
            }
        }
    }
    scores
}

#[test]
fn bytes_are_what_a_format_promises() {
    let calibration = Calibration::symmetric(11, 1.0).expect("a good bound");
    for format in NumberFormat::ALL {
        let stored = Stored::keep(&[0.5; 11], format, Some(&calibration)).expect("kept");
        let bytes = match stored {
            Stored::F32(components) => 4 * components.len(),
            Stored::F16(components) => 2 * components.len(),
            Stored::I8(components) => components.len(),
            Stored::Binary(bits) => bits.len(),
        };
        assert_eq!(bytes, format.bytes(11), "{format:?}");
    }
}
