//! What a file's path says about the rules it is under.

use super::Problem;

/// Folders of pure code: no clock, threads, randomness, I/O or order of a hash table.
const PURE: &[&str] = &[
    "actors/embedding/src/",
    "actors/prompts/src/",
    "actors/tenancy/src/",
    "actors/tools/src/",
    "cluster/src/",
    "models/src/",
    "sandbox/src/",
    "secrets/src/",
    "vectors/src/",
];

/// Code that only tests run, though its file is no `tests.rs`: a panic there is a failing test.
const DOUBLES: &[&str] = &[
    "backends/src/memory.rs",
    "models/src/double.rs",
    "sandbox/src/conformance",
    "sandbox/src/double.rs",
    "secrets/src/double.rs",
    "vectors/src/memory.rs",
    "storage/src/conformance",
];

/// Folders with test code, at any depth.
const TEST_FOLDERS: &[&str] = &["tests", "benches", "examples"];

/// A name that gathers whatever has no home; name the capability instead.
const VAGUE_FOLDERS: &[&str] = &["common", "core", "types", "utils"];

/// Which rules a file is under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) is_rust: bool,
    pub(super) is_markdown: bool,
    /// Only tests run it: it may panic.
    pub(super) is_test: bool,
    pub(super) is_pure: bool,
    /// The most lines the file may have; `None` for locks and data.
    pub(super) lines_max: Option<usize>,
}

impl Place {
    pub(super) fn of(path: &str) -> Place {
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        // The tests crate's own library is under the rules like any other.
        let inner = folders.strip_prefix("tests/").unwrap_or(folders);
        let in_test_folder = inner.split('/').any(|folder| TEST_FOLDERS.contains(&folder));
        let is_double = DOUBLES.iter().any(|double| path.starts_with(double));
        let is_test = name == "tests.rs" || in_test_folder || is_double;
        let is_rust = name.ends_with(".rs");
        let is_markdown = name.ends_with(".md");
        let is_source = is_rust
            || [".toml", ".sh", ".py", ".yaml", ".yml"].iter().any(|end| name.ends_with(end));
        let lines_max = match (is_source, is_markdown || is_test) {
            (_, true) => Some(500),
            (true, false) => Some(400),
            (false, false) => None,
        };
        let is_pure = !is_test && PURE.iter().any(|folder| path.starts_with(folder));
        Place { is_rust, is_markdown, is_test, is_pure, lines_max }
    }
}

/// Names that no file or folder may have.
pub(super) fn check(path: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    if name == "mod.rs" {
        problems.push(Problem::new(0, "no mod.rs: name the file after its module"));
    }
    for folder in folders.split('/').filter(|folder| VAGUE_FOLDERS.contains(folder)) {
        let message = format!("no folder `{folder}`: name it after what it holds");
        problems.push(Problem::new(0, message));
    }
    problems
}
