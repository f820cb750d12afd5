//! Seeded random models of every family against transformers, whose ids and values each
//! folder holds.

use std::sync::Arc;

use headwater_models::{
    EncodeError, Model, ModelCard, OpenOptions, Pixels, Pooling, Sequence, Task, TokenBatch,
    TokenIds, TokenizeError,
};
use headwater_models_burn::{BurnModel, BurnSettings, open};
use serde::Deserialize;

use crate::support::{data, settings};

const PROMPT: &str = "Instruct: find it\nQuery: ";

#[derive(Deserialize)]
struct Expected {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    first: Option<String>,
    second: Option<String>,
    image: Option<String>,
    ids: Option<Vec<u32>>,
    values: Vec<f32>,
}

fn model_of(family: &str, change: impl FnOnce(&mut BurnSettings)) -> BurnModel {
    let mut settings = settings(data(&format!("families/{family}")));
    change(&mut settings);
    open(&settings).unwrap()
}

fn cases_of(family: &str) -> Vec<Case> {
    let bytes = std::fs::read(data(&format!("families/{family}/expected.json"))).unwrap();
    serde_json::from_slice::<Expected>(&bytes).unwrap().cases
}

fn sequence(family: &str, model: &BurnModel, case: &Case) -> Sequence {
    if let Some(name) = &case.image {
        let bytes = std::fs::read(data(&format!("families/{family}/{name}"))).unwrap();
        return Sequence::Image(Arc::new(model.read_image(&bytes).unwrap()));
    }
    let first = case.first.as_deref().unwrap();
    let limit = Some(model.card().max_tokens);
    let prefixed = format!("{}{first}", model.card().query_prefix);
    let read = match &case.second {
        Some(second) => model.tokenize_pair(first, second, limit),
        None => model.tokenize(&prefixed, limit),
    };
    let TokenIds { ids, second, .. } = read.unwrap();
    // The script puts the prompt before the text already.
    assert_eq!(Some(&ids), case.ids.as_ref(), "{first:?}");
    Sequence::Tokens { ids, second }
}

/// The largest difference over all cases in several compositions of batches.
fn largest_difference(family: &str, model: &BurnModel) -> f32 {
    let cases: Vec<Case> = cases_of(family)
        .into_iter()
        .map(|mut case| {
            let prefix = model.card().query_prefix.as_str();
            case.first = case.first.map(|text| text.trim_start_matches(prefix).to_owned());
            case
        })
        .collect();
    let sequences: Vec<Sequence> = cases.iter().map(|case| sequence(family, model, case)).collect();
    let mut largest = 0.0f32;
    for (batch, threads) in [(1, 1), (2, 1), (3, 2), (cases.len(), 1), (cases.len(), 3)] {
        let mut encoder = model.open(&OpenOptions::threads(threads)).unwrap();
        for (cases, sequences) in cases.chunks(batch).zip(sequences.chunks(batch)) {
            let vectors = encoder.encode(&TokenBatch { sequences: sequences.to_vec() }).unwrap();
            assert_eq!(vectors.rows().len(), cases.len());
            for (case, found) in cases.iter().zip(vectors.rows()) {
                assert_eq!(found.len(), case.values.len());
                assert_eq!(found.len(), model.card().dimensions);
                for (found, expected) in found.iter().zip(&case.values) {
                    assert!(found.is_finite());
                    // JPEG decoders differ by a step or two of 255.
                    let lossy = case.image.as_ref().is_some_and(|name| name.ends_with("jpg"));
                    let difference = (found - expected).abs() / if lossy { 200.0 } else { 1.0 };
                    largest = largest.max(difference);
                }
            }
        }
    }
    largest
}

fn check(family: &str, tolerance: f32, change: impl FnOnce(&mut BurnSettings)) -> ModelCard {
    let model = model_of(family, change);
    let largest = largest_difference(family, &model);
    println!("{family}: largest difference {largest:e}");
    assert!(largest <= tolerance, "{family}: off by {largest}");
    model.card().clone()
}

fn mean(settings: &mut BurnSettings) {
    settings.pooling = Some(Pooling::Mean);
    settings.normalise = Some(true);
}

#[test]
fn encoders_of_every_kin_of_bert_agree() {
    for family in ["xlm_roberta", "roberta", "distilbert"] {
        let card = check(family, 1e-4, mean);
        assert_eq!((card.task, card.images, card.max_tokens), (Task::Embed, false, 48));
    }
}

