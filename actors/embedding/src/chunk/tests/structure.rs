//! Where windows end and what neighbours share.

use super::{apart, letters, plan, texts, words};
use crate::{ChunkSettings, Split};

#[test]
fn windows_are_full_and_neighbours_share_a_tenth() {
    let text: String = (0..1000).map(|number| format!("w{number} ")).collect();
    let chunks = plan(&text, &words(&text), &ChunkSettings::of(100, Split::Plain));
    // 100 words, then 90 new ones for each further window.
    assert_eq!(chunks.len(), 11);
    for (index, chunk) in chunks.iter().enumerate() {
        let words: Vec<&str> = text[chunk.range.clone()].split(' ').collect();
        assert_eq!(words[0], format!("w{}", index * 90));
        assert_eq!(words.len(), chunk.tokens);
        assert_eq!(chunk.tokens, 100);
    }
}

#[test]
fn a_window_ends_with_a_sentence_where_one_ends_in_its_second_half() {
    let text = "One two three. Four five six seven. Eight nine ten eleven twelve thirteen.";
    let expected =
        ["One two three. Four five six seven.", "Eight nine ten eleven twelve thirteen."];
    assert_eq!(apart(text, 9, Split::Sentence), expected);
    assert_eq!(apart(text, 9, Split::Plain)[0], "One two three. Four five six seven. Eight nine");
    let late = "One. Two three four five six seven eight nine ten eleven twelve.";
    assert_eq!(apart(late, 6, Split::Sentence)[0], "One. Two three four five six");
    let lines = "a b c d\n\ne f g. h i j";
    assert_eq!(apart(lines, 8, Split::Sentence), ["a b c d", "e f g. h i j"]);
}

#[test]
fn japanese_and_chinese_sentences_end_with_their_own_marks() {
    let table = [
        ("今日は晴れ。明日は雨だ！本当か？はい", ["今日は晴れ。", "明日は雨だ！", "本当か？はい"]),
        ("他们来了。我们走吧！你在哪？", ["他们来了。", "我们走吧！", "你在哪？"]),
        ("「行く。」と言う\n次の行です\n終わり。", ["「行く。」と言う", "次の行です", "終わり。"]),
    ];
    for (text, expected) in table {
        let settings =
            ChunkSettings { window_tokens: 8, overlap_percent: 0, split: Split::Sentence };
        assert_eq!(texts(text, &plan(text, &letters(text), &settings)), expected);
    }
}

#[test]
fn neighbours_share_whole_sentences_where_they_fit_the_overlap() {
    let text = "A b c d e f g. H i j k l m n. O p. Q r s t u v w x y z. A b c d e f g h i j.";
    let settings = ChunkSettings { window_tokens: 16, overlap_percent: 25, split: Split::Sentence };
    let chunks = plan(text, &words(text), &settings);
    assert_eq!(&text[chunks[0].range.clone()], "A b c d e f g. H i j k l m n. O p.");
    assert_eq!(&text[chunks[1].range.clone()], "O p. Q r s t u v w x y z.");
    // The sentence before has ten words, and the overlap holds four.
    assert_eq!(&text[chunks[2].range.clone()], "w x y z. A b c d e f g h i j.");
}

#[test]
fn a_word_longer_than_a_window_is_cut_and_others_are_not() {
    let text = format!("short {} end", "x".repeat(25));
    let settings = ChunkSettings { window_tokens: 10, overlap_percent: 0, split: Split::Sentence };
    let chunks = plan(&text, &letters(&text), &settings);
    let lengths: Vec<usize> = chunks.iter().map(|chunk| chunk.range.len()).collect();
    assert_eq!(texts(&text, &chunks)[0], "short");
    assert_eq!(lengths[1..3], [10, 10]);
    assert_eq!(texts(&text, &chunks)[3], "xxxxx end");
}

const MARKDOWN: &str = "\
# Guide

Intro words here.

## Install

- one step
- two steps

  more on two

```sh
# not a heading
run it now
run it again
```

Closing words of this part.

