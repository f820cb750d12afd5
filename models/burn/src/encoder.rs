//! Checks around a batch, its split into shards, and the encoders of each device.

use headwater_models::{EncodeError, ModelCard, Pixels, Sequence, Task, TokenBatch};

#[cfg(feature = "cpu")]
pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;

/// # Errors
/// [`EncodeError::Input`] naming the first sequence that the model cannot read.
fn check(batch: &TokenBatch, card: &ModelCard) -> Result<(), EncodeError> {
    for (index, sequence) in batch.sequences.iter().enumerate() {
        let ids = match sequence {
            Sequence::Image(pixels) => {
                check_image(index, pixels, card)?;
                continue;
            }
            Sequence::Tokens { second: Some(_), .. } if card.task != Task::Rerank => {
                let reason = format!("sequence {index} is a pair; {} reads no pairs", card.name);
                return Err(EncodeError::Input(reason));
            }
            Sequence::Tokens { ids, .. } => ids,
        };
        if ids.is_empty() || ids.len() > card.max_tokens {
            return Err(EncodeError::Input(format!(
                "sequence {index} holds {} tokens; {} takes 1 to {}",
                ids.len(),
                card.name,
                card.max_tokens
            )));
        }
        if let Some(id) = ids.iter().find(|id| **id as usize >= card.vocabulary) {
            return Err(EncodeError::Input(format!(
                "sequence {index} names token id {id}; the vocabulary of {} ends at {}",
                card.name,
                card.vocabulary - 1
            )));
        }
    }
    Ok(())
}

/// An image is of the model's size because only the model itself makes [`Pixels`]; what is
/// checked is that it makes any, and that none were lost.
fn check_image(index: usize, pixels: &Pixels, card: &ModelCard) -> Result<(), EncodeError> {
    if !card.images {
        let reason = format!("sequence {index} is an image; {} reads no images", card.name);
        return Err(EncodeError::Input(reason));
    }
    if pixels.values.len() != 3 * pixels.height * pixels.width || pixels.tokens < 2 {
        let reason = format!("sequence {index} is an image of another size than it says");
        return Err(EncodeError::Input(reason));
    }
    Ok(())
}

/// Scales every vector to length 1; a vector of zeros stays as it is.
fn normalise(values: &mut [f32], dimensions: usize) {
    for vector in values.chunks_exact_mut(dimensions) {
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        let inverse = 1.0 / length.max(1e-12);
        vector.iter_mut().for_each(|value| *value *= inverse);
    }
}

#[cfg(test)]
mod tests;
