//! `headwater token`: makes tenants' tokens, and the key that signs them.

use std::path::PathBuf;

use clap::Args;
use headwater_edge::{Grant, SigningKey};

use crate::config::Settings;
use crate::failure::Failure;
use crate::secret_file;

const DAY_S: u64 = 24 * 60 * 60;

#[derive(Debug, Args)]
pub(crate) struct TokenFlags {
    /// Whom requests with this token are counted for.
    #[arg(long, required_unless_present = "new_key")]
    tenant: Option<String>,
    /// The tenant's project that they are for.
    #[arg(long)]
    project: Option<String>,
    /// Who sends them.
    #[arg(long)]
    user: Option<String>,
    /// A model that the token allows; may be repeated. All models without it.
    #[arg(long = "model", value_name = "NAME")]
    models: Vec<String>,
    /// The tenant's service level.
    #[arg(long, default_value = "standard")]
    tier: String,
    /// How long the token is valid, in days.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3650))]
    days: u64,
    /// Write a new random key to this file instead, readable by its owner only.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["tenant", "models"])]
    new_key: Option<PathBuf>,
}

pub(crate) fn run(flags: &TokenFlags, settings: &Settings) -> Result<(), Failure> {
    if let Some(file) = &flags.new_key {
        secret_file::write_new(file, &secret_file::draw()?)?;
        println!("wrote a new key to {}; set auth.key_file to it", file.display());
        return Ok(());
    }
    let key = read_key(settings)?.ok_or_else(|| {
        Failure::settings(
            "auth.key_file is not set, so there is no key to sign with; make one with \
             `headwater token --new-key FILE`",
        )
    })?;
    let models = if flags.models.is_empty() { vec!["*".to_owned()] } else { flags.models.clone() };
    let (project, user) = (flags.project.clone(), flags.user.clone());
    let tenant = flags.tenant.clone().unwrap_or_default();
    let grant = Grant { project, user, models, ..Grant::new(&tenant, &flags.tier, &[]) };
    let token = key.mint(&grant, flags.days.saturating_mul(DAY_S)).map_err(Failure::settings)?;
    println!("{token}");
    Ok(())
}

/// The configured key, if one is configured.
///
/// # Errors
/// When the file cannot be read or does not hold a key.
pub(crate) fn read_key(settings: &Settings) -> Result<Option<SigningKey>, Failure> {
    let Some(file) = &settings.auth.key_file else { return Ok(None) };
    let place = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::settings(format!(
            "auth.key_file: cannot read {place}: {error}; make a key with `headwater token \
             --new-key {place}`"
        ))
    })?;
    let bytes = from_hex(text.trim()).ok_or_else(|| {
        Failure::settings(format!("auth.key_file: {place} does not hold a key in hex digits"))
    })?;
    SigningKey::new(bytes)
        .map(Some)
        .map_err(|error| Failure::settings(format!("auth.key_file: {place}: {error}")))
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let byte = |pair: &[u8]| {
        let digit = |place: usize| char::from(pair[place]).to_digit(16);
        Some((digit(0)? * 16 + digit(1)?) as u8)
    };
    digits.chunks(2).map(byte).collect()
}