#[test]
fn cross_encoders_score_pairs() {
    for family in ["cross_bert", "cross_xlm_roberta", "cross_distilbert"] {
        let card = check(family, 1e-3, |_| {});
        assert_eq!((card.task, card.dimensions, card.normalise), (Task::Rerank, 1, false));
        assert_eq!(card.pooling, Pooling::Cls);
    }
}

#[test]
fn the_second_text_of_a_pair_is_of_another_token_type() {
    let model = model_of("cross_bert", |_| {});
    let TokenIds { ids, second, .. } = model.tokenize_pair("the cat", "the dog", None).unwrap();
    assert_eq!((ids.len(), second), (7, Some(4)));
    let typed = Sequence::Tokens { ids: ids.clone(), second };
    let untyped = Sequence::Tokens { ids, second: None };
    let mut encoder = model.open(&OpenOptions::threads(1)).unwrap();
    let scores = encoder.encode(&TokenBatch { sequences: vec![typed, untyped] }).unwrap().values;
    assert!((scores[0] - scores[1]).abs() > 0.01, "{scores:?}");
}

#[test]
fn decoders_pool_the_last_token_behind_an_instruction() {
    for family in ["qwen3", "qwen2", "mistral", "llama"] {
        let card = check(family, 1e-4, |settings| {
            settings.pooling = Some(Pooling::LastToken);
            settings.normalise = Some(true);
            settings.query_prefix = PROMPT.to_owned();
        });
        assert_eq!((card.task, card.max_tokens), (Task::Embed, 64));
    }
}

#[test]
fn a_decoder_never_looks_ahead() {
    let model = model_of("qwen3", |settings| settings.pooling = Some(Pooling::Cls));
    let mut encoder = model.open(&OpenOptions::threads(1)).unwrap();
    let vectors = encoder.encode(&TokenBatch::of([vec![40, 41, 42], vec![40, 7, 9, 11]])).unwrap();
    let rows: Vec<&[f32]> = vectors.rows().collect();
    let largest = rows[0].iter().zip(rows[1]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest < 1e-5, "the first token saw what follows: {largest}");
}

#[test]
fn splade_weighs_every_word() {
    for family in ["splade_bert", "splade_distilbert"] {
        let splade = |settings: &mut BurnSettings| settings.pooling = Some(Pooling::Splade);
        let card = check(family, 1e-3, splade);
        assert_eq!((card.task, card.dimensions), (Task::Sparse, card.vocabulary));
        let plain = check_opens(family, mean);
        assert_eq!((plain.task, plain.dimensions), (Task::Embed, 32), "the head may stay unused");
        assert_ne!(plain.fingerprint, card.fingerprint);
    }
}

fn check_opens(family: &str, change: impl FnOnce(&mut BurnSettings)) -> ModelCard {
    model_of(family, change).card().clone()
}

#[test]
fn clip_puts_texts_and_images_into_one_space() {
    let card = check("clip", 1e-4, |_| {});
    assert_eq!((card.task, card.images, card.dimensions), (Task::Embed, true, 24));
    assert_eq!((card.max_tokens, card.normalise), (32, true));
}

#[test]
fn what_a_model_does_not_read_is_refused() {
    let pixels = Pixels { tokens: 5, height: 2, width: 2, values: vec![0.0; 12] };
    let image = Sequence::Image(Arc::new(pixels));
    let lost = Pixels { tokens: 17, height: 32, width: 32, values: vec![0.0; 12] };
    let pair = Sequence::Tokens { ids: vec![1, 2, 3], second: Some(2) };
    let cases = [
        ("distilbert", image, "reads no images"),
        ("distilbert", pair.clone(), "reads no pairs"),
        ("clip", pair, "reads no pairs"),
        ("clip", Sequence::Image(Arc::new(lost)), "another size"),
    ];
    for (family, sequence, expected) in cases {
        let model = match family {
            "clip" => model_of(family, |_| {}),
            _ => model_of(family, mean),
        };
        let mut encoder = model.open(&OpenOptions::threads(1)).unwrap();
        match encoder.encode(&TokenBatch { sequences: vec![sequence] }) {
            Err(EncodeError::Input(reason)) => assert!(reason.contains(expected), "{reason}"),
            other => panic!("{expected}: {other:?}"),
        }
    }
    let plain = model_of("distilbert", mean);
    let refusals =
        [plain.tokenize_pair("a", "b", None).map(|_| ()), plain.read_image(b"").map(|_| ())];
    for refusal in refusals {
        assert!(matches!(refusal, Err(TokenizeError::Refused(_))), "{refusal:?}");
    }
}
