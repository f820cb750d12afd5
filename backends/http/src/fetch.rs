//! A tool that reads an address which the model names, as far as the rules permit.

use std::time::Duration;

use async_trait::async_trait;
use headwater_backends::{Answer, Backend, BackendError, Content, Invocation, Listed, Reached};
use reqwest::Url;
use reqwest::header::LOCATION;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use crate::answer;
use crate::backend::{LONGEST_SPAN, method, text_argument};
use crate::client::{HttpClient, failed};
use crate::operation::Method;

/// Longest address, in bytes.
const URL_BYTES_MAX: usize = 8_192;

/// Limits of all fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLimits {
    /// How often an answer may point elsewhere.
    pub redirects_max: usize,
    /// Longest body, in bytes; the call's own limit where that is less.
    pub bytes_max: u64,
}

impl Default for FetchLimits {
    fn default() -> Self {
        FetchLimits { redirects_max: 5, bytes_max: 4 << 20 }
    }
}

/// Reads with `GET` or `HEAD`: arguments are `url` and, where wanted, `method`. No secret goes out,
/// and every hop is asked for anew.
#[derive(Clone)]
pub struct Fetcher {
    client: HttpClient,
    limits: FetchLimits,
}

impl Fetcher {
    pub(crate) fn new(client: HttpClient, limits: FetchLimits) -> Fetcher {
        Fetcher { client, limits }
    }

    /// JSON Schema of the arguments.
    pub fn input_schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "url": {
                    "type": "string",
                    "maxLength": URL_BYTES_MAX,
                    "description": "An http or https address to read.",
                },
                "method": {
                    "type": "string",
                    "enum": ["GET", "HEAD"],
                    "description": "HEAD asks only whether it is there; GET without it.",
                },
            },
            "required": ["url"],
            "additionalProperties": false,
        })
    }

    async fn follow(
        &self,
        mut url: Url,
        verb: Method,
        bytes_max: u64,
    ) -> Result<Answer, BackendError> {
        let mut reached = Vec::new();
        loop {
            let (host, port) = self.client.permit(&url)?;
            let call = self.client.http.request(method(verb), url.clone());
            let mut response = call.send().await.map_err(|error| failed(&error))?;
            let bytes_out = url.as_str().len() as u64;
            reached.push(Reached { host, port, bytes_out, bytes_in: 0 });
            let status = response.status().as_u16();
            if let (301 | 302 | 303 | 307 | 308, Some(to)) =
                (status, response.headers().get(LOCATION))
            {
                let to = to.to_str().map_err(|_| refused("the answer points to no address"))?;
                url = next(&url, to)?;
                if reached.len() > self.limits.redirects_max {
                    let max = self.limits.redirects_max;
                    return Err(refused(&format!(
                        "the address was passed on more than {max} times"
                    )));
                }
                continue;
            }
            let media_type = answer::media_type(&response);
            let body = answer::read(&mut response, bytes_max).await?;
            let bytes_in = body.len() as u64;
            if let Some(last) = reached.last_mut() {
                last.bytes_in = bytes_in;
            }
            let told = json!({
                "url": url.as_str(),
                "status": status,
                "media_type": media_type,
                "content": answer::content(media_type.clone(), body, &[]).to_json(),
            });
            let bytes_out = reached.iter().map(|one| one.bytes_out).sum();
            let content = Content::Json(told);
            return Ok(Answer { content, is_error: status >= 400, bytes_in, bytes_out, reached });
        }
    }
}

#[async_trait]
impl Backend for Fetcher {
    async fn call(&self, invocation: &Invocation) -> Result<Answer, BackendError> {
        let arguments = &invocation.arguments;
        let address = text_argument(arguments, "url")?
            .ok_or_else(|| wrong("`url` is missing; give an address"))?;
        let verb = match text_argument(arguments, "method")? {
            None | Some("GET") => Method::Get,
            Some("HEAD") => Method::Head,
            Some(_) => return Err(wrong("`method` is GET or HEAD")),
        };
        let url = parse(address).map_err(wrong)?;
        let after_ms = invocation.deadline_ms;
        let deadline = Instant::now() + Duration::from_millis(after_ms).min(LONGEST_SPAN);
        let bytes_max = self.limits.bytes_max.min(invocation.output_bytes_max);
        timeout_at(deadline, self.follow(url, verb, bytes_max))
            .await
            .map_err(|_| BackendError::TimedOut { after_ms, sent: true })?
    }

    async fn list(&self) -> Result<Vec<Listed>, BackendError> {
        Ok(Vec::new())
    }
}

fn parse(address: &str) -> Result<Url, &'static str> {
    if address.len() > URL_BYTES_MAX {
        return Err("`url` is too long; give an address of at most 8192 bytes");
    }
    let mut url = Url::parse(address).map_err(|_| "`url` is no address; give https://host/path")?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("`url` has another scheme or no host; give https://host/path");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("`url` holds a password; leave it out");
    }
    url.set_fragment(None);
    Ok(url)
}

/// The address that an answer points to, from where it was given.
fn next(from: &Url, to: &str) -> Result<Url, BackendError> {
    let joined = from.join(to).map_err(|_| refused("the answer points to no address"))?;
    let url = parse(joined.as_str()).map_err(|_| {
        refused("the answer points to an address that is no plain http or https one")
    })?;
    if from.scheme() == "https" && url.scheme() == "http" {
        return Err(refused("the answer points from https to http, which is not followed"));
    }
    Ok(url)
}

fn wrong(why: &str) -> BackendError {
    BackendError::Arguments { why: why.to_owned() }
}

fn refused(why: &str) -> BackendError {
    BackendError::Refused { why: why.to_owned() }
}
