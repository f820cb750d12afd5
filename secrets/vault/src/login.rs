//! How the node proves itself: what is read where, and what is sent for a token.

use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

use headwater_secrets::{SecretError, SecretValue};

use crate::AuthSettings;
use crate::answer::wrong;
use crate::template::is_plain;

/// Longest token or secret id, in bytes.
const PROOF_BYTES_MAX: u64 = 64 << 10;

/// What brings the node a token.
pub(crate) enum Proof {
    /// The token itself.
    Token(SecretValue),
    /// What a login at this mount sends.
    Login { mount: String, body: Vec<u8> },
}

/// # Errors
/// [`SecretError::Misconfigured`] when the settings name no proof, or two.
pub(crate) fn check(auth: &AuthSettings) -> Result<(), SecretError> {
    match auth {
        AuthSettings::Token { variable, file } if variable.is_some() == file.is_some() => {
            Err(wrong("`auth` needs `variable` or `file` for its token; give exactly one of both"))
        }
        AuthSettings::Token { .. } => Ok(()),
        AuthSettings::AppRole { mount, .. } | AuthSettings::Kubernetes { mount, .. } => {
            if mount.split('/').all(is_plain) {
                return Ok(());
            }
            Err(wrong("`auth.mount` is no path; give where the login is mounted, without `auth/`"))
        }
    }
}

/// Reads the proof as it is now: whoever rotates it need not restart the node.
///
/// # Errors
/// [`SecretError::Misconfigured`] when it is not there or cannot be one, without a word of it.
pub(crate) fn proof(auth: &AuthSettings) -> Result<Proof, SecretError> {
    match auth {
        AuthSettings::Token { variable: Some(variable), .. } => {
            let token = env::var(variable).map(SecretValue::new).map_err(|_| {
                let why = format!("the variable {variable} of `auth.variable` is not set; set it");
                SecretError::Misconfigured(why)
            })?;
            Ok(Proof::Token(token))
        }
        AuthSettings::Token { file, .. } => {
            let path = file.as_deref().unwrap_or(Path::new(""));
            Ok(Proof::Token(read("auth.file", path)?))
        }
        AuthSettings::AppRole { role_id, secret_id_file, mount } => {
            let secret_id = read("auth.secret_id_file", secret_id_file)?;
            login(mount, [("role_id", role_id), ("secret_id", secret_id.expose())])
        }
        AuthSettings::Kubernetes { role, token_file, mount } => {
            let token = read("auth.token_file", token_file)?;
            login(mount, [("role", role), ("jwt", token.expose())])
        }
    }
}

fn login(mount: &str, fields: [(&str, &str); 2]) -> Result<Proof, SecretError> {
    let body = serde_json::to_vec(&BTreeMap::from(fields));
    let body = body.map_err(|_| wrong("`auth` is not complete; give what its method needs"))?;
    Ok(Proof::Login { mount: mount.to_owned(), body })
}

fn read(field: &str, path: &Path) -> Result<SecretValue, SecretError> {
    let wrong = |why: &str| {
        let path = path.display();
        SecretError::Misconfigured(format!("the file {path} of `{field}` {why}"))
    };
    let metadata = fs::metadata(path).map_err(|_| wrong("cannot be read; put it there"))?;
    if !metadata.is_file() || metadata.len() > PROOF_BYTES_MAX {
        return Err(wrong("is no file of at most 65536 bytes; put the secret alone in it"));
    }
    let bytes = fs::read(path).map_err(|_| wrong("cannot be read; let the node read it"))?;
    let text =
        SecretValue::from_bytes(bytes).ok_or_else(|| wrong("holds no text; write it anew"))?;
    let trimmed = text.expose().trim();
    if trimmed.is_empty() {
        return Err(wrong("is empty; write the secret into it"));
    }
    Ok(SecretValue::new(trimmed.to_owned()))
}
