//! Questions of the command line to a running node, over its HTTP edge.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use reqwest::Method;
use reqwest::header::{self, HeaderMap};
use reqwest::redirect::Policy;
use serde_json::Value;

use crate::config::Settings;
use crate::failure::Failure;

/// Longest time for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct OperatorFlags {
    /// Address of a running node, as HOST:PORT or https://HOST:PORT; server.listen of the settings
    /// without it.
    #[arg(long = "at", value_name = "ADDRESS")]
    at: Option<String>,
    /// PEM file of an authority that vouches for the node's certificate, beside the system's own.
    #[arg(long, value_name = "FILE", env = "HEADWATER_CA")]
    ca: Option<PathBuf>,
    /// An operator's token, made by `headwater token --tier operator`; none for an open node.
    #[arg(long, env = "HEADWATER_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// Why a node gave no good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// It could not be reached, or broke off; what was asked may have happened.
    Broken(Failure),
    /// It refused.
    Refused {
        /// Of HTTP.
        status: u16,
        /// When it asks to be asked again.
        retry_after: Option<Duration>,
        failure: Failure,
        /// The whole of it, as JSON.
        answer: Value,
    },
    /// Nothing was asked: another try would fail the same way.
    NotAsked(Failure),
}

impl From<NoAnswer> for Failure {
    fn from(no_answer: NoAnswer) -> Failure {
        match no_answer {
            NoAnswer::Broken(failure)
            | NoAnswer::Refused { failure, .. }
            | NoAnswer::NotAsked(failure) => failure,
        }
    }
}

/// Asks a node one question and returns its answer.
///
/// # Errors
/// When the node cannot be reached, or refuses; its own words are told.
pub(crate) fn ask(
    flags: &OperatorFlags,
    settings: &Settings,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, Failure> {
    ask_within(PATIENCE, flags, settings, method, path, body)
}

/// As [`ask`], for questions that take longer or shorter.
///
/// # Errors
/// As [`ask`].
pub(crate) fn ask_within(
    patience: Duration,
    flags: &OperatorFlags,
    settings: &Settings,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, Failure> {
    let body = body.map(ToString::to_string).unwrap_or_default().into_bytes();
    Ok(send_within(patience, flags, settings, method, path, ("application/json", body))?)
}

/// As [`ask`], with a body of any kind.
///
/// # Errors
/// [`NoAnswer`], by what the caller should do.
pub(crate) fn send(
    flags: &OperatorFlags,
    settings: &Settings,
    method: &str,
    path: &str,
    content_type: &str,
    body: Vec<u8>,
) -> Result<Value, NoAnswer> {
    send_within(PATIENCE, flags, settings, method, path, (content_type, body))
}

fn send_within(
    patience: Duration,
    flags: &OperatorFlags,
    settings: &Settings,
    method: &str,
    path: &str,
    (content_type, body): (&str, Vec<u8>),
) -> Result<Value, NoAnswer> {
    let base = base_of(flags, settings);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| NoAnswer::NotAsked(Failure::broken(error)))?;
    let question = Question { method, path, content_type, body };
    let asking = exchange(&base, flags, settings, question);
    runtime.block_on(async {
        tokio::time::timeout(patience, asking).await.map_err(|_| {
            let text = format!("{base} did not answer within {patience:?}");
            NoAnswer::Broken(Failure::unavailable(text))
        })?
    })
}

/// One question to one node.
struct Question<'a> {
    method: &'a str,
    path: &'a str,
    content_type: &'a str,
    body: Vec<u8>,
}

async fn exchange(
    base: &str,
    flags: &OperatorFlags,
    settings: &Settings,
    question: Question<'_>,
) -> Result<Value, NoAnswer> {
    let Question { method, path, content_type, body } = question;
    let not_asked = |error: &dyn std::fmt::Display| NoAnswer::NotAsked(Failure::broken(error));
    let method = method.parse::<Method>().map_err(|error| not_asked(&error))?;
    let http = client(base, flags, settings)?;
    let mut request = http.request(method, format!("{base}{path}"));
    request = request.header(header::CONTENT_TYPE, content_type).body(body);
    if let Some(token) = &flags.token {
        request = request.bearer_auth(token);
    }
    let unreachable = |error: reqwest::Error| {
        let why = root_of(&error);
        NoAnswer::Broken(Failure::unavailable(format!(
            "cannot reach a node at {base}: {why}; is it running? name another with --at"
        )))
    };
    let response = request.send().await.map_err(unreachable)?;
    let (status, retry_after) = (response.status(), retry_after(response.headers()));
    let bytes = response.bytes().await.map_err(unreachable)?;
    let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if status.is_success() {
        return Ok(answer);
    }
    let says = answer["error"]["message"].as_str().unwrap_or("no reason given");
    let failure = Failure::broken(format!("{base} answered {status}: {says}"));
    Err(NoAnswer::Refused { status: status.as_u16(), retry_after, failure, answer })
}

/// Where the node is, as `https://host:port`.
fn base_of(flags: &OperatorFlags, settings: &Settings) -> String {
    let scheme = if settings.server.tls.is_some() { "https" } else { "http" };
    match &flags.at {
        Some(at) if at.contains("://") => at.trim_end_matches('/').to_owned(),
        Some(at) => format!("{scheme}://{at}"),
        None => format!("{scheme}://{}", settings.server.listen),
    }
}

/// Trusts the roots of this system, and the authority's certificate that the flags name or, for
/// this machine's own node, its settings.
fn client(
    base: &str,
    flags: &OperatorFlags,
    settings: &Settings,
) -> Result<reqwest::Client, NoAnswer> {
    let mut http = reqwest::Client::builder().redirect(Policy::none()).no_proxy();
    let own = settings.server.tls.as_ref().map(|files| &files.certificate);
    let file = flags.ca.as_ref().or(own).filter(|_| base.starts_with("https://"));
    if let Some(file) = file {
        let wrong = |error: &dyn std::fmt::Display| {
            let file = file.display();
            NoAnswer::NotAsked(Failure::settings(format!("{file}: {error}; name a PEM file")))
        };
        let pem = std::fs::read(file).map_err(|error| wrong(&error))?;
        let found = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| wrong(&error))?;
        for certificate in found {
            http = http.add_root_certificate(certificate);
        }
    }
    http.build().map_err(|error| NoAnswer::NotAsked(Failure::broken(error)))
}

/// What lies at the bottom of it: reqwest itself says little more than that it failed.
fn root_of(error: &dyn std::error::Error) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

/// In seconds; a node writes no date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
