//! Words that a page of documentation does without.

use super::Problem;

const BANNED: &[&str] = &["simply", "blazing", "seamless", "robust", "cutting-edge"];

pub(super) fn check(text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.to_lowercase();
        for banned in BANNED.iter().filter(|banned| line.contains(**banned)) {
            problems
                .push(Problem::new(index + 1, format!("`{banned}` says nothing: give the fact")));
        }
    }
    problems
}
