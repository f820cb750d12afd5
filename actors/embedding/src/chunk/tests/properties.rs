//! What holds for every text, vocabulary and setting.

use std::ops::Range;

use headwater_models::Piece;
use unicode_segmentation::UnicodeSegmentation;

use super::{bytes, letters, piece, words};
use crate::{Chunk, ChunkProblem, ChunkSettings, Split, plan};

/// SplitMix64: the texts are the same in every run.
struct Seed(u64);

impl Seed {
    fn draw(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % below as u64) as usize
    }
}

/// Parts of every kind that structure, words or graphemes are read from.
const PARTS: &[&str] = &[
    "water",
    "the",
    "Stream",
    "an exceedinglylongwordwithoutanyspace",
    " ",
    " ",
    "  ",
    "\n",
    "\n\n",
    "\r\n",
    "\t",
    ". ",
    "! ",
    "? ",
    "。",
    "！",
    "？",
    "、",
    "東京都に住む",
    "カタカナ",
    "ひらがな",
    "「引用」",
    "日",
    "👩‍👩‍👧‍👦",
    "🇯🇵",
    "🇯🇵🇩🇪",
    "👍🏽",
    "e\u{301}",
    "Z\u{351}\u{351}\u{351}\u{351}",
    "각",
    "\u{1100}\u{1161}",
    "# Heading\n",
    "## Sub\n",
    "Title\n===\n",
    "```\n",
    "~~~~\n",
    "```rust\n",
    "- item\n",
    "1. first\n",
    "  - nested\n",
    "| a | b |\n",
    "    indented\n",
    "fn main() {\n",
    "}\n",
    "def run(x):\n",
    "class A:\n",
    "else:\n",
    "// note\n",
    "\u{200b}",
    "\u{a0}",
    "\u{0}",
    "\u{feff}",
    "กขค",
    "नमस्ते",
    " \u{301}",
    "a,b;c",
    "3.14",
    "\u{2028}",
    "\u{600}",
    "x\u{200d}",
];

fn text(seed: &mut Seed) -> String {
    let kind = seed.draw(8);
    let parts = seed.draw(160);
    let mut text = String::new();
    for _ in 0..parts {
        let part = match kind {
            0 => ["word ", "more. ", "And "][seed.draw(3)],
            1 => [" ", "\n", "\t", "\u{3000}"][seed.draw(4)],
            2 => ["x", "yz"][seed.draw(2)],
            3 => ["日本", "語。", "！", "ー"][seed.draw(4)],
            4 => ["🇯🇵", "\u{301}", "👍🏽", "👩‍👩‍👧‍👦"][seed.draw(4)],
            _ => PARTS[seed.draw(PARTS.len())],
        };
        text.push_str(part);
    }
    text
}

fn tokenised(text: &str, seed: &mut Seed) -> Vec<Piece> {
    match seed.draw(6) {
        0 => words(text),
        1 => bytes(text, 1),
        2 => bytes(text, 1 + seed.draw(7)),
        3 => letters(text),
        // Some vocabularies report the later tokens of one character as empty.
        4 => {
            let empty = |piece: Piece| match piece.start % 3 {
                0 => piece,
                _ => Piece { stop: piece.start, ..piece },
            };
            bytes(text, 1).into_iter().map(empty).collect()
        }
        // Not every character makes a token, and special ones stand between.
        _ => {
            let mut pieces = letters(text);
            pieces.retain(|piece| piece.start % 5 != 1);
            pieces.insert(0, Piece { special: true, ..piece(0, 0) });
            pieces
        }
    }
}

/// Tokens that touch the range, counted one by one; a token counts for whole characters.
fn touching(text: &str, pieces: &[Piece], range: &Range<usize>) -> usize {
    let touches = |piece: &&Piece| {
        let start = text.floor_char_boundary(piece.start.min(text.len().saturating_sub(1)));
        let stop = text.ceil_char_boundary(piece.stop.max(start + 1));
        !piece.special && start < range.end && stop > range.start
    };
    pieces.iter().filter(touches).count()
}

