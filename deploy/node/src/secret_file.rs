//! Secrets as files: drawn once, written as hex digits, readable by their owner only.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::failure::Failure;

const SECRET_BYTES: usize = 32;

/// A new secret as hex digits.
///
/// # Errors
/// When the system has no randomness to give.
pub(crate) fn draw() -> Result<String, Failure> {
    let mut secret = [0_u8; SECRET_BYTES];
    getrandom::fill(&mut secret).map_err(Failure::broken)?;
    Ok(secret.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes a secret to a file that must not exist yet: what an overwritten secret protected or
/// signed is lost.
///
/// # Errors
/// Kind `Settings`, naming the file.
pub(crate) fn write_new(file: &Path, secret: &str) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let written = options.open(file).and_then(|mut file| writeln!(file, "{secret}"));
    written.map_err(|error| Failure::settings(format!("cannot write {}: {error}", file.display())))
}
