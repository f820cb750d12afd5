//! The launcher tells what it was not told well, and makes nothing then.

use std::process::{Command, Stdio};

/// How it ends, and what it says.
fn launch(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater-jail"));
    let output = command.args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.stdout.is_empty(), "{output:?}");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn arguments_that_are_no_slot_are_refused() {
    for (arguments, expected) in [
        (&[][..], "EOF while parsing"),
        (&["help"], "expected value"),
        (&["{}"], "missing field `name`"),
        (&["{\"name\":\"a\"}"], "missing field `root`"),
        (&["{\"name\":\"a\",\"root\":1}"], "invalid type"),
        (&["{\"name\":\"a\"}", "--version"], "invalid number"),
    ] {
        let (status, told) = launch(arguments);
        assert_eq!(status, Some(2), "{arguments:?}: {told}");
        assert!(told.contains("not for people"), "{arguments:?}: {told}");
        assert!(told.contains(expected), "{arguments:?}: {told}");
    }
}
