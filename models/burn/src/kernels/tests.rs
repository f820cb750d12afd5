//! Portable and fused kernels must agree: the first run on every device, the second only
//! on CPU.

use burn_flex::{Flex, FlexDevice};
use headwater_models::{Pooling, Sequence};

use super::fused::Fused;
use super::portable::Portable;
use crate::bert::Bert;
use crate::checkpoint::{HostHead, HostLayer, HostLinear, HostNorm, HostTensor, HostWeights};
use crate::config::bert::Names;
use crate::config::{Architecture, BertConfig};

const CONFIG: BertConfig = BertConfig {
    names: Names::Bert,
    architecture: Architecture::Base,
    first_position: 0,
    hidden_size: 48,
    heads: 3,
    layers: 2,
    intermediate_size: 96,
    layer_norm_eps: 1e-12,
    max_positions: 80,
    type_vocabulary: 2,
    vocabulary: 60,
};

/// A linear congruential generator (Knuth's MMIX constants) over about -0.5..0.5.
struct Numbers(u64);

impl Numbers {
    fn tensor(&mut self, shape: &[usize], centre: f32) -> HostTensor {
        let next = || {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 40) as f32 / (1 << 24) as f32 - 0.5 + centre
        };
        let values = std::iter::repeat_with(next).take(shape.iter().product()).collect();
        HostTensor { shape: shape.to_vec(), values }
    }

    fn linear(&mut self, inputs: usize, outputs: usize) -> HostLinear {
        HostLinear {
            weight: self.tensor(&[outputs, inputs], 0.0),
            bias: self.tensor(&[outputs], 0.0),
        }
    }

    fn norm(&mut self, size: usize) -> HostNorm {
        HostNorm { weight: self.tensor(&[size], 1.0), bias: self.tensor(&[size], 0.0) }
    }

    fn weights(&mut self) -> HostWeights {
        let (hidden, wide) = (CONFIG.hidden_size, CONFIG.intermediate_size);
        HostWeights {
            words: self.tensor(&[CONFIG.vocabulary, hidden], 0.0),
            positions: self.tensor(&[CONFIG.max_positions, hidden], 0.0),
            types: self.tensor(&[CONFIG.type_vocabulary, hidden], 0.0),
            norm: self.norm(hidden),
            layers: (0..CONFIG.layers)
                .map(|_| HostLayer {
                    query: self.linear(hidden, hidden),
                    key: self.linear(hidden, hidden),
                    value: self.linear(hidden, hidden),
                    attention_output: self.linear(hidden, hidden),
                    attention_norm: self.norm(hidden),
                    intermediate: self.linear(hidden, wide),
                    output: self.linear(wide, hidden),
                    output_norm: self.norm(hidden),
                })
                .collect(),
            head: HostHead::None,
        }
    }
}

#[test]
fn padded_and_packed_kernels_agree_for_every_pooling() {
    let weights = Numbers(7).weights();
    let packed = Bert::<Flex>::upload::<Fused>(weights.clone(), &CONFIG, false, &FlexDevice);
    let padded = Bert::<Flex>::upload::<Portable>(weights, &CONFIG, false, &FlexDevice);
    let sequences: Vec<Vec<u32>> = [1, 2, 17, 33, 80, 5]
        .iter()
        .map(|length| (0..*length).map(|place| (place * 7 + length) % 60).collect())
        .collect();
    let sequences: Vec<Sequence> = sequences.into_iter().map(Sequence::from).collect();
    let sequences: Vec<&Sequence> = sequences.iter().collect();
    for pooling in [Pooling::Cls, Pooling::Mean, Pooling::LastToken] {
        let portable = padded.embed(&Portable, &sequences, pooling).unwrap();
        for threads in [1, 2] {
            let fused = packed.embed(&Fused::new(threads), &sequences, pooling).unwrap();
            for (portable, fused) in portable.iter().zip(&fused) {
                assert!((portable - fused).abs() < 2e-5, "{pooling:?}: {portable} and {fused}");
            }
        }
    }
}
