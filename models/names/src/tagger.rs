//! The tagger: a text's tokens, their likeliest labels, and the spans that those make.

use headwater_models::entities::{EntityTagger, TagError, TaggedKind, TaggedSpan};

use crate::chain::{self, ADDRESS, Marginals, PERSON, Row};
use crate::feature::features;
use crate::token::{Kind, Token, tokens};
use crate::weights::{Weights, WeightsError};

/// Finds names and addresses.
pub struct NameTagger {
    weights: Weights,
}

impl NameTagger {
    pub fn new(weights: Weights) -> NameTagger {
        NameTagger { weights }
    }

    /// The tagger with the weights that this crate carries.
    ///
    /// # Errors
    /// When they were made for another version, which a test rules out.
    pub fn bundled() -> Result<NameTagger, WeightsError> {
        const FILE: &[u8] = include_bytes!("../weights/names.safetensors");
        Weights::read(FILE).map(NameTagger::new)
    }

    fn spans(&self, text: &str, tokens: &[Token]) -> Vec<TaggedSpan> {
        let mut rows: Vec<Row> = Vec::with_capacity(tokens.len());
        features(text, tokens, &|_| false, |_, buckets| rows.push(self.weights.row(buckets)));
        let labels = chain::best(&rows, &self.weights.transitions);
        let sure = Marginals::new(&rows, &self.weights.transitions).tokens;
        let mut spans: Vec<TaggedSpan> = Vec::new();
        let mut place = 0;
        while place < labels.len() {
            let first = labels[place];
            let kind = match first {
                PERSON => TaggedKind::Person,
                ADDRESS => TaggedKind::Address,
                _ => {
                    place += 1;
                    continue;
                }
            };
            let start = place;
            place += 1;
            while labels.get(place).is_some_and(|label| *label == first + 1) {
                place += 1;
            }
            spans.extend(span(text, tokens, &sure, start..place, first, kind));
        }
        spans
    }
}

/// Signs at the ends of a span belong to the sentence, but for the dot of `Jr.`
fn span(
    text: &str,
    tokens: &[Token],
    sure: &[Row],
    mut places: std::ops::Range<usize>,
    first: usize,
    kind: TaggedKind,
) -> Option<TaggedSpan> {
    let is_sign = |place: usize| matches!(tokens[place].kind, Kind::Sign | Kind::Line);
    while !places.is_empty() && is_sign(places.start) {
        places.start += 1;
    }
    while !places.is_empty() && is_sign(places.end - 1) {
        places.end -= 1;
    }
    let (from, to) = (tokens.get(places.start)?, tokens.get(places.end.checked_sub(1)?)?);
    // Numbers alone are no address.
    let has_word = tokens.get(places.clone())?.iter().any(|token| token.kind == Kind::Word);
    if places.is_empty() || !has_word {
        return None;
    }
    let class = |row: &Row| row[first] + row[first + 1];
    let score = sure.get(places.clone())?.iter().map(class).sum::<f32>() / places.len() as f32;
    let range = from.range.start..to.range.end;
    text.get(range.clone())?;
    Some(TaggedSpan { kind, range, score: score.min(0.98) })
}

impl EntityTagger for NameTagger {
    fn tag(&self, text: &str) -> Result<Vec<TaggedSpan>, TagError> {
        Ok(self.spans(text, &tokens(text)))
    }
}
