//! The structure of source code in any language: empty lines and indentation.

use std::ops::Range;

use super::Outline;
use super::lines::{Line, lines};

/// Words that go on with what the lines before began, though they are not indented.
const CONTINUES: [&str; 9] =
    ["else", "elif", "except", "finally", "catch", "end", "then", "do", "and"];

/// A definition begins with a line that is not indented, behind an empty line or a body,
/// and ends where the next one begins: comments and attributes above it belong to it.
pub(super) fn outline(text: &str) -> Outline {
    let (mut definitions, mut paragraphs, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    // The beginning of the text counts as an empty line.
    let (mut after_blank, mut after_body) = (true, false);
    for line in lines(text) {
        let start = line.range.start;
        starts.push(start);
        if line.is_blank() {
            after_blank = true;
            continue;
        }
        if line.indent == 0 && (after_blank || after_body) && !continues(&line) {
            definitions.push(start);
        }
        if after_blank {
            paragraphs.push(start);
        }
        (after_blank, after_body) = (false, line.indent > 0 || continues(&line));
    }
    let ends = definitions.iter().skip(1).copied().chain([text.len()]);
    let blocks = definitions.iter().copied().zip(ends).map(|(start, end)| start..end).collect();
    let sections = vec![Range { start: 0, end: text.len() }];
    Outline { sections, levels: vec![definitions, paragraphs, starts], blocks }
}

fn continues(line: &Line<'_>) -> bool {
    let word = line.words.split(|letter: char| !letter.is_alphanumeric()).next();
    line.words.starts_with(['}', ')', ']']) || word.is_some_and(|word| CONTINUES.contains(&word))
}
