//! A planted fault for each rule, and the text beside it that passes.

use super::{SourceFile, check};

fn findings(path: &str, text: &str) -> Vec<String> {
    let file = SourceFile { path: path.to_owned(), text: text.to_owned() };
    check(&[file]).iter().map(ToString::to_string).collect()
}

/// `body` after a line of purpose.
fn rust(body: &str) -> String {
    format!("//! Purpose.\n\n{body}\n")
}

/// The rule with `expected` in its message finds `bad`, on the line that holds it, and nothing
/// finds `good`.
fn check_rust(path: &str, bad: &str, expected: &str, good: &str) {
    let found = findings(path, &rust(bad));
    let line = format!("{path}:3: ");
    let hit = found.iter().any(|found| found.starts_with(&line) && found.contains(expected));
    assert!(hit, "{expected:?} not found in {bad:?} at {line}: {found:?}");
    assert_eq!(findings(path, &rust(good)), Vec::<String>::new(), "{good:?} must pass");
}

#[test]
fn unfinished_code_and_panics() {
    let path = "storage/src/a.rs";
    let good = r#"/// Never `.unwrap()` or `todo!()`.
fn f() -> &'static str { "x.unwrap() panic!()" }"#;
    for (bad, expected) in [
        ("fn f() { todo!() }", "`todo!`"),
        ("fn f() { unimplemented!(\"a\") }", "`unimplemented!`"),
        ("fn f() { dbg!(1); }", "`dbg!`"),
        ("fn f() { a().unwrap(); }", "`.unwrap(`"),
        ("fn f() { a() . expect (\"b\"); }", "`.expect(`"),
        ("fn f() { select! { _ = a => panic!(\"b\") } }", "`panic!`"),
    ] {
        check_rust(path, bad, expected, good);
    }
    check_rust(
        path,
        "fn f() { a.unwrap() }",
        "unwrap",
        "#[cfg(test)]\nmod b { fn f() { a.unwrap() } }",
    );
    check_rust(path, "fn f() { a.unwrap() }", "unwrap", "fn f() { a.unwrap_or(1); b.expected(2) }");
}

#[test]
fn panics_pass_where_only_tests_run() {
    let bad = rust("fn f() { a.unwrap() }");
    for path in [
        "storage/src/a/tests.rs",
        "storage/fdb/tests/suite.rs",
        "tests/tests/layering.rs",
        "models/burn/benches/encode.rs",
        "models/src/double.rs",
        "storage/src/conformance/reads.rs",
    ] {
        assert_eq!(findings(path, &bad), Vec::<String>::new(), "{path}");
    }
    for path in ["tests/src/graph.rs", "models/src/doubled.rs", "storage/src/contests.rs"] {
        assert_eq!(findings(path, &bad).len(), 1, "{path}");
    }
}

#[test]
fn imports_and_allows() {
    let path = "models/src/a.rs";
    check_rust(path, "use a::*;", "wildcard", "use a::b; const C: u32 = 2 * 3;");
    check_rust(path, "pub use a::{b, c::*};", "wildcard", "pub use a::{b, c::{d, e as f}};");
    check_rust(path, "#![allow(dead_code)]", "no `#![allow]`", "#[allow(dead_code)]\nfn f() {}");
}

#[test]
fn pure_code_takes_what_it_needs_as_arguments() {
    let path = "actors/embedding/src/a.rs";
    let good = "use std::collections::BTreeMap;\nfn f(now_ms: u64) -> Instant { operand::x() }";
    for (bad, expected) in [
        ("fn f() { std::time::Instant::now(); }", "`Instant::now`"),
        ("use std::time::{Duration, SystemTime};", "`SystemTime`"),
        ("use std::{thread, fmt};", "`std::thread`"),
        ("fn f() { thread::spawn(g); }", "`thread::spawn`"),
        ("use rand::Rng;", "`rand::`"),
        ("use std::fs::File;", "`std::fs`"),
        ("use tokio::sync::mpsc;", "`tokio::`"),
        ("use std::collections::{BTreeMap, HashMap};", "`HashMap`"),
        ("fn f(a: HashSet<u8>) {}", "`HashSet`"),
    ] {
        check_rust(path, bad, expected, good);
        let elsewhere = findings("actors/src/a.rs", &rust(bad));
        assert_eq!(elsewhere, Vec::<String>::new(), "{bad:?} passes in a shell");
    }
}

