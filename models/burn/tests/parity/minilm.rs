//! The real all-MiniLM-L6-v2 against sentence-transformers.

use headwater_models::{EncodeError, Model, OpenOptions, Pooling, TokenBatch};
use headwater_models_burn::open;

use crate::support::{compare, encode, minilm, reference, settings, texts};

const DIMENSIONS: usize = 384;

#[test]
fn every_text_agrees_alone_and_in_mixed_batches() {
    let model = open(&settings(minilm())).unwrap();
    let texts = texts("texts.json");
    let expected = reference("minilm.f32", DIMENSIONS);
    for (batch, threads) in [(1, 1), (1, 2), (7, 1), (32, 2), (texts.len(), 3)] {
        let found = encode(&model, &texts, batch, threads);
        let largest = compare(&texts, &found, &expected, 1e-4);
        println!("batch {batch}, {threads} threads: largest difference {largest:e}");
    }
}

#[test]
fn the_card_follows_the_files() {
    let model = open(&settings(minilm())).unwrap();
    let card = model.card();
    assert_eq!((card.dimensions, card.max_tokens, card.vocabulary), (384, 256, 30_522));
    assert_eq!((card.pooling, card.normalise), (Pooling::Mean, true));
    assert_eq!(card.fingerprint.len(), 64);
}

#[test]
fn the_limit_is_the_callers_and_special_tokens_survive_it() {
    let model = open(&settings(minilm())).unwrap();
    let text = "word ".repeat(300);
    let whole = model.tokenize(&text, None).unwrap();
    assert_eq!((whole.ids.len(), whole.whole_length), (302, 302));
    let cut = model.tokenize(&text, Some(256)).unwrap();
    assert_eq!((cut.ids.len(), cut.whole_length), (256, 302));
    assert_eq!((cut.ids[0], cut.ids[255]), (101, 102));
    let short = model.tokenize("word", Some(256)).unwrap();
    assert_eq!(short.ids, [101, 2773, 102], "no padding");
    assert_eq!(model.adopt(&[2773], Some(256)).unwrap(), short);
}

#[test]
fn impossible_batches_are_refused() {
    let model = open(&settings(minilm())).unwrap();
    let mut encoder = model.open(&OpenOptions::threads(1)).unwrap();
    let cases =
        [(vec![], "0 tokens"), (vec![0; 257], "257 tokens"), (vec![101, 30_522], "id 30522")];
    for (ids, expected) in cases {
        let batch = TokenBatch::of([vec![101, 102], ids]);
        match encoder.encode(&batch) {
            Err(EncodeError::Input(reason)) => assert!(reason.contains(expected), "{reason}"),
            other => panic!("{expected}: {other:?}"),
        }
    }
    assert!(encoder.encode(&TokenBatch::default()).unwrap().values.is_empty());
}
