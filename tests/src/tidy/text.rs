//! Rules over the plain text of any file.

use super::Problem;
use super::places::Place;

/// Texts that no file holds, with the reason. Each is cut in two so that this file holds none.
const BANNED: &[(&str, &str)] = &[
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/opt", "/ref"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("PRIVATE", " KEY-----"), "a private key: make one when the test runs"),
];

/// Marks of unfinished work: finish it, or open an issue.
const MARKS: &[&str] = &[concat!("FIX", "ME"), concat!("XX", "X")];

pub(super) fn check(text: &str, place: Place) -> Vec<Problem> {
    let mut problems = Vec::new();
    let lines = text.lines().count();
    if let Some(lines_max) = place.lines_max.filter(|lines_max| lines > *lines_max) {
        let message = format!("{lines} lines, {lines_max} allowed: split the file by subject");
        problems.push(Problem::new(0, message));
    }
    if place.is_rust && !text.starts_with("//! ") {
        problems.push(Problem::new(1, "the first line must be a `//!` line of purpose"));
    }
    for (index, line) in text.lines().enumerate() {
        problems.extend(check_line(line).into_iter().map(|found| Problem::new(index + 1, found)));
    }
    problems
}

fn check_line(line: &str) -> Vec<String> {
    let banned = BANNED.iter().filter(|(banned, _)| holds(line, banned));
    let mut found: Vec<String> =
        banned.map(|(banned, reason)| format!("`{banned}` is {reason}")).collect();
    let mut words = line.split(|letter: char| !letter.is_alphanumeric());
    if let Some(mark) = words.find(|word| MARKS.contains(word)) {
        found.push(format!("`{mark}`: finish the work or open an issue"));
    }
    found
}

/// Whether `line` holds `banned`, other than as the rest of a longer relative path.
fn holds(line: &str, banned: &str) -> bool {
    line.match_indices(banned).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        !before.is_some_and(|before| before.is_alphanumeric() || "._-}".contains(before))
    })
}
