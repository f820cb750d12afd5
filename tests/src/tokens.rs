//! A node's key and the tokens that it signs, made by the binary itself.

use std::io;
use std::path::Path;

use crate::node::{NodeError, run};

/// Writes a new key.
///
/// # Errors
/// When the binary does not make it; in its own words.
pub fn new_key(file: &Path) -> Result<(), NodeError> {
    say(&["token", "--new-key", &file.display().to_string()]).map(|_| ())
}

/// A tenant's token.
///
/// # Errors
/// As [`new_key`].
pub fn token(key: &Path, tenant: &str, tier: &str) -> Result<String, NodeError> {
    let key = format!("auth.key_file={}", key.display());
    say(&["token", "--tenant", tenant, "--tier", tier, "--set", &key])
}

fn say(arguments: &[&str]) -> Result<String, NodeError> {
    let made = run(arguments)?;
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stderr).into_owned();
        return Err(io::Error::other(said).into());
    }
    Ok(String::from_utf8_lossy(&made.stdout).trim().to_owned())
}
