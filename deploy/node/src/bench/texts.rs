//! The texts of the benchmark: made from a word list by a fixed rule, so that every run
//! and every peer reads the same.

/// Common words, each one token in BERT's vocabulary, so that lengths can be aimed at.
const WORDS: [&str; 48] = [
    "river", "water", "market", "paper", "night", "music", "garden", "winter", "history", "window",
    "doctor", "energy", "letter", "mountain", "science", "summer", "system", "village", "weather",
    "island", "bridge", "camera", "engine", "forest", "harbor", "journey", "kitchen", "language",
    "machine", "number", "office", "people", "question", "railway", "school", "teacher", "valley",
    "writer", "animal", "building", "country", "dinner", "family", "golden", "house", "money",
    "north", "ocean",
];

/// One kind of load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Workload {
    pub(super) name: &'static str,
    pub(super) clients: usize,
    /// Texts in one request.
    texts: usize,
    /// Words of the shortest and the longest text; two special tokens come on top.
    words: (usize, usize),
}

impl Workload {
    pub(super) fn all() -> Vec<Workload> {
        let loads = [("1 client", 1), ("8 clients", 8), ("64 clients", 64)];
        let mut all: Vec<Workload> =
            loads.into_iter().map(|(name, clients)| Workload::queries(name, clients)).collect();
        all.push(Workload::batches("32×128 batches", 2, 128));
        all
    }

    /// Short queries, one a request.
    pub(super) fn queries(name: &'static str, clients: usize) -> Workload {
        Workload { name, clients, texts: 1, words: (4, 20) }
    }

    /// Requests of 32 texts with `tokens` tokens each, the 2 special ones counted.
    pub(super) fn batches(name: &'static str, clients: usize, tokens: usize) -> Workload {
        let words = tokens.saturating_sub(2).max(1);
        Workload { name, clients, texts: 32, words: (words, words) }
    }

    /// The texts of the request with this number; numbers repeat no text soon, so that a
    /// cache would not help.
    pub(super) fn texts(&self, request: u64) -> Vec<String> {
        (0..self.texts as u64).map(|text| self.text(request * self.texts as u64 + text)).collect()
    }

    fn text(&self, number: u64) -> String {
        let mut draw = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
        let mut next = |bound: usize| {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (draw >> 33) as usize % bound
        };
        let (shortest, longest) = self.words;
        let words = shortest + next(longest - shortest + 1);
        let chosen: Vec<&str> = (0..words).map(|_| WORDS[next(WORDS.len())]).collect();
        chosen.join(" ")
    }
}
