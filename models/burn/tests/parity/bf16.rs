//! Dense layers in bf16 against the references in f32, on each instruction set in turn.

use headwater_models::{Model, Pooling};
use headwater_models_burn::{BurnModel, BurnSettings, Instructions, NumberFormat, open};

use crate::support::{data, encode, minilm, reference, settings, texts};

const LEAST_COSINE: f32 = 0.9998;

/// The model on each instruction set that this chip has; says which are left out.
fn each(settings: BurnSettings, check: impl Fn(&BurnModel)) {
    if Instructions::best().is_none() {
        println!("skipped: this chip has neither AMX-BF16 nor AVX512-BF16");
        return;
    }
    let model = open(&BurnSettings { dtype: NumberFormat::Bf16, ..settings }).unwrap();
    for instructions in [Instructions::Avx512Bf16, Instructions::Amx] {
        match model.on(instructions) {
            Some(model) => check(&model),
            None => println!("skipped: this chip, or its system, lacks {}", instructions.name()),
        }
    }
}

/// Every text alone and all together, on one thread and on more.
fn compare(model: &BurnModel, texts: &[String], expected: &[Vec<f32>]) {
    let card = model.card();
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    for (batch, threads) in [(1, 1), (1, 2), (7, 1), (texts.len(), 3)] {
        let found = encode(model, texts, batch, threads);
        let mut least = 1.0f32;
        for ((text, found), expected) in texts.iter().zip(&found).zip(expected) {
            let lengths = (dot(found, found) * dot(expected, expected)).sqrt();
            let cosine = dot(found, expected) / lengths;
            assert!(cosine >= LEAST_COSINE, "{}: cosine {cosine} for {text:?}", card.arithmetic);
            assert!(found != expected, "bf16 never ran for {text:?}");
            least = least.min(cosine);
        }
        println!("{}, batch {batch}, {threads} threads: cosine from {least}", card.arithmetic);
    }
}

#[test]
fn minilm_keeps_its_directions() {
    let expected = reference("minilm.f32", 384);
    each(settings(minilm()), |model| compare(model, &texts("texts.json"), &expected));
}

#[test]
fn small_models_of_odd_sizes_keep_their_directions() {
    let plain = texts("tiny_texts.json");
    let cases = [("tiny_bge", "", None), ("tiny_e5", "query: ", None)];
    for (folder, prefix, pooling) in
        cases.into_iter().chain([("tiny_last", "", Some(Pooling::LastToken))])
    {
        let texts: Vec<String> = plain.iter().map(|text| format!("{prefix}{text}")).collect();
        let expected = reference(&format!("{folder}/reference.f32"), 32);
        let settings = BurnSettings { pooling, ..settings(data(folder)) };
        each(settings, |model| compare(model, &texts, &expected));
    }
}

#[test]
fn the_card_tells_what_was_chosen_and_the_fingerprint_the_number_format() {
    let with = |dtype| open(&BurnSettings { dtype, ..settings(data("tiny_bge")) });
    let single = with(NumberFormat::F32).unwrap();
    let auto = with(NumberFormat::Auto).unwrap();
    assert_eq!(single.card().arithmetic, "cpu, f32");
    assert!(single.on(Instructions::Avx512Bf16).is_none(), "f32 knows no such choice");
    let Some(best) = Instructions::best() else {
        println!("skipped: this chip has neither AMX-BF16 nor AVX512-BF16");
        assert_eq!(auto.card(), single.card());
        return;
    };
    let half = with(NumberFormat::Bf16).unwrap();
    assert_eq!(half.card().arithmetic, format!("cpu, bf16 on {}", best.name()));
    assert_eq!(auto.card(), if best.pays() { half.card() } else { single.card() });
    assert_ne!(half.card().fingerprint, single.card().fingerprint);
    for instructions in [Instructions::Avx512Bf16, Instructions::Amx] {
        if let Some(other) = half.on(instructions) {
            assert_eq!(other.card().fingerprint, half.card().fingerprint);
        }
    }
}
