//! The structure of Markdown, after CommonMark 0.31 as far as blocks go: headings, fenced code,
//! lists, paragraphs.

use std::ops::Range;

use super::lines::{Line, lines};
use super::{Outline, sentences};

/// Deeper indentation makes a line code or a part of a list.
const INDENT_MAX: usize = 3;

pub(super) fn outline(text: &str) -> Outline {
    let mut reader = Reader::default();
    for line in lines(text) {
        reader.read(&line);
    }
    reader.close(text.len());
    let Reader { headings, starts, inner, blocks, .. } = reader;
    let begins = [0].into_iter().chain(headings.iter().copied());
    let ends = headings.iter().copied().chain([text.len()]);
    let sections = begins.zip(ends).map(|(start, end)| start..end).collect();
    Outline { sections, levels: vec![starts, inner, sentences(text)], blocks }
}

/// What the line before left open.
#[derive(Default, PartialEq, Eq)]
enum Open {
    /// Nothing: the line before was empty, a heading, or the end of something.
    #[default]
    Nothing,
    Paragraph {
        lines: usize,
    },
    /// Fenced code, which ends with at least so many of this mark.
    Fence {
        start: usize,
        mark: char,
        length: usize,
    },
    List {
        start: usize,
        after_blank: bool,
    },
}

#[derive(Default)]
struct Reader {
    open: Open,
    /// Whether anything but headings was read since the last section began.
    has_body: bool,
    /// Where sections begin.
    headings: Vec<usize>,
    /// Where paragraphs, lists and fenced code begin and end.
    starts: Vec<usize>,
    /// Where items of lists and lines of fenced code begin.
    inner: Vec<usize>,
    blocks: Vec<Range<usize>>,
    /// Where the line before began.
    before: usize,
}

impl Reader {
    fn read(&mut self, line: &Line<'_>) {
        let start = line.range.start;
        match std::mem::take(&mut self.open) {
            Open::Nothing => self.begin(line),
            Open::Paragraph { lines: 1 } if underlines(line) => self.heading(self.before),
            Open::Paragraph { lines } => {
                self.has_body = true;
                if line.is_blank() || is_heading(line) || fence(line).is_some() || is_item(line) {
                    self.begin(line);
                } else {
                    self.open = Open::Paragraph { lines: lines + 1 };
                }
            }
            Open::Fence { start: begin, mark, length } => {
                self.inner.push(start);
                let closes = |(closing, count, bare)| closing == mark && count >= length && bare;
                if fence(line).is_some_and(closes) {
                    self.block(begin..line.range.end);
                } else {
                    self.open = Open::Fence { start: begin, mark, length };
                }
            }
            Open::List { start: begin, after_blank } => {
                let other = is_heading(line) || fence(line).is_some();
                let goes_on = line.indent > 0 || !other && (is_item(line) || !after_blank);
                if line.is_blank() || goes_on {
                    self.inner.extend(is_item(line).then_some(start));
                    self.open = Open::List { start: begin, after_blank: line.is_blank() };
                } else {
                    self.block(begin..start);
                    self.begin(line);
                }
            }
        }
        self.before = start;
    }

    /// A line that goes on with nothing.
    fn begin(&mut self, line: &Line<'_>) {
        let start = line.range.start;
        if line.is_blank() {
            return;
        }
        if is_heading(line) {
            return self.heading(start);
        }
        self.starts.push(start);
        // A paragraph's first line may yet turn out to be a heading, so it is no body so far.
        self.open = match fence(line) {
            Some((mark, length, _)) => Open::Fence { start, mark, length },
            None if is_item(line) => Open::List { start, after_blank: false },
            None => Open::Paragraph { lines: 1 },
        };
    }

    /// Headings without a text between them stay together.
    fn heading(&mut self, start: usize) {
        if self.has_body {
            self.headings.push(start);
            self.has_body = false;
        }
    }

    fn block(&mut self, block: Range<usize>) {
        self.has_body = true;
        self.starts.push(block.end);
        self.blocks.push(block);
    }

    fn close(&mut self, end: usize) {
        match std::mem::take(&mut self.open) {
            Open::Fence { start, .. } | Open::List { start, .. } => self.block(start..end),
            Open::Paragraph { .. } | Open::Nothing => {}
        }
    }
}

/// `# Heading`
fn is_heading(line: &Line<'_>) -> bool {
    let text = line.words.trim_start_matches('#');
    let level = line.words.len() - text.len();
    let apart = text.is_empty() || text.starts_with([' ', '\t']);
    line.indent <= INDENT_MAX && (1..=6).contains(&level) && apart
}

/// `=====` or `-----` under a heading.
fn underlines(line: &Line<'_>) -> bool {
    let all = |mark: char| line.words.chars().all(|letter| letter == mark);
    line.indent <= INDENT_MAX && !line.is_blank() && (all('=') || all('-'))
}

/// The mark of a line that begins or ends fenced code, how many there are, and whether nothing
/// follows them.
fn fence(line: &Line<'_>) -> Option<(char, usize, bool)> {
    let mark = line.words.chars().next().filter(|mark| matches!(mark, '`' | '~'))?;
    let text = line.words.trim_start_matches(mark);
    let length = line.words.len() - text.len();
    let inline = mark == '`' && text.contains('`');
    (length >= 3 && !inline).then_some((mark, length, text.is_empty()))
}

/// `- item`, `* item`, `+ item`, `1. item`, `1) item`
fn is_item(line: &Line<'_>) -> bool {
    let number = line.words.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let digits = line.words.len() - number.len();
    let rest = match digits {
        0 => line.words.strip_prefix(['-', '*', '+']),
        1..=9 => number.strip_prefix(['.', ')']),
        _ => None,
    };
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
}
