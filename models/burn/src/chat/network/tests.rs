//! The network against itself read in other parts, and files that hold another one.

use super::{Network, Past};
use crate::LoadError;
use crate::chat::tests::made::{HIDDEN, tiny, tokens};
use crate::gguf::tests::made::{Made, code};
use crate::gguf::{Gguf, Kind, Value};
use crate::kernels::workers::Workers;

const ALONE: Workers<'static> = Workers { threads: 1, pace: None };

fn load(made: &Made) -> Result<Network, LoadError> {
    let bytes = made.bytes();
    Network::load(&Gguf::parse("tiny.gguf", &bytes)?, tokens().len())
}

fn read(network: &Network, parts: &[&[u32]]) -> (Vec<f32>, Past) {
    let mut past = network.past(0);
    let mut state = Vec::new();
    for part in parts {
        state = network.read(&ALONE, part, &mut past);
    }
    (network.logits(&ALONE, &state), past)
}

fn close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().map(|x| x.abs()).fold(0.0, f32::max);
    assert!(largest > 0.1 && largest.is_finite(), "there is something to compare: {largest}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-4 * largest, "{found} for {expected}");
    }
}

/// What was read before is kept: the parts in which a text comes change nothing.
#[test]
fn parts_do_not_matter_and_neither_do_threads() {
    let network = load(&tiny()).unwrap();
    let ids: Vec<u32> = (0..40).map(|index| 3 + index * 5 % 200).collect();
    let (whole, past) = read(&network, &[&ids]);
    assert_eq!(past.tokens, 40);
    let single: Vec<&[u32]> = ids.chunks(1).collect();
    close(&read(&network, &single).0, &whole);
    close(&read(&network, &[&ids[..17], &ids[17..18], &ids[18..]]).0, &whole);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let threaded = pool.install(|| {
        let workers = Workers { threads: 2, pace: None };
        let state = network.read(&workers, &ids, &mut network.past(0));
        network.logits(&workers, &state)
    });
    close(&threaded, &whole);
}

/// Places and order count, and a later token changes nothing before it.
#[test]
fn every_token_and_its_place_counts() {
    let network = load(&tiny()).unwrap();
    let (whole, _) = read(&network, &[&[5, 6, 7, 8]]);
    for other in [[6, 5, 7, 8], [9, 6, 7, 8], [5, 6, 8, 7]] {
        let (found, _) = read(&network, &[&other]);
        let difference = found.iter().zip(&whole).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(difference > 1e-3, "{other:?}: {difference}");
    }
}

#[test]
fn without_an_output_layer_the_words_are_it() {
    let network = load(tiny().remove("output.weight")).unwrap();
    let (found, past) = read(&network, &[&[5, 6]]);
    assert_eq!((found.len(), past.tokens), (tokens().len(), 2));
    let state = network.read(&ALONE, &[5, 6], &mut network.past(0));
    let mut row = vec![0.0; HIDDEN];
    network.words.row(9, &mut row);
    let dot: f32 = row.iter().zip(&state).map(|(a, b)| a * b).sum();
    assert!((dot - found[9]).abs() < 1e-4, "{dot} {}", found[9]);
}

#[test]
fn another_network_is_refused_by_what_differs() {
    let check = |made: &Made, expected: &str| {
        let error = load(made).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(expected), "{expected:?} in {error:?}");
    };
    let number = Value::Unsigned;
    let text = |text: &str| Value::Text(text.to_owned());
    let vector = vec![1.0; HIDDEN];
    check(tiny().set("general.architecture", text("qwen2")), "architecture is qwen2");
    check(tiny().set("llama.rope.scaling.type", text("yarn")), "llama.rope.scaling.type");
    check(tiny().set("llama.attention.head_count", number(3)), "3 heads");
    check(tiny().set("llama.attention.head_count", number(128)), "128 heads");
    check(tiny().set("llama.attention.head_count_kv", number(3)), "with 3 of keys");
    check(tiny().set("llama.attention.head_count_kv", number(0)), "must be from 1");
    check(tiny().set("llama.block_count", number(0)), "block_count");
    check(tiny().set("llama.block_count", number(u64::from(u32::MAX))), "blk.2.attn_norm");
    check(tiny().set("llama.block_count", number(1)), "blk.1.");
    check(tiny().set("llama.rope.dimension_count", number(8)), "8 of 16");
    check(tiny().set("llama.rope.freq_base", Value::Float(0.0)), "freq_base: must be above 0");
    check(tiny().set("llama.rope.freq_base", Value::Float(f64::NAN)), "finite");
    let mut wide = tiny();
    wide.remove("llama.rope.dimension_count").set("llama.embedding_length", number(128));
    check(&wide, "token_embd.weight: has");
    check(tiny().remove("blk.1.ffn_up.weight"), "blk.1.ffn_up.weight: is missing");
    check(tiny().remove("llama.context_length"), "context_length: is missing");
    check(tiny().floats("blk.0.attn_q.bias", &[64], &vector), "blk.0.attn_q.bias beside");
    let halves = vec![0; 2 * HIDDEN];
    check(tiny().tensor("output_norm.weight", &[64], code(Kind::F16), halves), "is of F16");
    let narrow = vec![0.0; 16 * 64];
    check(
        tiny().set("llama.feed_forward_length", number(16)).floats(
            "blk.0.ffn_down.weight",
            &[16, 64],
            &narrow,
        ),
        "blk.0.ffn_gate.weight: has 96 rows of 64, the metadata ask for 16 of 64",
    );
}
