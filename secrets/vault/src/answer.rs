//! What Vault answers, read within bounds and without a trace of it in an error.

use std::collections::BTreeMap;

use headwater_secrets::{SecretError, SecretValue};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// Longest answer, in bytes; Vault's own entries are shorter.
const ANSWER_BYTES_MAX: usize = 2 << 20;
/// When an unavailable Vault says no time of its own.
const RETRY_AFTER_MS: u64 = 1_000;
const RETRY_AFTER_MS_MAX: u64 = 60_000;

/// An answer with its body, whatever its status.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after_ms: u64,
    body: Zeroizing<Vec<u8>>,
}

/// What stands in the place of a secret.
pub(crate) enum Found {
    Value(SecretValue),
    Nothing,
    /// A field that is no text, or an empty one.
    NoText,
}

/// A token, and for how long Vault takes it.
pub(crate) struct Granted {
    pub(crate) token: SecretValue,
    /// In s; 0 stands for always.
    pub(crate) lease_s: u64,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    data: Option<Version<'a>>,
}

/// A version that was deleted or destroyed has no data, and comes as 404.
#[derive(Deserialize)]
struct Version<'a> {
    #[serde(borrow)]
    data: Option<BTreeMap<String, &'a RawValue>>,
}

#[derive(Deserialize)]
struct Login {
    auth: Option<Auth>,
}

#[derive(Deserialize)]
struct Auth {
    client_token: String,
    #[serde(default)]
    lease_duration: u64,
}

#[derive(Deserialize)]
struct Refusal {
    errors: Vec<String>,
}

pub(crate) fn unavailable() -> SecretError {
    SecretError::Unavailable { retry_after_ms: RETRY_AFTER_MS }
}

impl Answer {
    /// # Errors
    /// [`SecretError::Unavailable`] when the connection breaks; [`SecretError::Misconfigured`]
    /// when the answer is longer than any of Vault's.
    pub(crate) async fn read(mut response: Response) -> Result<Answer, SecretError> {
        let too_long = || wrong("`address` gives answers longer than Vault's; correct it");
        let length = response.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if length.is_some_and(|length| length > ANSWER_BYTES_MAX) {
            return Err(too_long());
        }
        // What grows leaves copies behind.
        let mut body = Zeroizing::new(Vec::with_capacity(length.unwrap_or(64 << 10)));
        while let Some(bytes) = response.chunk().await.map_err(|_| unavailable())? {
            if body.len() + bytes.len() > ANSWER_BYTES_MAX {
                return Err(too_long());
            }
            body.extend_from_slice(&bytes);
        }
        let retry_after_ms = retry_after_ms(response.headers());
        Ok(Answer { status: response.status(), retry_after_ms, body })
    }

    /// Whether Vault may answer otherwise soon: it is sealed, starting, lagging, limiting or broken.
    pub(crate) fn is_unavailable(&self) -> bool {
        let lags = StatusCode::PRECONDITION_FAILED;
        self.status.is_server_error()
            || [StatusCode::TOO_MANY_REQUESTS, lags].contains(&self.status)
    }

    /// Whether a 404 tells that nothing is mounted there at all.
    pub(crate) fn is_unmounted(&self) -> bool {
        let refusal = serde_json::from_slice::<Refusal>(&self.body);
        refusal.is_ok_and(|refusal| {
            refusal.errors.iter().any(|error| error.starts_with("no handler for route"))
        })
    }

    /// # Errors
    /// [`SecretError::Misconfigured`] when this is no entry of a KV engine of version 2. The
    /// parser's own words are dropped: they quote what they do not like.
    pub(crate) fn value(&self, field: &str) -> Result<Found, SecretError> {
        let no_entry =
            || wrong("`mount` is no KV engine of version 2; correct it, or upgrade the engine");
        let entry: Entry<'_> = serde_json::from_slice(&self.body).map_err(|_| no_entry())?;
        let version = entry.data.ok_or_else(no_entry)?;
        let Some(raw) = version.data.as_ref().and_then(|fields| fields.get(field)) else {
            return Ok(Found::Nothing);
        };
        let text = serde_json::from_str::<String>(raw.get()).ok().map(SecretValue::new);
        let text = text.filter(|text| !text.expose().is_empty());
        Ok(text.map_or(Found::NoText, Found::Value))
    }

    /// The token of a login; `None` when there is none.
    pub(crate) fn token(&self) -> Option<Granted> {
        let auth = serde_json::from_slice::<Login>(&self.body).ok()?.auth?;
        let token = SecretValue::new(auth.client_token);
        Some(Granted { token, lease_s: auth.lease_duration })
    }
}

fn retry_after_ms(headers: &HeaderMap) -> u64 {
    let seconds = headers.get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
    let after_ms = seconds.map_or(RETRY_AFTER_MS, |seconds: u64| seconds.saturating_mul(1_000));
    after_ms.min(RETRY_AFTER_MS_MAX)
}

pub(crate) fn wrong(why: &str) -> SecretError {
    SecretError::Misconfigured(why.to_owned())
}