fn check(text: &str, pieces: &[Piece], settings: &ChunkSettings) {
    let chunks = plan(text, pieces, settings);
    let told = format!("{settings:?} {text:?}");
    assert_eq!(chunks, plan(text, pieces, settings), "two runs differ: {told}");
    let graphemes: Vec<Range<usize>> =
        text.grapheme_indices(true).map(|(at, part)| at..at + part.len()).collect();
    let fits = |part: &Range<usize>| touching(text, pieces, part) <= settings.window_tokens;
    let torn = !graphemes.iter().all(fits);
    let is_bound = |at: usize| {
        at == text.len()
            || graphemes.binary_search_by_key(&at, |part| part.start).is_ok()
            || torn && text.is_char_boundary(at)
    };
    let mut covered = vec![false; text.len()];
    for Chunk { range, tokens } in &chunks {
        assert!(range.start < range.end, "an empty chunk: {told}");
        assert!(is_bound(range.start) && is_bound(range.end), "a cut grapheme: {told}");
        assert_eq!(*tokens, touching(text, pieces, range), "a wrong count: {told}");
        let letters = text[range.clone()].chars().count();
        assert!(*tokens <= settings.window_tokens || letters == 1, "too long: {told}");
        assert!(!text[range.clone()].trim().is_empty(), "only space: {told}");
        covered[range.clone()].fill(true);
    }
    for (at, letter) in text.char_indices() {
        assert!(covered[at] || letter.is_whitespace(), "{letter:?} at {at} is lost: {told}");
    }
    let overlap_most = settings.window_tokens * settings.overlap_percent / 100;
    for pair in chunks.windows(2) {
        let (first, second) = (&pair[0].range, &pair[1].range);
        assert!(first.start < second.start && first.end < second.end, "no progress: {told}");
        let shared = second.start..first.end.max(second.start);
        let shared_tokens = match shared.is_empty() {
            true => 0,
            false => touching(text, pieces, &shared),
        };
        assert!(shared_tokens <= overlap_most, "{shared_tokens} shared: {told}");
    }
}

#[test]
fn seeded_texts_are_covered_by_whole_graphemes_within_the_window() {
    let mut seed = Seed(4);
    for _ in 0..4000 {
        let text = text(&mut seed);
        let pieces = tokenised(&text, &mut seed);
        for split in Split::ALL {
            let window_tokens = [1, 2, 3, 5, 8, 13, 21, 100][seed.draw(8)];
            let overlap_percent = [0, 10, 10, 25, 50][seed.draw(5)];
            check(&text, &pieces, &ChunkSettings { window_tokens, overlap_percent, split });
        }
    }
}

#[test]
fn extreme_texts_are_cut_too() {
    let zalgo = format!("a{}b", "\u{301}".repeat(3000));
    let flags = "🇯🇵".repeat(3000);
    let long = [
        String::new(),
        " \n\t\u{3000}".repeat(500),
        "x".repeat(20_000),
        zalgo,
        flags,
        "日本語".repeat(2000),
        "word ".repeat(5000),
        "#\n".repeat(500),
        "```\n".repeat(501),
        "- \n\n".repeat(500),
        "\u{200b}".repeat(1000),
    ];
    for text in &long {
        for pieces in [words(text), bytes(text, 3), letters(text), Vec::new()] {
            for split in Split::ALL {
                let settings = ChunkSettings::of(64, split);
                let chunks = plan(text, &pieces, &settings);
                let whole = text.trim().is_empty() || !chunks.is_empty();
                assert!(whole, "{split:?} of {} bytes", text.len());
                // A slow walk over each chunk would take minutes on the long ones.
                let covered: usize = chunks.iter().map(|chunk| chunk.range.len()).sum();
                let visible = text.chars().filter(|letter| !letter.is_whitespace());
                assert!(covered >= visible.map(char::len_utf8).sum(), "{split:?}");
                assert!(chunks.iter().all(|chunk| chunk.tokens <= 64), "{split:?}");
            }
        }
    }
}

#[test]
fn a_text_without_tokens_is_one_chunk_and_white_space_is_none() {
    let settings = ChunkSettings::of(8, Split::Sentence);
    assert_eq!(plan("\u{200b}", &[], &settings), [Chunk { range: 0..3, tokens: 0 }]);
    assert_eq!(plan("", &[], &settings), []);
    assert_eq!(plan(" \u{3000}\r\n", &bytes(" \u{3000}\r\n", 1), &settings), []);
}

#[test]
fn offsets_outside_the_text_do_no_harm() {
    let pieces = [piece(0, 2), piece(3, 99), piece(50, 60), piece(9, 3)];
    for split in Split::ALL {
        let chunks = plan("ab cd", &pieces, &ChunkSettings::of(1, split));
        assert_eq!(chunks.first().map(|chunk| chunk.range.start), Some(0));
        assert_eq!(chunks.last().map(|chunk| chunk.range.end), Some(5));
    }
}

#[test]
fn settings_outside_their_limits_are_named_and_do_not_hang() {
    let good = ChunkSettings::of(8, Split::Plain);
    assert_eq!(good.check(), Ok(()));
    assert_eq!(good.overlap_percent, 10);
    let none = ChunkSettings { window_tokens: 0, ..good };
    assert_eq!(none.check(), Err(ChunkProblem::NoWindow));
    assert_eq!(plan("a b", &words("a b"), &none).len(), 2);
    let wide = ChunkSettings { overlap_percent: 51, ..good };
    let problem = ChunkProblem::OverlapTooLarge { given_percent: 51, allowed_percent: 50 };
    assert_eq!(wide.check(), Err(problem));
    let text = "word ".repeat(100);
    let half = ChunkSettings { overlap_percent: 50, ..good };
    assert_eq!(plan(&text, &words(&text), &wide), plan(&text, &words(&text), &half));
}
