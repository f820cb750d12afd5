//! Questions of the command line to a running node, over its HTTP edge.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::config::Settings;
use crate::failure::Failure;

/// Longest time for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct OperatorFlags {
    /// Address of a running node; server.listen of the settings without it.
    #[arg(long = "at", value_name = "HOST:PORT")]
    at: Option<String>,
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
    let address = flags.at.clone().unwrap_or_else(|| settings.server.listen.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| NoAnswer::NotAsked(Failure::broken(error)))?;
    let asking = exchange(&address, flags.token.as_deref(), method, path, content_type, body);
    runtime.block_on(async {
        tokio::time::timeout(patience, asking).await.map_err(|_| {
            let text = format!("{address} did not answer within {patience:?}");
            NoAnswer::Broken(Failure::unavailable(text))
        })?
    })
}

async fn exchange(
    address: &str,
    token: Option<&str>,
    method: &str,
    path: &str,
    content_type: &str,
    body: Vec<u8>,
) -> Result<Value, NoAnswer> {
    let unreachable = |error: &dyn std::fmt::Display| {
        NoAnswer::Broken(Failure::unavailable(format!(
            "cannot reach a node at {address}: {error}; is it running? name another with --at"
        )))
    };
    let mut addresses =
        tokio::net::lookup_host(address).await.map_err(|error| unreachable(&error))?;
    let target: SocketAddr = addresses.next().ok_or_else(|| unreachable(&"no such host"))?;
    let stream = TcpStream::connect(target).await.map_err(|error| unreachable(&error))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
    tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, address)
        .header(header::CONTENT_TYPE, content_type);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| NoAnswer::NotAsked(Failure::broken(error)))?;
    let response = sender.send_request(request).await.map_err(|error| unreachable(&error))?;
    let (status, retry_after) = (response.status(), retry_after(response.headers()));
    let bytes = response.into_body().collect().await.map_err(|error| unreachable(&error))?;
    let answer: Value = serde_json::from_slice(&bytes.to_bytes()).unwrap_or_default();
    if status.is_success() {
        return Ok(answer);
    }
    let says = answer["error"]["message"].as_str().unwrap_or("no reason given");
    let failure = Failure::broken(format!("{address} answered {status}: {says}"));
    Err(NoAnswer::Refused { status: status.as_u16(), retry_after, failure })
}

/// In seconds; a node writes no date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
