//! One network of any family on one device.

use burn_tensor::backend::Backend;
use headwater_models::{Pooling, Sequence};

use super::clip::Clip;
use super::decoder::Decoder;
use crate::bert::Bert;
use crate::checkpoint::HostNetwork;
use crate::kernels::decoder::DecoderKernels;

/// The weights on one device; a clone shares them.
#[derive(Debug, Clone)]
pub(crate) enum Network<B: Backend> {
    Bert(Bert<B>),
    Decoder(Decoder<B>),
    Clip(Clip<B>),
}

impl<B: Backend> Network<B> {
    /// Moves the weights to the device, in the backend's number format. `pair_types` says that
    /// the tokenizer gives the second text of a pair the token type 1.
    pub(crate) fn upload<K: DecoderKernels<B>>(
        host: HostNetwork,
        pair_types: bool,
        device: &B::Device,
    ) -> Self {
        match host {
            HostNetwork::Bert(config, weights) => {
                Network::Bert(Bert::upload::<K>(*weights, &config, pair_types, device))
            }
            HostNetwork::Decoder(config, weights) => {
                Network::Decoder(Decoder::upload::<K>(weights, &config, device))
            }
            HostNetwork::Clip(config, weights) => {
                Network::Clip(Clip::upload::<K>(*weights, &config, device))
            }
        }
    }

    /// One vector for each sequence, row-major, not scaled. The sequences are checked: none is
    /// empty, too long, of another kind than the network reads or outside the vocabulary.
    pub(crate) fn embed<K: DecoderKernels<B>>(
        &self,
        kernels: &K,
        sequences: &[&Sequence],
        pooling: Pooling,
    ) -> Result<Vec<f32>, String> {
        match self {
            Network::Bert(bert) => bert.embed(kernels, sequences, pooling),
            Network::Decoder(decoder) => decoder.embed(kernels, sequences, pooling),
            Network::Clip(clip) => clip.embed(kernels, sequences),
        }
    }
}
