//! Rules over the tokens of Rust code: comments and strings do not count.

mod scan;

use proc_macro2::TokenStream;

use super::Problem;
use super::places::Place;

use scan::{Scan, Token};

const FUNCTION_LINES_MAX: usize = 70;

/// Runs of tokens that no Rust file holds.
const UNFINISHED: &[&[&str]] = &[&["todo", "!"], &["unimplemented", "!"], &["dbg", "!"]];

/// Runs of tokens that panic; allowed where only tests run.
const PANICS: &[&[&str]] = &[
    &[".", "unwrap", "("],
    &[".", "unwrap_err", "("],
    &[".", "expect", "("],
    &[".", "expect_err", "("],
    &["panic", "!"],
];

/// Runs of tokens that pure code does without, each with what to do instead.
const IMPURE: &[(&[&str], &str)] = &[
    (&["Instant", ":", ":", "now"], "`now` comes in as an argument"),
    (&["SystemTime"], "`now` comes in as an argument"),
    (&["std", ":", ":", "thread"], "the shell owns the threads"),
    (&["thread", ":", ":", "spawn"], "the shell owns the threads"),
    (&["rand", ":", ":"], "drawn numbers come in as arguments"),
    (&["tokio", ":", ":"], "the shell owns the runtime"),
    (&["std", ":", ":", "fs"], "effects go out as values"),
    (&["std", ":", ":", "net"], "effects go out as values"),
    (&["std", ":", ":", "env"], "settings come in as arguments"),
    (&["std", ":", ":", "process"], "effects go out as values"),
    (&["HashMap"], "its order differs from run to run: take a BTreeMap"),
    (&["HashSet"], "its order differs from run to run: take a BTreeSet"),
];

pub(super) fn check(text: &str, place: Place) -> Vec<Problem> {
    let stream: TokenStream = match text.parse() {
        Ok(stream) => stream,
        Err(error) => return vec![Problem::new(0, format!("not Rust that can be read: {error}"))],
    };
    let scan = Scan::of(stream);
    let mut problems = functions(&scan);
    for line in &scan.crate_wide_allows {
        problems.push(Problem::new(*line, "no `#![allow]`: allow one item, with the reason"));
    }
    for line in &scan.wildcard_imports {
        problems.push(Problem::new(*line, "no wildcard import: name what is used"));
    }
    problems.extend(runs(&scan.tokens, UNFINISHED, "finish it or return an error"));
    if !place.is_test {
        problems.extend(runs(&scan.tokens, PANICS, "return an error instead of a panic"));
    }
    if place.is_pure {
        for (run, instead) in IMPURE {
            problems.extend(runs(&scan.tokens, &[run], instead));
        }
    }
    problems
}

fn functions(scan: &Scan) -> Vec<Problem> {
    let long = scan.functions.iter().filter(|function| function.lines > FUNCTION_LINES_MAX);
    long.map(|function| {
        let (name, lines) = (&function.name, function.lines);
        let message = format!("fn {name} has {lines} lines, {FUNCTION_LINES_MAX} allowed");
        Problem::new(function.line, message)
    })
    .collect()
}

fn runs(tokens: &[Token], banned: &[&[&str]], instead: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for run in banned {
        let windows = tokens.windows(run.len());
        let found = windows.filter(|window| window.iter().map(|token| &token.text).eq(run.iter()));
        for line in found.filter_map(|window| window.first()).map(|token| token.line) {
            problems.push(Problem::new(line, format!("`{}`: {instead}", run.concat())));
        }
    }
    problems
}
