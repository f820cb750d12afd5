//! Seeded random BERTs in the shapes of other families, against transformers.

use headwater_models::{Model, Pooling};
use headwater_models_burn::{BurnSettings, open};

use crate::support::{compare, data, encode, reference, settings, texts};

const DIMENSIONS: usize = 32;

fn check(folder: &str, prefix: &str, change: impl FnOnce(&mut BurnSettings)) -> f32 {
    let mut settings = settings(data(folder));
    change(&mut settings);
    let model = open(&settings).unwrap();
    let plain = texts("tiny_texts.json");
    let texts: Vec<String> = plain.iter().map(|text| format!("{prefix}{text}")).collect();
    let expected = reference(&format!("{folder}/reference.f32"), DIMENSIONS);
    let alone = encode(&model, &texts, 1, 1);
    compare(&texts, &alone, &expected, 1e-4).max(compare(
        &texts,
        &encode(&model, &texts, texts.len(), 2),
        &expected,
        1e-4,
    ))
}

#[test]
fn bge_pools_the_first_token_and_keeps_the_length() {
    check("tiny_bge", "", |_| {});
}

#[test]
fn e5_pools_the_mean_behind_a_prefix_from_bf16_with_prefixed_names() {
    check("tiny_e5", "query: ", |settings| settings.query_prefix = "query: ".to_owned());
}

#[test]
fn the_last_token_is_pooled_when_settings_say_so_from_f16() {
    check("tiny_last", "", |settings| settings.pooling = Some(Pooling::LastToken));
}

#[test]
#[should_panic(expected = "cosine")]
fn another_pooling_would_be_noticed() {
    check("tiny_last", "", |settings| settings.pooling = Some(Pooling::Mean));
}

#[test]
fn settings_override_the_files() {
    let plain = open(&settings(data("tiny_e5"))).unwrap();
    assert_eq!((plain.card().pooling, plain.card().normalise), (Pooling::Mean, true));
    assert_eq!(plain.card().max_tokens, 48);
    let changed = open(&BurnSettings {
        pooling: Some(Pooling::Cls),
        normalise: Some(false),
        max_tokens: Some(16),
        query_prefix: "query: ".to_owned(),
        passage_prefix: "passage: ".to_owned(),
        matryoshka_dimensions: vec![16, 8, 16],
        ..settings(data("tiny_e5"))
    })
    .unwrap();
    let card = changed.card();
    assert_eq!((card.pooling, card.normalise, card.max_tokens), (Pooling::Cls, false, 16));
    assert_eq!(
        (card.query_prefix.as_str(), card.passage_prefix.as_str()),
        ("query: ", "passage: ")
    );
    assert_eq!(card.matryoshka_dimensions, [8, 16]);
}

#[test]
fn whatever_changes_a_vector_changes_the_fingerprint() {
    let base = settings(data("tiny_bge"));
    let with = |change: &dyn Fn(&mut BurnSettings)| {
        let mut changed = base.clone();
        change(&mut changed);
        open(&changed).unwrap().card().fingerprint.clone()
    };
    let mut seen = vec![
        with(&|_| {}),
        with(&|settings| settings.folder = data("tiny_e5")),
        with(&|settings| settings.pooling = Some(Pooling::Mean)),
        with(&|settings| settings.normalise = Some(true)),
        with(&|settings| settings.max_tokens = Some(16)),
        with(&|settings| settings.query_prefix = "x".to_owned()),
        with(&|settings| settings.passage_prefix = "x".to_owned()),
    ];
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 7);
    let same = [
        with(&|settings| settings.name = "other".to_owned()),
        with(&|settings| settings.matryoshka_dimensions = vec![8]),
        with(&|settings| settings.pooling = Some(Pooling::Cls)),
    ];
    assert!(same.iter().all(|fingerprint| *fingerprint == with(&|_| {})));
}