#[test]
fn long_functions_and_files() {
    let path = "models/src/a.rs";
    let function = |lines: usize| format!("fn f() {{{}}}", "\n".repeat(lines - 1));
    check_rust(path, &function(71), "fn f has 71 lines, 70 allowed", &function(70));
    let within = format!("mod a {{ impl B {{ {} }} }}", function(71));
    check_rust(path, &within, "fn f has 71 lines", "trait A { fn f(a: [u8; 2]); }\nstruct B {}");

    let lines = |count: usize| format!("//! Purpose.\n{}", "\n".repeat(count - 1));
    for (path, lines_max) in [
        (path, 400),
        ("a/b.sh", 400),
        ("a/tests.rs", 500),
        ("tests/tests/a.rs", 500),
        ("a.md", 500),
    ] {
        assert_eq!(findings(path, &lines(lines_max)), Vec::<String>::new(), "{path}");
        let found = findings(path, &lines(lines_max + 1));
        assert_eq!(found.len(), 1, "{path}: {found:?}");
        assert!(found[0].contains(&format!("{lines_max} allowed")), "{found:?}");
    }
    assert_eq!(findings("Cargo.lock", &lines(9000)), Vec::<String>::new());
}

#[test]
fn names_and_first_lines() {
    let good = rust("fn f() {}");
    assert_eq!(findings("a/b.rs", &good), Vec::<String>::new());
    for (path, expected) in [
        ("a/mod.rs", "no mod.rs"),
        ("common/src/a.rs", "`common`"),
        ("a/core/b.rs", "`core`"),
        ("a/types/b.rs", "`types`"),
        ("a/utils/b.rs", "`utils`"),
    ] {
        let found = findings(path, &good);
        assert!(found.len() == 1 && found[0].contains(expected), "{path}: {found:?}");
    }
    let found = findings("a/b.rs", "fn f() {}\n");
    assert!(found.len() == 1 && found[0].starts_with("a/b.rs:1: the first line"), "{found:?}");
    assert!(findings("a/b.rs", "//! A.\nfn f( {")[0].contains("not Rust"));
}

#[test]
fn words_paths_and_keys() {
    for (path, text, expected) in [
        ("a.md", "one\nIt is Blazing fast", "a.md:2: `blazing`"),
        ("a.md", "simply put", "`simply`"),
        ("a.md", "a cutting-edge part", "`cutting-edge`"),
        ("a.toml", concat!("# FIX", "ME later"), concat!("`FIX", "ME`")),
        ("a.sh", concat!("# XX", "X"), concat!("`XX", "X`")),
        ("a.toml", concat!("path = \"/wo", "rk/x\""), "a path of one machine"),
        ("Dockerfile", concat!("COPY a /ro", "ot/a"), "a path of one machine"),
        ("key.pem", concat!("-----BEGIN PRIVATE", " KEY-----"), "a private key"),
        ("key.pem", concat!("-----BEGIN EC PRIVATE", " KEY-----"), "a private key"),
    ] {
        let found = findings(path, text);
        assert!(found.len() == 1 && found[0].contains(expected), "{text:?}: {found:?}");
    }
    for (path, text) in [
        ("a.md", "It starts in 2 s; see actors/root/work."),
        ("a.sh", "cat \"$root/XXL\" /proc/self/root"),
        ("a.toml", "banned = \"robust\""),
        ("a.pem", "-----BEGIN PUBLIC KEY-----"),
    ] {
        assert_eq!(findings(path, text), Vec::<String>::new(), "{text:?}");
    }
}
