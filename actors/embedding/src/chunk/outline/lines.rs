//! Lines with what structure is read from.

use std::ops::Range;

/// Columns that a tab counts for.
const TAB_COLUMNS: usize = 4;

pub(super) struct Line<'a> {
    /// Bytes of the text, the line's end counted in.
    pub(super) range: Range<usize>,
    /// Columns of white space before the first character.
    pub(super) indent: usize,
    /// Without white space at the ends.
    pub(super) words: &'a str,
}

impl Line<'_> {
    pub(super) fn is_blank(&self) -> bool {
        self.words.is_empty()
    }
}

pub(super) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut start = 0;
    text.split_inclusive('\n').map(move |line| {
        let range = start..start + line.len();
        start = range.end;
        let columns = |letter: char| match letter {
            ' ' => Some(1),
            '\t' => Some(TAB_COLUMNS),
            _ => None,
        };
        Line { range, indent: line.chars().map_while(columns).sum(), words: line.trim() }
    })
}
