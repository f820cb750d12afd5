//! The SDK's errors, by what the caller should do.

use std::error::Error;

use headwater_backends::{BackendError, Refusal, SecretHeader, blank};
use rmcp::ServiceError;
use rmcp::model::{ErrorCode, ErrorData, ServerResult};
use rmcp::service::ClientInitializeError;
use rmcp::transport::streamable_http_client::{
    AuthRequiredError, HttpStatusError, InsufficientScopeError, StreamableHttpError,
};

use super::transport::HttpError;

const RETRY_AFTER_DEFAULT_MS: u64 = 1_000;
const RETRY_AFTER_MAX_MS: u64 = 3_600_000;
/// Longest part of a server's own words, in characters.
const WORDS_MAX: usize = 500;

/// What a call has failed with, after its request was handed to the transport.
pub(super) fn of_service(error: ServiceError, secrets: &[SecretHeader]) -> BackendError {
    match error {
        ServiceError::McpError(error) => of_server(&error, secrets),
        ServiceError::TransportSend(error) => {
            of_chain(error.error.as_ref()).unwrap_or_else(|| lost("it could not be sent whole"))
        }
        ServiceError::TransportClosed => lost("the connection broke"),
        ServiceError::Cancelled { .. } => lost("the server has cancelled it"),
        ServiceError::UnexpectedResponse => lost("the server's answer is none to a call"),
        other => lost(&words(&other.to_string(), secrets)),
    }
}

/// What the server itself has said, in a JSON-RPC error.
fn of_server(error: &ErrorData, secrets: &[SecretHeader]) -> BackendError {
    let told = format!("{} (code {})", words(&error.message, secrets), error.code.0);
    match error.code {
        ErrorCode::METHOD_NOT_FOUND | ErrorCode::RESOURCE_NOT_FOUND => {
            BackendError::NotFound { what: told }
        }
        // Servers tell of unknown tools and of wrong arguments by the same code.
        ErrorCode::INVALID_PARAMS if is_unknown_tool(&error.message) => {
            BackendError::NotFound { what: told }
        }
        ErrorCode::INVALID_PARAMS | ErrorCode::PARSE_ERROR => BackendError::Arguments { why: told },
        ErrorCode::INVALID_REQUEST
        | ErrorCode::HEADER_MISMATCH
        | ErrorCode::UNSUPPORTED_PROTOCOL_VERSION
        | ErrorCode::MISSING_REQUIRED_CLIENT_CAPABILITY => BackendError::Refused { why: told },
        _ => match error.data.as_ref().and_then(|data| data.get("retry_after_ms")?.as_u64()) {
            Some(ms) => {
                BackendError::Busy { why: told, retry_after_ms: ms.min(RETRY_AFTER_MAX_MS) }
            }
            None => BackendError::Unknown { why: told },
        },
    }
}

fn is_unknown_tool(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("tool")
        && ["unknown", "not found", "no tool", "not exist"]
            .iter()
            .any(|word| message.contains(word))
}

/// Why no connection came about; nothing of a call was sent.
pub(super) fn of_connecting(error: &ClientInitializeError) -> BackendError {
    match error {
        ClientInitializeError::TransportError { error, .. } => {
            match of_chain(error.error.as_ref()) {
                None | Some(BackendError::Unknown { .. }) => {
                    unsent("the server did not answer as a server of the protocol does")
                }
                Some(error) => error,
            }
        }
        ClientInitializeError::NoCompatibleProtocolVersion { .. } => {
            refused("the server speaks no revision of the protocol that is spoken here")
        }
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => of_connecting(fallback),
        ClientInitializeError::JsonRpcError(error) => {
            refused(&format!("the server does not connect (code {})", error.code.0))
        }
        _ => unsent("the connection broke before it was made"),
    }
}

