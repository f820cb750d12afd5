//! Embedding requests, answers and model cards as bytes between nodes.

use headwater_embedding::{InputProblem, Pool};
use headwater_models::{ModelCard, Pooling, Task, TokenizeError};
use headwater_storage::{StoreError, codec};
use serde::{Deserialize, Serialize};

use super::handle::{EmbedCall, EmbedError, Embedded, Inputs, Purpose};

const MESSAGE: u8 = 1;

#[derive(Serialize, Deserialize)]
enum InputsRecord {
    Texts(Vec<String>),
    Tokens(Vec<Vec<u32>>),
    Pairs(Vec<(String, String)>),
    Images(Vec<Vec<u8>>),
}

#[derive(Serialize, Deserialize)]
struct CallRecord {
    model: String,
    inputs: InputsRecord,
    purpose: u8,
    truncate: bool,
    ingest: bool,
}

pub(super) fn encode_call(model: &str, call: &EmbedCall) -> Result<Vec<u8>, StoreError> {
    let inputs = match &call.inputs {
        Inputs::Texts(texts) => InputsRecord::Texts(texts.clone()),
        Inputs::Tokens(lists) => InputsRecord::Tokens(lists.clone()),
        Inputs::Pairs(pairs) => InputsRecord::Pairs(pairs.clone()),
        Inputs::Images(images) => InputsRecord::Images(images.clone()),
    };
    let purpose = match call.purpose {
        Purpose::Plain => 0,
        Purpose::Query => 1,
        Purpose::Passage => 2,
    };
    let (model, truncate) = (model.to_owned(), call.truncate);
    let ingest = call.pool == Pool::Ingest;
    codec::encode(MESSAGE, &CallRecord { model, inputs, purpose, truncate, ingest })
}

pub(super) fn decode_call(bytes: &[u8]) -> Result<(String, EmbedCall), StoreError> {
    let record: CallRecord = codec::decode(MESSAGE, bytes)?;
    let inputs = match record.inputs {
        InputsRecord::Texts(texts) => Inputs::Texts(texts),
        InputsRecord::Tokens(lists) => Inputs::Tokens(lists),
        InputsRecord::Pairs(pairs) => Inputs::Pairs(pairs),
        InputsRecord::Images(images) => Inputs::Images(images),
    };
    let purpose = match record.purpose {
        1 => Purpose::Query,
        2 => Purpose::Passage,
        _ => Purpose::Plain,
    };
    let pool = if record.ingest { Pool::Ingest } else { Pool::Query };
    Ok((record.model, EmbedCall { inputs, purpose, truncate: record.truncate, pool }))
}

#[derive(Serialize, Deserialize)]
enum OutcomeRecord {
    /// All vectors in one row after the other, `dimensions` numbers each.
    Embedded {
        dimensions: u32,
        values: Vec<f32>,
        tokens: Vec<u64>,
        truncated: Vec<u64>,
        cached: u64,
    },
    NoTexts,
    TooManyTexts {
        given: u64,
        allowed: u64,
    },
    TooLong {
        index: u64,
        given_tokens: u64,
        allowed_tokens: u64,
    },
    TooManyTokens {
        given: u64,
        allowed: u64,
    },
    NoTokens {
        index: u64,
    },
    UnknownId {
        index: u64,
        id: u32,
        vocabulary: u64,
    },
    Unreadable {
        index: u64,
        why: String,
    },
    Overloaded {
        retry_after_ms: u64,
    },
    Unavailable,
    TimedOut {
        timeout_ms: u64,
    },
    Refused(String),
    Unloading,
}

pub(super) fn encode_outcome(
    outcome: &Result<Embedded, EmbedError>,
) -> Result<Vec<u8>, StoreError> {
    let wide = |number: &usize| *number as u64;
    let record = match outcome {
        Ok(embedded) => OutcomeRecord::Embedded {
            dimensions: embedded.vectors.first().map_or(0, |vector| vector.len() as u32),
            values: embedded.vectors.concat(),
            tokens: embedded.tokens.iter().map(wide).collect(),
            truncated: embedded.truncated.iter().map(wide).collect(),
            cached: wide(&embedded.cached),
        },
        Err(EmbedError::Input(problem)) => match problem {
            InputProblem::NoTexts => OutcomeRecord::NoTexts,
            InputProblem::TooManyTexts { given, allowed } => {
                OutcomeRecord::TooManyTexts { given: wide(given), allowed: wide(allowed) }
            }
            InputProblem::TooLong { index, given_tokens, allowed_tokens } => {
                OutcomeRecord::TooLong {
                    index: wide(index),
                    given_tokens: wide(given_tokens),
                    allowed_tokens: wide(allowed_tokens),
                }
            }
            InputProblem::TooManyTokens { given, allowed } => {
                OutcomeRecord::TooManyTokens { given: wide(given), allowed: wide(allowed) }
            }
            InputProblem::NoTokens { index } => OutcomeRecord::NoTokens { index: wide(index) },
        },
        Err(EmbedError::Unreadable { index, error }) => match error {
            TokenizeError::UnknownId { id, vocabulary } => OutcomeRecord::UnknownId {
                index: wide(index),
                id: *id,
                vocabulary: wide(vocabulary),
            },
            TokenizeError::Refused(why) => {
                OutcomeRecord::Unreadable { index: wide(index), why: why.clone() }
            }
        },
        // Quotas are looked at where the work is asked for, so none comes from another node.
        Err(
            EmbedError::Overloaded { retry_after_ms }
            | EmbedError::OverQuota { retry_after_ms, .. },
        ) => OutcomeRecord::Overloaded { retry_after_ms: *retry_after_ms },
        Err(EmbedError::Unavailable) => OutcomeRecord::Unavailable,
        Err(EmbedError::Unloading) => OutcomeRecord::Unloading,
        Err(EmbedError::TimedOut { timeout_ms }) => {
            OutcomeRecord::TimedOut { timeout_ms: *timeout_ms }
        }
        Err(EmbedError::Refused(why)) => OutcomeRecord::Refused(why.clone()),
    };
    codec::encode(MESSAGE, &record)
}

