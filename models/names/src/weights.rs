//! The tagger's weights and their file.

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};

use crate::chain::{LABELS, Row, Transitions};
use crate::feature::BUCKETS;

/// What a score counts in the file: one step of a byte.
const EMISSIONS: &str = "emissions";
const SCALE: &str = "scale";
const TRANSITIONS: &str = "transitions";

/// Why weights were not read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the weights of the name tagger do not fit this version: {0}; train them again")]
pub struct WeightsError(String);

/// A byte for each feature and label, and a score for each pair of labels.
#[derive(Clone)]
pub struct Weights {
    emissions: Vec<[i8; LABELS]>,
    scale: f32,
    pub(crate) transitions: Transitions,
}

impl Weights {
    /// Rounds scores to bytes.
    pub(crate) fn new(scores: &[Row], transitions: Transitions) -> Weights {
        let most = scores.iter().flatten().fold(0.0f32, |most, own| most.max(own.abs()));
        let scale = (most / 127.0).max(f32::MIN_POSITIVE);
        let round = |row: &Row| row.map(|own| (own / scale).round().clamp(-127.0, 127.0) as i8);
        Weights { emissions: scores.iter().map(round).collect(), scale, transitions }
    }

    /// The scores of a token's labels.
    pub(crate) fn row(&self, buckets: &[u32]) -> Row {
        let mut sums = [0i32; LABELS];
        for bucket in buckets {
            if let Some(own) = self.emissions.get(*bucket as usize) {
                for (sum, one) in sums.iter_mut().zip(own) {
                    *sum += i32::from(*one);
                }
            }
        }
        sums.map(|sum| sum as f32 * self.scale)
    }

    /// # Errors
    /// When the file is another one's or was made for another version.
    pub fn read(file: &[u8]) -> Result<Weights, WeightsError> {
        let fail = |error: safetensors::SafeTensorError| WeightsError(error.to_string());
        let file = SafeTensors::deserialize(file).map_err(fail)?;
        let tensor = |name: &str, shape: &[usize]| {
            let tensor = file.tensor(name).map_err(fail)?;
            if tensor.shape() == shape {
                Ok(tensor.data().to_vec())
            } else {
                Err(WeightsError(format!("{name} has the shape {:?}", tensor.shape())))
            }
        };
        let emissions = tensor(EMISSIONS, &[BUCKETS, LABELS])?;
        let (rows, _) = emissions.as_chunks::<LABELS>();
        let floats = |bytes: &[u8]| -> Vec<f32> {
            let (words, _) = bytes.as_chunks::<4>();
            words.iter().map(|word| f32::from_le_bytes(*word)).collect()
        };
        let scale = floats(&tensor(SCALE, &[1])?).first().copied().unwrap_or_default();
        let pairs = floats(&tensor(TRANSITIONS, &[LABELS, LABELS])?);
        let mut transitions = [[0.0; LABELS]; LABELS];
        for (own, value) in transitions.as_flattened_mut().iter_mut().zip(pairs) {
            *own = value;
        }
        let emissions = rows.iter().map(|row| row.map(|byte| byte as i8)).collect();
        Ok(Weights { emissions, scale, transitions })
    }

    /// The file, as [`Weights::read`] reads it.
    ///
    /// # Errors
    /// When the format refuses them, which is a fault of this crate.
    pub fn write(&self) -> Result<Vec<u8>, WeightsError> {
        let fail = |error: safetensors::SafeTensorError| WeightsError(error.to_string());
        let emissions: Vec<u8> = self.emissions.iter().flatten().map(|one| *one as u8).collect();
        let bytes = |values: &[f32]| -> Vec<u8> {
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        };
        let (scale, pairs) = (bytes(&[self.scale]), bytes(self.transitions.as_flattened()));
        let view = |dtype, shape, data| TensorView::new(dtype, shape, data).map_err(fail);
        let tensors = [
            (EMISSIONS, view(Dtype::I8, vec![BUCKETS, LABELS], &emissions)?),
            (SCALE, view(Dtype::F32, vec![1], &scale)?),
            (TRANSITIONS, view(Dtype::F32, vec![LABELS, LABELS], &pairs)?),
        ];
        serialize(tensors, None).map_err(fail)
    }
}
