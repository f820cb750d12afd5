//! What the server's errors mean for the caller.

use std::error::Error as _;

use headwater_backends::{BackendError, SecretHeader, blank};
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};

/// A busy server is asked again after so long.
const BUSY_MS: u64 = 1_000;
/// Longest part of the server's own words, in characters.
const WORDS_MAX: usize = 500;

/// A failure of one call.
pub(crate) fn failed(error: &Error, after_ms: u64, secrets: &[SecretHeader]) -> BackendError {
    match error.as_db_error() {
        Some(told) => of_server(told, after_ms, secrets),
        None => BackendError::Unknown { why: "the connection to the database broke".to_owned() },
    }
}

/// A failure while connecting; nothing was asked.
pub(crate) fn unconnected(error: &Error, secrets: &[SecretHeader]) -> BackendError {
    if let Some(told) = error.as_db_error() {
        return of_server(told, 0, secrets);
    }
    let mut cause = error.source();
    let mut words = error.to_string();
    while let Some(inner) = cause {
        words = inner.to_string();
        cause = inner.source();
    }
    let words = short(&words, secrets);
    match Kind::of(error) {
        Kind::Tls => BackendError::Refused { why: format!("no TLS with the database: {words}") },
        Kind::Login => {
            BackendError::Refused { why: format!("the database does not take the login: {words}") }
        }
        Kind::Other => {
            BackendError::Unsent { why: format!("no connection to the database: {words}") }
        }
    }
}

enum Kind {
    Tls,
    Login,
    Other,
}

impl Kind {
    /// The library keeps its kinds to itself, but for their words.
    fn of(error: &Error) -> Kind {
        let words = error.to_string();
        if words.starts_with("error performing TLS") {
            Kind::Tls
        } else if words.starts_with("authentication error") || words.starts_with("invalid config") {
            Kind::Login
        } else {
            Kind::Other
        }
    }
}

/// By SQLSTATE; a read that failed has changed nothing.
fn of_server(told: &DbError, after_ms: u64, secrets: &[SecretHeader]) -> BackendError {
    let code = told.code();
    let mut words = format!("{} (SQLSTATE {})", told.message(), code.code());
    if let Some(hint) = told.hint() {
        words = format!("{words}; {hint}");
    }
    let why = short(&words, secrets);
    if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        let why = format!("this tool only reads, and nothing was changed: {why}");
        return BackendError::Arguments { why };
    }
    if *code == SqlState::QUERY_CANCELED {
        return match told.message().contains("user request") {
            true => BackendError::Busy { why, retry_after_ms: BUSY_MS },
            false => BackendError::TimedOut { after_ms, sent: true },
        };
    }
    if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        return BackendError::Refused { why };
    }
    match code.code().get(..2).unwrap_or_default() {
        // Locks, deadlocks, too little of something, a server that stops or starts.
        "08" | "40" | "53" | "55" | "57" | "58" => {
            BackendError::Busy { why, retry_after_ms: BUSY_MS }
        }
        "28" | "3D" => BackendError::Refused { why },
        "F0" | "XX" => BackendError::Unknown { why },
        _ => BackendError::Arguments { why },
    }
}

/// Cut first, a secret could lose its end and not be known any more.
fn short(words: &str, secrets: &[SecretHeader]) -> String {
    blank(words, secrets).chars().take(WORDS_MAX).collect()
}
