//! Lays windows over a text: each as long as its tokens and the structure allow.

use std::ops::Range;

use super::Chunk;
use super::cuts::{ceil, first_space, floor, is_boundary, last_space, skip_space, trim_end, words};
use super::outline::Outline;
use super::tokens::Tokens;

pub(super) struct Windows<'a> {
    pub(super) text: &'a str,
    pub(super) tokens: &'a Tokens,
    /// Its blocks all fit into a window.
    pub(super) outline: &'a Outline,
    pub(super) window_tokens: usize,
    pub(super) overlap_tokens: usize,
}

impl Windows<'_> {
    pub(super) fn plan(&self) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        for section in &self.outline.sections {
            self.section(section, &mut chunks);
        }
        chunks
    }

    fn section(&self, section: &Range<usize>, chunks: &mut Vec<Chunk>) {
        let (text, end) = (self.text, section.end);
        // All before it is in a chunk; `start` lies before it where windows overlap.
        let mut covered = skip_space(text, section.start, end);
        let mut start = covered;
        while covered < end {
            let Some(stop) = self.stop(start, covered, end) else {
                start = covered;
                continue;
            };
            let range = start..trim_end(text, start, stop);
            // Of a torn grapheme, a part may be white space alone.
            if !range.is_empty() {
                chunks.push(Chunk { tokens: self.tokens.between(range.start, range.end), range });
            }
            covered = skip_space(text, stop, end);
            start = self.next_start(start, stop).unwrap_or(covered);
        }
    }

    /// Where the window that begins at `start` ends, beyond `covered`; none when that takes a
    /// window without an overlap.
    fn stop(&self, start: usize, covered: usize, end: usize) -> Option<usize> {
        let text = self.text;
        let furthest = self.tokens.furthest(start, self.window_tokens, end);
        if furthest >= end {
            return Some(end);
        }
        let limit = floor(text, start, furthest);
        if limit <= covered {
            return (start == covered).then(|| self.within_grapheme(start, furthest));
        }
        if let Some(block) = self.outline.block_over(limit) {
            if block.start > covered {
                return Some(block.start);
            }
            if start < covered {
                return None;
            }
        }
        let half = self.tokens.furthest(start, self.window_tokens / 2, end);
        let lowest = text.ceil_char_boundary(half.max(covered + 1));
        if lowest > limit {
            return Some(limit);
        }
        let structural = self.outline.levels.iter().find_map(|cuts| {
            let below = cuts.partition_point(|cut| *cut <= limit);
            let cuts = cuts[..below].iter().rev().take_while(|cut| **cut >= lowest);
            cuts.copied().find(|cut| is_boundary(text, start, *cut))
        });
        structural
            .or_else(|| last_space(text, start, lowest, limit))
            .or_else(|| words(text, start, lowest, limit).last())
            .or(Some(limit))
    }

    /// An end within a grapheme that has more tokens than a window: between its characters.
    fn within_grapheme(&self, start: usize, furthest: usize) -> usize {
        match self.text.floor_char_boundary(furthest) {
            stop if stop > start => stop,
            _ => self.text.ceil_char_boundary(start + 1),
        }
    }

    /// Where the window behind `start..stop` begins, to repeat the end of that one; none when
    /// nothing can be repeated.
    fn next_start(&self, start: usize, stop: usize) -> Option<usize> {
        let text = self.text;
        let earliest = self.tokens.nearest(stop, self.overlap_tokens).max(start + 1);
        let earliest = ceil(text, start, earliest);
        if self.overlap_tokens == 0 || earliest >= stop {
            return None;
        }
        // Structure counts only where it leaves at least half of the overlap.
        let worth =
            |cut: &usize| *cut < stop && 2 * self.tokens.between(*cut, stop) >= self.overlap_tokens;
        let structural = self.outline.levels.iter().find_map(|cuts| {
            let below = cuts.partition_point(|cut| *cut < earliest);
            let cuts = cuts[below..].iter().copied().take_while(worth);
            cuts.into_iter().find(|cut| is_boundary(text, start, *cut))
        });
        let begin = structural
            .or_else(|| first_space(text, start, earliest, stop).filter(worth))
            .or_else(|| words(text, start, earliest, stop).find(worth))
            .unwrap_or(earliest);
        let begin = skip_space(text, begin, stop);
        (begin < stop).then_some(begin)
    }
}