Second title
============

## Nested

Tail.
";

#[test]
fn a_heading_starts_a_chunk_and_lists_and_code_stay_whole() {
    let chunks = apart(MARKDOWN, 16, Split::Markdown);
    let fence = "```sh\n# not a heading\nrun it now\nrun it again\n```";
    assert_eq!(
        chunks,
        [
            "# Guide\n\nIntro words here.",
            "## Install\n\n- one step\n- two steps\n\n  more on two",
            fence,
            "Closing words of this part.",
            "Second title\n============\n\n## Nested\n\nTail.",
        ]
    );
    // What does not fit is cut between lines.
    let small = apart(MARKDOWN, 6, Split::Markdown);
    assert!(small.contains(&"```sh\n# not a heading"), "{small:?}");
    assert!(small.contains(&"## Install\n\n- one step"), "{small:?}");
    let whole = apart(MARKDOWN, 1000, Split::Markdown);
    assert_eq!(whole.len(), 3, "one chunk a heading: {whole:?}");
}

#[test]
fn markdown_knows_a_heading_from_what_looks_like_one() {
    let table: &[(&str, usize)] = &[
        ("text\n\n#hashtag\n\ntext", 1),
        ("text\n\n    # code\n", 1),
        ("text\n\n####### seven\n", 1),
        ("text\n\n# one\n# two\n\nbody", 2),
        ("text\n\n- list\n# one\nbody", 2),
        ("text\n\ntitle\n---\nbody", 2),
        ("a paragraph\nof two lines\n---\nbody", 1),
        ("text\n\n~~~~\n# a\n~~~\n# b\n~~~~\n# c\nbody", 2),
        ("text\n\n```\n# never closed", 1),
        ("text\n\n```not a fence``` # a\n", 1),
        ("text\r\n\r\n# one\r\nbody\r\n", 2),
        ("# one", 1),
    ];
    for (text, sections) in table {
        assert_eq!(apart(text, 1000, Split::Markdown).len(), *sections, "{text:?}");
    }
}

const CODE: &str = "\
use std::fmt;

/// Adds.
fn add(a: u32, b: u32) -> u32 {
    let sum = a + b;

    sum
}

impl Display for Sum {
    fn fmt(&self) -> Result {
        Ok(())
    }
}
fn last() {
    if a {
        b
    }
}
";

#[test]
fn definitions_stay_whole_and_longer_ones_are_cut_at_empty_lines_then_lines() {
    let whole = apart(CODE, 19, Split::Code);
    assert_eq!(whole.len(), 4, "{whole:?}");
    assert_eq!(whole[0], "use std::fmt;");
    assert!(whole[1].starts_with("/// Adds.\nfn add") && whole[1].ends_with("sum\n}"));
    assert!(whole[2].starts_with("impl Display") && whole[2].ends_with("    }\n}"));
    assert!(whole[3].starts_with("fn last") && whole[3].ends_with("    }\n}"));
    let paired = apart(CODE, 21, Split::Code);
    assert!(paired[0].starts_with("use std") && paired[0].ends_with("sum\n}"), "{paired:?}");
    let long = "fn long() {\n    a b c d\n    e f\n\n    g h i j\n    k l\n}\n";
    let by_blank = ["fn long() {\n    a b c d\n    e f", "g h i j\n    k l\n}"];
    assert_eq!(apart(long, 10, Split::Code), by_blank);
    let by_line = ["fn long() {\n    a b c d", "e f\n\n    g h i j\n    k l", "}"];
    assert_eq!(apart(long, 8, Split::Code), by_line);
    let python = "def a():\n    one\n    two\ndef b():\n    three\nelse:\n    four\n";
    assert_eq!(
        apart(python, 6, Split::Code),
        ["def a():\n    one\n    two", "def b():\n    three\nelse:\n    four"]
    );
}

#[test]
fn splits_have_names() {
    for split in Split::ALL {
        assert_eq!(Split::named(split.name()), Some(split));
    }
    assert_eq!(Split::named("html"), None);
}