/// What a transport's chain of errors holds, where it is known.
fn of_chain(error: &(dyn Error + 'static)) -> Option<BackendError> {
    let mut link = Some(error);
    while let Some(error) = link {
        if let Some(found) = of_link(error) {
            return Some(found);
        }
        link = error.source();
    }
    None
}

fn of_link(error: &(dyn Error + 'static)) -> Option<BackendError> {
    if let Some(refusal) = error.downcast_ref::<Refusal>() {
        return Some(refused(&refusal.why));
    }
    if error.is::<AuthRequiredError>() {
        return Some(refused("the server asks for a token (status 401)"));
    }
    if error.is::<InsufficientScopeError>() {
        return Some(refused("the token does not reach so far (status 403)"));
    }
    if let Some(error) = error.downcast_ref::<HttpStatusError>() {
        return Some(of_status(error.status, error.retry_after.as_deref()));
    }
    if let Some(error) = error.downcast_ref::<reqwest::Error>() {
        // A refusal of an address lies deeper.
        let deeper = error.source().and_then(of_chain);
        return Some(deeper.unwrap_or_else(|| match error.status() {
            Some(status) => of_status(status.as_u16(), None),
            None if error.is_connect() => unsent("no connection"),
            None => lost("the connection broke"),
        }));
    }
    match error.downcast_ref::<StreamableHttpError<HttpError>>()? {
        StreamableHttpError::Client(HttpError::Stopped(error)) => Some(error.clone()),
        StreamableHttpError::ResponseBodyTooLarge { max_size } => {
            Some(BackendError::TooLarge { bytes_max: *max_size as u64 })
        }
        StreamableHttpError::AuthRequired(_) => {
            Some(refused("the server asks for a token (status 401)"))
        }
        StreamableHttpError::InsufficientScope(_) => {
            Some(refused("the token does not reach so far (status 403)"))
        }
        StreamableHttpError::HttpStatus(error) => {
            Some(of_status(error.status, error.retry_after.as_deref()))
        }
        StreamableHttpError::UnexpectedServerResponse(told) => of_told(told),
        _ => None,
    }
}

/// The SDK tells of other statuses in words only, such as `HTTP 403 Forbidden: …`.
fn of_told(told: &str) -> Option<BackendError> {
    let digits = told.split("HTTP ").nth(1)?.get(..3)?;
    digits.parse().ok().map(|status| of_status(status, None))
}

fn of_status(status: u16, retry_after: Option<&str>) -> BackendError {
    let why = format!("status {status}");
    match status {
        429 | 503 => {
            let seconds = retry_after.and_then(|value| value.trim().parse::<u64>().ok());
            let ms = seconds.map_or(RETRY_AFTER_DEFAULT_MS, |s| s.saturating_mul(1_000));
            BackendError::Busy { why, retry_after_ms: ms.min(RETRY_AFTER_MAX_MS) }
        }
        401 | 403 | 407 => refused(&format!("the server does not let us in ({why})")),
        404 | 405 => BackendError::NotFound { what: format!("the server's address ({why})") },
        300..=499 => refused(&format!("the server does not take the request ({why})")),
        _ => BackendError::Unknown { why },
    }
}

/// An answer that is none to a call of ours.
pub(super) fn unexpected(result: &ServerResult) -> BackendError {
    match result {
        ServerResult::InputRequiredResult(_) => refused(
            "the server asks its user a question before it does the work, and there is no user",
        ),
        _ => lost("the server's answer is none to a call"),
    }
}

/// A server's words, short and without secrets.
pub(super) fn words(told: &str, secrets: &[SecretHeader]) -> String {
    blank(told, secrets).chars().take(WORDS_MAX).collect()
}

fn refused(why: &str) -> BackendError {
    BackendError::Refused { why: why.to_owned() }
}

fn unsent(why: &str) -> BackendError {
    BackendError::Unsent { why: why.to_owned() }
}

fn lost(why: &str) -> BackendError {
    BackendError::Unknown { why: why.to_owned() }
}
