//! Tidiness of the files that git tracks or would track.

mod code;
mod places;
mod prose;
mod text;
mod tree;

#[cfg(test)]
mod tests;

use std::fmt;

pub use tree::{TreeError, read_tree};

use places::Place;

/// One file of the repository.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Relative to the repository's root, with forward slashes.
    pub path: String,
    pub text: String,
}

/// One broken rule of tidiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub path: String,
    /// From 1; 0 where the whole file is meant.
    pub line: usize,
    /// What is wrong and what to do instead.
    pub message: String,
}

/// Every finding in the files, in their order.
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    files.iter().flat_map(check_file).collect()
}

fn check_file(file: &SourceFile) -> Vec<Finding> {
    let place = Place::of(&file.path);
    let mut problems = places::check(&file.path);
    problems.extend(text::check(&file.text, place));
    if place.is_markdown {
        problems.extend(prose::check(&file.text));
    }
    if place.is_rust {
        problems.extend(code::check(&file.text, place));
    }
    let finding = |problem: Problem| Finding {
        path: file.path.clone(),
        line: problem.line,
        message: problem.message,
    };
    problems.into_iter().map(finding).collect()
}

/// A finding before its file is known.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Problem {
    line: usize,
    message: String,
}

impl Problem {
    fn new(line: usize, message: impl Into<String>) -> Problem {
        Problem { line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.path, self.line, self.message)
    }
}
