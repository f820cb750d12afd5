//! Portable and fused kernels must agree on every family: the first run on every device, the
//! second only on CPU.

use std::sync::Arc;

use burn_flex::{Flex, FlexDevice};
use headwater_models::{Pixels, Pooling, Sequence};

use crate::checkpoint::HostNetwork;
use crate::config::NetworkConfig;
use crate::families::network::Network;
use crate::kernels::fused::{Bf16, Fused};
use crate::kernels::portable::Portable;

fn host(family: &str) -> HostNetwork {
    let root = format!("{}/tests_data/families/{family}", env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read(format!("{root}/{name}")).unwrap();
    let config = NetworkConfig::parse(&read("config.json")).unwrap();
    HostNetwork::parse(&read("model.safetensors"), config, true).unwrap()
}

fn sequences(family: &str) -> Vec<Sequence> {
    let lengths = [1, 2, 17, 32, 5];
    let text = |length: u32| {
        let ids = (0..length).map(|place| (place * 7 + length) % 100).collect();
        let second = (family.starts_with("cross") && length > 2).then_some(length as usize / 2);
        Sequence::Tokens { ids, second }
    };
    let mut sequences: Vec<Sequence> = lengths.into_iter().map(text).collect();
    if family == "clip" {
        let values = (0..3 * 32 * 32).map(|place| (place % 23) as f32 / 10.0 - 1.0).collect();
        let pixels = Pixels { tokens: 17, height: 32, width: 32, values };
        sequences.insert(2, Sequence::Image(Arc::new(pixels)));
    }
    sequences
}

/// The largest difference between two answers, as a share of the largest number.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = a.iter().map(|value| value.abs()).fold(f32::MIN_POSITIVE, f32::max);
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
}

#[test]
fn padded_and_packed_kernels_agree_for_every_family() {
    let families = [
        "qwen3",
        "qwen2",
        "llama",
        "clip",
        "cross_bert",
        "cross_distilbert",
        "splade_bert",
        "xlm_roberta",
    ];
    for family in families {
        let packed = Network::<Flex>::upload::<Fused>(host(family), true, &FlexDevice);
        let padded = Network::<Flex>::upload::<Portable>(host(family), true, &FlexDevice);
        let sequences = sequences(family);
        let sequences: Vec<&Sequence> = sequences.iter().collect();
        let portable = padded.embed(&Portable, &sequences, Pooling::Mean).unwrap();
        for threads in [1, 2] {
            let fused = packed.embed(&Fused::new(threads), &sequences, Pooling::Mean).unwrap();
            let difference = difference(&portable, &fused);
            assert!(difference < 1e-4, "{family}, {threads} threads: {difference}");
        }
    }
}

#[test]
fn dense_layers_in_bf16_change_little() {
    if crate::kernels::instructions::Instructions::best().is_none() {
        println!("no instructions for bf16 on this chip");
        return;
    }
    for family in ["qwen3", "clip", "cross_bert", "splade_bert"] {
        let single = Network::<Flex>::upload::<Fused>(host(family), true, &FlexDevice);
        let halves = Network::<Flex>::upload::<Fused<Bf16>>(host(family), true, &FlexDevice);
        let sequences = sequences(family);
        let sequences: Vec<&Sequence> = sequences.iter().collect();
        let single = single.embed(&Fused::new(1), &sequences, Pooling::Mean).unwrap();
        let halves = halves.embed(&Fused::new(1), &sequences, Pooling::Mean).unwrap();
        let difference = difference(&single, &halves);
        assert!(difference > 0.0 && difference < 0.1, "{family}: {difference}");
    }
}
