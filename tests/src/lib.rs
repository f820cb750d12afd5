//! Checks over the repository itself: who imports whom, tidy files, and what the lock file holds;
//! and nodes as processes, with a client and a provider of models, for the system tests.

pub mod chat;
pub mod clients;
pub mod cluster;
pub mod corpus;
pub mod deny;
pub mod draw;
pub mod graph;
pub mod http;
pub mod layering;
pub mod load;
pub mod node;
pub mod processes;
pub mod sandbox;
pub mod settings;
pub mod swarm;
pub mod tidy;
pub mod tokens;
pub mod upstream;

use std::path::{Path, PathBuf};

/// The folder that holds the workspace's root manifest.
pub fn repository_root() -> PathBuf {
    let manifest_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest_folder.parent().unwrap_or(manifest_folder).to_path_buf()
}

/// One finding a line, under a heading that says how many there are: the text of a failing test.
pub fn report<T: std::fmt::Display>(findings: &[T]) -> String {
    let lines: Vec<String> = findings.iter().map(|finding| format!("  {finding}")).collect();
    format!("{} finding(s):\n{}\n", findings.len(), lines.join("\n"))
}
