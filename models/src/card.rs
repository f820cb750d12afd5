//! What is known of a model before any of its weights is touched.

/// How the hidden states of one text, shape `[tokens, dimensions]`, become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The state of the first token, as BGE does.
    Cls,
    /// The mean over all real tokens, as MiniLM and E5 do.
    Mean,
    /// The state of the last real token, as decoder models do.
    LastToken,
    /// The greatest `log(1 + max(logit, 0))` of each word over all tokens, as SPLADE does; the
    /// vector is then as long as the vocabulary.
    Splade,
}

impl Pooling {
    /// The name used in settings and fingerprints.
    pub fn name(self) -> &'static str {
        match self {
            Pooling::Cls => "cls",
            Pooling::Mean => "mean",
            Pooling::LastToken => "last_token",
            Pooling::Splade => "splade",
        }
    }
}

/// What a model makes of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Task {
    /// One dense vector of `dimensions` numbers.
    #[default]
    Embed,
    /// One score for a pair of texts, as a vector of 1 number: the higher, the more relevant. It
    /// is the raw logit; whoever wants a number between 0 and 1 applies the sigmoid.
    Rerank,
    /// One weight for each word of the vocabulary, most of them 0, as a vector of
    /// `vocabulary` numbers (SPLADE).
    Sparse,
}

impl Task {
    /// The name used in settings and answers.
    pub fn name(self) -> &'static str {
        match self {
            Task::Embed => "embed",
            Task::Rerank => "rerank",
            Task::Sparse => "sparse",
        }
    }
}

/// A model's identity and its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelCard {
    /// The name that clients send in `model`.
    pub name: String,
    /// Hex digest over everything that changes a vector: weights, tokenizer, pooling,
    /// normalisation, prefixes, token limit and number format. Two vectors may be
    /// compared only when their fingerprints are equal.
    pub fingerprint: String,
    /// What the model makes of an input.
    pub task: Task,
    /// Whether it reads images beside texts, into the same space.
    pub images: bool,
    /// Where and in which number format it computes, for people: `cpu, f32`. No part of the
    /// identity: two nodes may compute one model by other instructions.
    pub arithmetic: String,
    /// Length of a vector.
    pub dimensions: usize,
    /// Longest input in tokens, special tokens counted.
    pub max_tokens: usize,
    /// Number of ids in the vocabulary; ids are `0..vocabulary`.
    pub vocabulary: usize,
    /// How hidden states become one vector.
    pub pooling: Pooling,
    /// Whether vectors are scaled to length 1.
    pub normalise: bool,
    /// Text put before every query; empty for models trained without one.
    pub query_prefix: String,
    /// Text put before every passage; empty for models trained without one.
    pub passage_prefix: String,
    /// Shorter lengths that the model was trained for (Matryoshka), ascending; empty
    /// when a vector must not be cut.
    pub matryoshka_dimensions: Vec<usize>,
}

impl ModelCard {
    /// Whether a client may ask for vectors of this length.
    pub fn offers_dimensions(&self, dimensions: usize) -> bool {
        dimensions == self.dimensions || self.matryoshka_dimensions.contains(&dimensions)
    }
}