/// The outer error says that the bytes are no outcome.
pub(super) fn decode_outcome(bytes: &[u8]) -> Result<Result<Embedded, EmbedError>, StoreError> {
    let record: OutcomeRecord = codec::decode(MESSAGE, bytes)?;
    let narrow = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let input = |problem| Err(EmbedError::Input(problem));
    Ok(match record {
        OutcomeRecord::Embedded { dimensions, values, tokens, truncated, cached } => {
            let dimensions = (dimensions as usize).max(1);
            if values.len() != tokens.len() * dimensions {
                return Err(StoreError::Corrupt("an answer with a row too few".to_owned()));
            }
            Ok(Embedded {
                vectors: values.chunks_exact(dimensions).map(<[f32]>::to_vec).collect(),
                tokens: tokens.into_iter().map(narrow).collect(),
                truncated: truncated.into_iter().map(narrow).collect(),
                served_by: None,
                cached: narrow(cached),
            })
        }
        OutcomeRecord::NoTexts => input(InputProblem::NoTexts),
        OutcomeRecord::TooManyTexts { given, allowed } => {
            input(InputProblem::TooManyTexts { given: narrow(given), allowed: narrow(allowed) })
        }
        OutcomeRecord::TooLong { index, given_tokens, allowed_tokens } => {
            input(InputProblem::TooLong {
                index: narrow(index),
                given_tokens: narrow(given_tokens),
                allowed_tokens: narrow(allowed_tokens),
            })
        }
        OutcomeRecord::TooManyTokens { given, allowed } => {
            input(InputProblem::TooManyTokens { given: narrow(given), allowed: narrow(allowed) })
        }
        OutcomeRecord::NoTokens { index } => input(InputProblem::NoTokens { index: narrow(index) }),
        OutcomeRecord::UnknownId { index, id, vocabulary } => Err(EmbedError::Unreadable {
            index: narrow(index),
            error: TokenizeError::UnknownId { id, vocabulary: narrow(vocabulary) },
        }),
        OutcomeRecord::Unreadable { index, why } => {
            let error = TokenizeError::Refused(why);
            Err(EmbedError::Unreadable { index: narrow(index), error })
        }
        OutcomeRecord::Overloaded { retry_after_ms } => {
            Err(EmbedError::Overloaded { retry_after_ms })
        }
        OutcomeRecord::Unavailable => Err(EmbedError::Unavailable),
        OutcomeRecord::Unloading => Err(EmbedError::Unloading),
        OutcomeRecord::TimedOut { timeout_ms } => Err(EmbedError::TimedOut { timeout_ms }),
        OutcomeRecord::Refused(why) => Err(EmbedError::Refused(why)),
    })
}

#[derive(Serialize, Deserialize)]
struct CardRecord {
    name: String,
    fingerprint: String,
    task: u8,
    images: bool,
    arithmetic: String,
    dimensions: u64,
    max_tokens: u64,
    vocabulary: u64,
    pooling: u8,
    normalise: bool,
    query_prefix: String,
    passage_prefix: String,
    matryoshka_dimensions: Vec<u64>,
}

pub(super) fn encode_cards<'a>(
    cards: impl Iterator<Item = &'a ModelCard>,
) -> Result<Vec<u8>, StoreError> {
    let record = |card: &ModelCard| CardRecord {
        name: card.name.clone(),
        fingerprint: card.fingerprint.clone(),
        task: match card.task {
            Task::Embed => 0,
            Task::Rerank => 1,
            Task::Sparse => 2,
        },
        images: card.images,
        arithmetic: card.arithmetic.clone(),
        dimensions: card.dimensions as u64,
        max_tokens: card.max_tokens as u64,
        vocabulary: card.vocabulary as u64,
        pooling: match card.pooling {
            Pooling::Cls => 0,
            Pooling::Mean => 1,
            Pooling::LastToken => 2,
            Pooling::Splade => 3,
        },
        normalise: card.normalise,
        query_prefix: card.query_prefix.clone(),
        passage_prefix: card.passage_prefix.clone(),
        matryoshka_dimensions: card.matryoshka_dimensions.iter().map(|size| *size as u64).collect(),
    };
    codec::encode(MESSAGE, &cards.map(record).collect::<Vec<_>>())
}

pub(super) fn decode_cards(bytes: &[u8]) -> Result<Vec<ModelCard>, StoreError> {
    let records: Vec<CardRecord> = codec::decode(MESSAGE, bytes)?;
    let narrow = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let card = |record: CardRecord| ModelCard {
        name: record.name,
        fingerprint: record.fingerprint,
        task: match record.task {
            0 => Task::Embed,
            1 => Task::Rerank,
            _ => Task::Sparse,
        },
        images: record.images,
        arithmetic: record.arithmetic,
        dimensions: narrow(record.dimensions),
        max_tokens: narrow(record.max_tokens),
        vocabulary: narrow(record.vocabulary),
        pooling: match record.pooling {
            0 => Pooling::Cls,
            1 => Pooling::Mean,
            2 => Pooling::LastToken,
            _ => Pooling::Splade,
        },
        normalise: record.normalise,
        query_prefix: record.query_prefix,
        passage_prefix: record.passage_prefix,
        matryoshka_dimensions: record.matryoshka_dimensions.into_iter().map(narrow).collect(),
    };
    Ok(records.into_iter().map(card).collect())
}

#[cfg(test)]
mod tests;
