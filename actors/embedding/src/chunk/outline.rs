//! The structure of a text, as far as it tells where to cut.

mod code;
mod lines;
mod markdown;

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

use super::Split;
use lines::lines;

/// Places in bytes, ascending. All are the beginnings of lines or of sentences.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outline {
    /// Parts that share no chunk; together the whole text.
    pub(super) sections: Vec<Range<usize>>,
    /// Where to cut, the kind of place that is liked best first.
    pub(super) levels: Vec<Vec<usize>>,
    /// What stays whole if it fits; disjoint.
    pub(super) blocks: Vec<Range<usize>>,
}

impl Outline {
    pub(super) fn of(text: &str, split: Split) -> Self {
        let whole = vec![Range { start: 0, end: text.len() }];
        match split {
            Split::Plain => Outline { sections: whole, ..Outline::default() },
            Split::Sentence => Outline {
                sections: whole,
                levels: vec![paragraphs(text), sentences(text)],
                blocks: Vec::new(),
            },
            Split::Markdown => markdown::outline(text),
            Split::Code => code::outline(text),
        }
    }

    /// The block that this place lies within.
    pub(super) fn block_over(&self, place: usize) -> Option<&Range<usize>> {
        let behind = self.blocks.partition_point(|block| block.end <= place);
        self.blocks.get(behind).filter(|block| block.start < place)
    }
}

/// Where lines begin that follow an empty one.
fn paragraphs(text: &str) -> Vec<usize> {
    let mut after_blank = false;
    let begins = |line: &lines::Line<'_>| {
        let begins = after_blank && !line.is_blank();
        after_blank = line.is_blank();
        begins
    };
    lines(text).filter(begins).map(|line| line.range.start).collect()
}

fn sentences(text: &str) -> Vec<usize> {
    text.split_sentence_bound_indices().map(|(place, _)| place).collect()
}
