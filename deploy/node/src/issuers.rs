//! The public keys of outside issuers: fetched on a timer and when a token names an unknown one.

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use headwater_edge::{Issuer, IssuerSettings, KeySet};
use reqwest::redirect::Policy;

use crate::config::{IssuerSection, Settings};
use crate::failure::Failure;

/// Longest time for one fetch.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause after a fetch that failed, when that is shorter than the usual one, in ms.
const RETRY_MS: u64 = 5_000;
/// Longest document, in bytes.
const DOCUMENT_BYTES: usize = 1 << 20;

/// Where an issuer's keys come from, and where they go.
pub(crate) struct Source {
    settings: IssuerSettings,
    keys: KeySet,
    place: Place,
    refresh_ms: u64,
}

enum Place {
    Address { http: reqwest::Client, url: reqwest::Url },
    File(PathBuf),
}

/// The issuers of the settings. Nothing is fetched yet.
///
/// # Errors
/// Kind `Settings`, naming the field.
pub(crate) fn read(settings: &Settings) -> Result<Vec<Source>, Failure> {
    settings.auth.issuers.iter().enumerate().map(|(at, section)| Source::of(at, section)).collect()
}

impl Source {
    fn of(at: usize, section: &IssuerSection) -> Result<Source, Failure> {
        let wrong = |problem: String| Failure::settings(format!("auth.issuers.{at}.{problem}"));
        let place = match (&section.jwks_url, &section.jwks_file) {
            (Some(url), _) => {
                let url = reqwest::Url::parse(url)
                    .map_err(|_| wrong("jwks_url is no address".to_owned()))?;
                let http = reqwest::Client::builder()
                    .user_agent(concat!("headwater/", env!("CARGO_PKG_VERSION")))
                    .timeout(PATIENCE)
                    // Another place than the one that was configured is not trusted.
                    .redirect(Policy::none())
                    .build()
                    .map_err(|_| wrong("jwks_url: no HTTP client could be made".to_owned()))?;
                Place::Address { http, url }
            }
            (None, Some(file)) => Place::File(file.clone()),
            (None, None) => return Err(wrong("jwks_url is missing".to_owned())),
        };
        let keys = KeySet::new(section.unknown_key_pause_ms);
        let refresh_ms = section.refresh_ms;
        Ok(Source { settings: section.settings(), keys, place, refresh_ms })
    }

    /// The issuer, whose keys are those that [`Source::follow`] fetches.
    pub(crate) fn issuer(&self) -> Issuer {
        Issuer::new(self.settings.clone(), self.keys.clone())
    }

    /// Fetches the keys at once and again and again. What a fetch that fails leaves are the keys
    /// of before; what a good one lacks is gone.
    pub(crate) async fn follow(self) {
        let issuer = &self.settings.issuer;
        let (mut had, mut was_good) = (None, true);
        loop {
            let fetched = self.fetch().await.and_then(|document| {
                self.keys.replace(&document).map_err(|problem| problem.to_string())
            });
            self.keys.tried();
            let wait_ms = match fetched {
                Ok(count) => {
                    if had != Some(count) || !was_good {
                        tracing::info!(issuer, keys = count, "the issuer's keys are read");
                    }
                    (had, was_good) = (Some(count), true);
                    self.refresh_ms
                }
                Err(problem) => {
                    tracing::warn!(
                        issuer,
                        problem,
                        "the issuer's keys were not read; those of before stay"
                    );
                    was_good = false;
                    self.refresh_ms.min(RETRY_MS)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
                () = self.keys.wanted() => {}
            }
        }
    }

    async fn fetch(&self) -> Result<Vec<u8>, String> {
        match &self.place {
            Place::File(file) => {
                let read = std::fs::read(file);
                read.map_err(|error| format!("cannot read {}: {error}", file.display()))
            }
            Place::Address { http, url } => {
                let answer = http.get(url.clone()).send().await;
                let mut answer =
                    answer.map_err(|error| format!("no answer: {}", error.without_url()))?;
                if !answer.status().is_success() {
                    return Err(format!("its place answered {}", answer.status()));
                }
                let mut document = Vec::new();
                let broken = |error: reqwest::Error| format!("cut off: {}", error.without_url());
                while let Some(bytes) = answer.chunk().await.map_err(broken)? {
                    if document.len() + bytes.len() > DOCUMENT_BYTES {
                        return Err(format!("it is longer than {DOCUMENT_BYTES} bytes"));
                    }
                    document.extend_from_slice(&bytes);
                }
                Ok(document)
            }
        }
    }
}
