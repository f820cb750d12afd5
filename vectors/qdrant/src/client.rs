//! One call to Qdrant: sent again while that may help, and its answer read.

use std::time::Duration;

use headwater_vectors::SinkError;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::QdrantSettings;

/// Longest answer, in bytes: more than the largest page of the widest vectors.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Longest part of a server's own words that goes into an error.
const WORDS_MAX: usize = 300;

/// How Qdrant took a call.
pub(crate) enum Answer<T> {
    Result(T),
    /// The collection is not there.
    Missing,
    /// It is there already.
    Conflict,
}

impl<T> Answer<T> {
    pub(crate) fn result(self, missing: impl FnOnce() -> SinkError) -> Result<T, SinkError> {
        match self {
            Answer::Result(result) => Ok(result),
            Answer::Missing | Answer::Conflict => Err(missing()),
        }
    }
}

#[derive(Deserialize)]
struct Envelope<T> {
    result: T,
}

/// A client of one server; cheap to clone.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    address: Url,
    settings: QdrantSettings,
}

/// Why a try brought no answer to keep.
struct Failure {
    what: String,
    /// The server's own wish for the next try.
    pause_ms: Option<u64>,
}

fn unavailable(what: String) -> SinkError {
    SinkError::Unavailable(what)
}

impl Client {
    pub(crate) fn new(settings: QdrantSettings) -> Result<Self, SinkError> {
        let wrong = |why: &str| {
            SinkError::Request(format!(
                "the address of Qdrant {why}; give it as http://host:6333 or https://host:6333"
            ))
        };
        let address = Url::parse(&settings.address).map_err(|_| wrong("is no URL"))?;
        if !matches!(address.scheme(), "http" | "https") || address.host().is_none() {
            return Err(wrong("has no host or another scheme"));
        }
        if !address.username().is_empty() || address.password().is_some() {
            return Err(wrong("holds a password, which belongs into the api key"));
        }
        let mut headers = HeaderMap::new();
        if let Some(key) = &settings.api_key {
            let mut value = HeaderValue::from_str(key.reveal()).map_err(|_| {
                SinkError::Request("the api key holds a character that no header may".to_owned())
            })?;
            value.set_sensitive(true);
            headers.insert("api-key", value);
        }
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(Duration::from_millis(settings.connect_timeout_ms))
            .timeout(Duration::from_millis(settings.request_timeout_ms))
            // A redirect would carry the key to another host.
            .redirect(Policy::none())
            .build()
            .map_err(|error| unavailable(format!("no HTTP client could be made: {error}")))?;
        Ok(Client { http, address, settings })
    }

    /// Calls `path`, which begins with a slash. Every call of this adapter may be sent again.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer<T>, SinkError> {
        let body = body.map(Value::to_string);
        let mut pause_ms = self.settings.first_pause_ms;
        let mut tries = 1;
        loop {
            let failure = match self.attempt(&method, path, body.clone()).await {
                Ok((status, answer)) => return read(status, &answer),
                Err(failure) => failure,
            };
            if tries >= self.settings.tries.max(1) {
                return Err(unavailable(format!("{}, after {tries} tries", failure.what)));
            }
            tries += 1;
            let longest_ms = self.settings.longest_pause_ms;
            let wanted_ms = failure.pause_ms.unwrap_or(pause_ms).min(longest_ms);
            tokio::time::sleep(Duration::from_millis(wanted_ms)).await;
            pause_ms = pause_ms.saturating_mul(2).min(longest_ms);
        }
    }

    async fn attempt(
        &self,
        method: &Method,
        path: &str,
        body: Option<String>,
    ) -> Result<(StatusCode, Vec<u8>), Failure> {
        let base = self.address.as_str().trim_end_matches('/');
        let mut request = self.http.request(method.clone(), format!("{base}{path}"));
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let failed = |error: reqwest::Error| Failure {
            what: format!("Qdrant does not answer: {}", described(&error)),
            pause_ms: None,
        };
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            let wish = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let pause_ms = wish.and_then(|wish| wish.parse::<u64>().ok());
            return Err(Failure {
                what: format!("Qdrant answers with status {}", status.as_u16()),
                pause_ms: pause_ms.map(|pause_s| pause_s.saturating_mul(1_000)),
            });
        }
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if answer.len() + chunk.len() > ANSWER_BYTES_MAX {
                let what = format!("Qdrant's answer is longer than {ANSWER_BYTES_MAX} bytes");
                return Err(Failure { what, pause_ms: None });
            }
            answer.extend_from_slice(&chunk);
        }
        Ok((status, answer))
    }
}

/// What went wrong below, without the address, which may be secret.
fn described(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "the time for a request is over"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the connection broke"
    }
}

fn read<T: DeserializeOwned>(status: StatusCode, answer: &[u8]) -> Result<Answer<T>, SinkError> {
    match status {
        StatusCode::NOT_FOUND => return Ok(Answer::Missing),
        StatusCode::CONFLICT => return Ok(Answer::Conflict),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let text = "Qdrant refuses the api key; give one that may read and write";
            return Err(unavailable(text.to_owned()));
        }
        status if !status.is_success() => {
            let words = words(answer);
            let status = status.as_u16();
            return Err(SinkError::Request(format!(
                "Qdrant refuses with status {status}: {words}"
            )));
        }
        _ => {}
    }
    let envelope: Envelope<T> = serde_json::from_slice(answer).map_err(|error| {
        unavailable(format!(
            "Qdrant's answer is not what its API promises ({error}); check that the server is \
             Qdrant 1.16 or later"
        ))
    })?;
    Ok(Answer::Result(envelope.result))
}

/// The server's own words, shortened.
fn words(answer: &[u8]) -> String {
    let told: Option<Value> = serde_json::from_slice(answer).ok();
    let words = told.as_ref().and_then(|told| told["status"]["error"].as_str());
    words.unwrap_or("no reason given").chars().take(WORDS_MAX).collect()
}
