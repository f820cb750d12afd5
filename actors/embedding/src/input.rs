//! What a request must look like before it is queued.

use headwater_models::ModelCard;

use crate::InputLimits;

/// Why a request is refused, with all that the client needs to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputProblem {
    /// The list of inputs is empty.
    NoTexts,
    /// More inputs than one request may hold.
    TooManyTexts { given: usize, allowed: usize },
    /// One input is longer than the model reads.
    TooLong { index: usize, given_tokens: usize, allowed_tokens: usize },
    /// All inputs together are longer than one request may be.
    TooManyTokens { given: usize, allowed: usize },
    /// An input is an empty text, or an empty list of token ids.
    NoTokens { index: usize },
}

/// Checks the number of inputs.
///
/// # Errors
/// [`InputProblem::NoTexts`] and [`InputProblem::TooManyTexts`].
pub fn check_count(texts: usize, limits: &InputLimits) -> Result<(), InputProblem> {
    match texts {
        0 => Err(InputProblem::NoTexts),
        given if given > limits.texts => {
            Err(InputProblem::TooManyTexts { given, allowed: limits.texts })
        }
        _ => Ok(()),
    }
}

/// Checks that an input given as ids has any.
///
/// # Errors
/// [`InputProblem::NoTokens`].
pub fn check_ids(index: usize, ids: &[u32]) -> Result<(), InputProblem> {
    if ids.is_empty() { Err(InputProblem::NoTokens { index }) } else { Ok(()) }
}

/// Refuses the empty text, as OpenAI and Text Embeddings Inference do: its vector would mean
/// nothing, and it is most often a client's mistake.
///
/// # Errors
/// [`InputProblem::NoTokens`].
pub fn check_text(index: usize, text: &str) -> Result<(), InputProblem> {
    if text.is_empty() { Err(InputProblem::NoTokens { index }) } else { Ok(()) }
}

/// Checks the length of every input and of all together, special tokens counted.
/// `whole_lengths` are the lengths before truncation; with `truncate` an input may be
/// longer than the model's limit, and counts for the limit.
///
/// # Errors
/// [`InputProblem::TooLong`] and [`InputProblem::TooManyTokens`].
pub fn check_length(
    whole_lengths: &[usize],
    truncate: bool,
    card: &ModelCard,
    limits: &InputLimits,
) -> Result<(), InputProblem> {
    let allowed_tokens = card.max_tokens;
    let mut total = 0usize;
    for (index, length) in whole_lengths.iter().enumerate() {
        if *length > allowed_tokens && !truncate {
            return Err(InputProblem::TooLong { index, given_tokens: *length, allowed_tokens });
        }
        total = total.saturating_add((*length).min(allowed_tokens));
    }
    check_total(total, limits)
}

/// Checks the tokens of all inputs together.
///
/// # Errors
/// [`InputProblem::TooManyTokens`].
pub fn check_total(given: usize, limits: &InputLimits) -> Result<(), InputProblem> {
    if given > limits.tokens {
        return Err(InputProblem::TooManyTokens { given, allowed: limits.tokens });
    }
    Ok(())
}
