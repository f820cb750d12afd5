//! The commands against a node in memory.

mod acts;
mod files;
mod folders;
mod judging;
mod server;

use clap::{CommandFactory, Parser};
use serde_json::{Value, json};
use tempfile::TempDir;

use self::server::Server;
use super::output::Output;
use super::{PromptAction, run_to};
use crate::config::Settings;
use crate::failure::Failure;

#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    action: PromptAction,
}

/// Runs a command line; `@` stands for the folder.
fn run(server: &Server, folder: &TempDir, line: &[&str]) -> (String, Result<(), Failure>) {
    let place = folder.path().to_str().unwrap();
    let words = line.iter().map(|word| match word.strip_prefix('@') {
        Some(rest) => format!("{place}{rest}"),
        None => (*word).to_owned(),
    });
    let all = ["prompts".to_owned()].into_iter().chain(words);
    let all = all.chain(["--at".to_owned(), server.address.clone()]);
    let line = Line::try_parse_from(all).unwrap();
    let mut printed = Vec::new();
    let ended = run_to(&line.action, &Settings::default(), &mut Output::new(&mut printed));
    (String::from_utf8(printed).unwrap(), ended)
}

/// Runs a command line that must end well.
fn good(server: &Server, folder: &TempDir, line: &[&str]) -> String {
    let (printed, ended) = run(server, folder, line);
    ended.unwrap_or_else(|failure| panic!("{line:?}: {failure}"));
    printed
}

/// Runs a command line that must fail.
fn bad(server: &Server, folder: &TempDir, line: &[&str]) -> Failure {
    let (printed, ended) = run(server, folder, line);
    ended.err().unwrap_or_else(|| panic!("{line:?} ended well: {printed}"))
}

fn chat(system: &str) -> Value {
    json!({
        "messages": [
            {"role": "system", "content": system},
            {"role": "user", "content": "My name is {{ customer }}."},
        ],
        "variables": {"customer": {"type": "string", "default": "Ann"}},
        "model": {"model": "small", "temperature": 0.3},
    })
}

#[test]
fn the_flags_fit_together() {
    Line::command().debug_assert();
    let refused = [
        vec!["push", "f"],
        vec!["promote", "a"],
        vec!["promote", "a", "1", "--version", "2"],
        vec!["diff", "a", "--from", "1"],
        vec!["diff", "f", "a", "--from", "1", "--to", "2"],
        vec!["promote", "a", "--version", "1", "--reason", "r", "--canary", "1001"],
        vec!["push", "f", "--message", "m", "--override", "abc"],
        vec!["render", "a", "--var", "b"],
    ];
    for line in refused {
        let all = ["prompts"].iter().chain(&line);
        assert!(Line::try_parse_from(all).is_err(), "{line:?}");
    }
}
