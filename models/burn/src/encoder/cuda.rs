//! The encoder on a CUDA device, in f32, f16 or bf16.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn_cuda::{Cuda, CudaDevice};
use burn_tensor::backend::Backend;
use half::{bf16, f16};
use headwater_models::{EncodeError, Encoder, ModelCard, Sequence, TokenBatch, Vectors};

use super::{check, normalise};
use crate::NumberFormat;
use crate::checkpoint::HostNetwork;
use crate::device::probe;
use crate::families::network::Network;
use crate::kernels::portable::Portable;

struct CudaEncoder<B: Backend> {
    network: Network<B>,
    card: ModelCard,
}

/// # Errors
/// [`EncodeError::Device`] without a driver or a device of that ordinal,
/// [`EncodeError::OutOfMemory`] when the weights do not fit.
pub(crate) fn open(
    ordinal: usize,
    dtype: NumberFormat,
    host: HostNetwork,
    pair_types: bool,
    card: ModelCard,
) -> Result<Box<dyn Encoder>, EncodeError> {
    probe(ordinal)?;
    let device = CudaDevice::new(ordinal);
    match dtype {
        // Settled before a model is opened.
        NumberFormat::F32 | NumberFormat::Auto => {
            upload::<Cuda<f32>>(host, pair_types, &device, card)
        }
        NumberFormat::F16 => upload::<Cuda<f16>>(host, pair_types, &device, card),
        NumberFormat::Bf16 => upload::<Cuda<bf16>>(host, pair_types, &device, card),
    }
}

fn upload<B: Backend>(
    host: HostNetwork,
    pair_types: bool,
    device: &B::Device,
    card: ModelCard,
) -> Result<Box<dyn Encoder>, EncodeError> {
    let network = guard(|| {
        let network = Network::<B>::upload::<Portable>(host, pair_types, device);
        B::sync(device).map_err(|error| device_error(format!("{error:?}")))?;
        Ok(network)
    })?;
    Ok(Box::new(CudaEncoder { network, card }))
}

impl<B: Backend> Encoder for CudaEncoder<B> {
    fn encode(&mut self, batch: &TokenBatch) -> Result<Vectors, EncodeError> {
        check(batch, &self.card)?;
        let dimensions = self.card.dimensions;
        if batch.sequences.is_empty() {
            return Ok(Vectors { dimensions, values: Vec::new() });
        }
        let sequences: Vec<&Sequence> = batch.sequences.iter().collect();
        let mut values = guard(|| {
            self.network.embed(&Portable, &sequences, self.card.pooling).map_err(device_error)
        })?;
        if self.card.normalise {
            normalise(&mut values, dimensions);
        }
        Ok(Vectors { dimensions, values })
    }
}

/// The runtime reports a failed device by panicking; the port asks for an error.
fn guard<T>(work: impl FnOnce() -> Result<T, EncodeError>) -> Result<T, EncodeError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| Err(device_error(told(&payload))))
}

fn told(payload: &Box<dyn Any + Send>) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("it gave no reason")
        .to_owned()
}

fn device_error(reason: String) -> EncodeError {
    let lower = reason.to_lowercase();
    if lower.contains("out of memory") || lower.contains("out_of_memory") {
        EncodeError::OutOfMemory(reason)
    } else {
        EncodeError::Device(reason)
    }
}
