//! From the inputs of a request to the sequences that an encoder reads.

use headwater_embedding::{
    InputLimits, InputProblem, check_ids, check_length, check_text, check_total,
};
use headwater_models::{Model, ModelCard, Sequence, Task, TokenIds, TokenizeError};
use tokio::sync::Semaphore;

use super::handle::{EmbedError, Inputs, Purpose};

/// Most images in one request: each becomes half a megabyte of numbers, and may take a second to
/// decode.
const IMAGES_MAX: usize = 32;
/// Images that are decoded at a time: each may take hundreds of megabytes meanwhile.
pub(super) static DECODERS: Semaphore = Semaphore::const_new(4);

/// One input as the model reads it.
pub(super) struct Read {
    pub(super) sequence: Sequence,
    /// Length before truncation, in tokens.
    whole_length: usize,
}

impl Read {
    pub(super) fn truncated(&self) -> bool {
        self.whole_length > self.sequence.tokens()
    }
}

impl From<TokenIds> for Read {
    fn from(TokenIds { ids, second, whole_length }: TokenIds) -> Self {
        Read { sequence: Sequence::Tokens { ids, second }, whole_length }
    }
}

impl Inputs {
    pub(super) fn count(&self) -> usize {
        match self {
            Inputs::Texts(texts) => texts.len(),
            Inputs::Tokens(lists) => lists.len(),
            Inputs::Pairs(pairs) => pairs.len(),
            Inputs::Images(images) => images.len(),
        }
    }

    /// How much work it is to read them, as bytes of text.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Inputs::Texts(texts) => texts.iter().map(String::len).sum(),
            Inputs::Tokens(lists) => lists.iter().map(Vec::len).sum(),
            Inputs::Pairs(pairs) => {
                pairs.iter().map(|(first, second)| first.len() + second.len()).sum()
            }
            // A small file may hold a large image.
            Inputs::Images(_) => usize::MAX,
        }
    }

    /// Refuses empty texts, and inputs of a kind that the model does not take.
    pub(super) fn check(&self, card: &ModelCard) -> Result<(), EmbedError> {
        let pairs = matches!(self, Inputs::Pairs(_));
        if pairs != (card.task == Task::Rerank) {
            let takes = if pairs { "no pairs of texts" } else { "nothing but pairs of texts" };
            let (name, task) = (&card.name, card.task.name());
            let reason = format!("'{name}' is a model for {task} and reads {takes}");
            return Err(EmbedError::Refused(reason));
        }
        let empty = |index: usize, text: &str| check_text(index, text).map_err(EmbedError::Input);
        match self {
            Inputs::Texts(texts) => {
                texts.iter().enumerate().try_for_each(|(index, text)| empty(index, text))
            }
            Inputs::Pairs(pairs) => pairs.iter().enumerate().try_for_each(|(index, pair)| {
                empty(index, &pair.0)?;
                empty(index, &pair.1)
            }),
            Inputs::Images(images) if images.len() > IMAGES_MAX => {
                let (given, allowed) = (images.len(), IMAGES_MAX);
                Err(EmbedError::Input(InputProblem::TooManyTexts { given, allowed }))
            }
            Inputs::Tokens(_) | Inputs::Images(_) => Ok(()),
        }
    }
}

/// Every input as the model reads it, cut to the model's limit.
pub(super) fn read(
    model: &dyn Model,
    inputs: Inputs,
    purpose: Purpose,
) -> Result<Vec<Read>, EmbedError> {
    let card = model.card();
    let limit = Some(card.max_tokens);
    let prefix = match purpose {
        Purpose::Plain => "",
        Purpose::Query => &card.query_prefix,
        Purpose::Passage => &card.passage_prefix,
    };
    match inputs {
        Inputs::Texts(texts) => {
            each(texts, |text| model.tokenize(&prefixed(prefix, &text), limit).map(Read::from))
        }
        Inputs::Tokens(lists) => {
            for (index, ids) in lists.iter().enumerate() {
                check_ids(index, ids).map_err(EmbedError::Input)?;
            }
            each(lists, |ids| model.adopt(&ids, limit).map(Read::from))
        }
        // The first text of a pair is the query.
        Inputs::Pairs(pairs) => each(pairs, |(query, passage)| {
            let query = prefixed(&card.query_prefix, &query);
            let passage = prefixed(&card.passage_prefix, &passage);
            model.tokenize_pair(&query, &passage, limit).map(Read::from)
        }),
        Inputs::Images(images) => each(images, |bytes| {
            let pixels = model.read_image(&bytes)?;
            let whole_length = pixels.tokens;
            Ok(Read { sequence: Sequence::Image(pixels.into()), whole_length })
        }),
    }
}

fn each<T>(
    inputs: Vec<T>,
    work: impl Fn(T) -> Result<Read, TokenizeError>,
) -> Result<Vec<Read>, EmbedError> {
    let one = |(index, input)| work(input).map_err(|error| EmbedError::Unreadable { index, error });
    inputs.into_iter().enumerate().map(one).collect()
}

fn prefixed(prefix: &str, text: &str) -> String {
    format!("{prefix}{text}")
}

/// Checks what was read against the model's limits and the request's.
pub(super) fn check_read(
    read: &[Read],
    truncate: bool,
    card: &ModelCard,
    limits: &InputLimits,
) -> Result<(), InputProblem> {
    let mut lengths = Vec::with_capacity(read.len());
    // Every image is as long as the model makes it; the limit of texts is not its own.
    let mut image_tokens = 0;
    for (index, input) in read.iter().enumerate() {
        match &input.sequence {
            // A model without special tokens reads an empty text as nothing at all.
            Sequence::Tokens { ids, .. } => {
                check_ids(index, ids)?;
                lengths.push(input.whole_length);
            }
            Sequence::Image(pixels) => image_tokens += pixels.tokens,
        }
    }
    check_length(&lengths, truncate, card, limits)?;
    check_total(image_tokens, limits)
}
