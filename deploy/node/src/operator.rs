//! Questions of the command line to a running node, over its HTTP edge.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, header};
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
    let body = body.map(ToString::to_string).unwrap_or_default();
    send(flags, settings, method, path, "application/json", body.into_bytes())
}

/// As [`ask`], with a body of any kind.
///
/// # Errors
/// As [`ask`].
pub(crate) fn send(
    flags: &OperatorFlags,
    settings: &Settings,
    method: &str,
    path: &str,
    content_type: &str,
    body: Vec<u8>,
) -> Result<Value, Failure> {
    let address = flags.at.clone().unwrap_or_else(|| settings.server.listen.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::broken)?;
    let asking = exchange(&address, flags.token.as_deref(), method, path, content_type, body);
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, asking).await.map_err(|_| {
            Failure::unavailable(format!("{address} did not answer within {PATIENCE:?}"))
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
) -> Result<Value, Failure> {
    let unreachable = |error: &dyn std::fmt::Display| {
        Failure::unavailable(format!(
            "cannot reach a node at {address}: {error}; is it running? name another with --at"
        ))
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
    let request = request.body(Full::new(Bytes::from(body))).map_err(Failure::broken)?;
    let response = sender.send_request(request).await.map_err(|error| unreachable(&error))?;
    let status = response.status();
    let bytes = response.into_body().collect().await.map_err(|error| unreachable(&error))?;
    let answer: Value = serde_json::from_slice(&bytes.to_bytes()).unwrap_or_default();
    if status.is_success() {
        return Ok(answer);
    }
    let says = answer["error"]["message"].as_str().unwrap_or("no reason given");
    Err(Failure::broken(format!("{address} answered {status}: {says}")))
}
