//! Why the proxy refuses or ends something, told by what the asker should do.

use http::StatusCode;

/// A refusal; its text goes to the guest and to the event, and carries no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the request is malformed: {0}")]
    Malformed(&'static str),
    #[error("this host is not allowed; ask for a grant that names it")]
    Host,
    #[error("this port of the host is not allowed; use one that the grant names")]
    Port,
    #[error("the host is not allowed this way; use the transport that the grant names: {0}")]
    Transport(&'static str),
    #[error("this method is not allowed here; use one that the grant names")]
    Method,
    #[error("this path is not allowed; use one that the grant names")]
    Path,
    #[error("the host has an address that is not public; an internal service needs its own grant")]
    NotPublic,
    #[error("the host's name was not found; check it, or try again later")]
    Unresolved,
    #[error("the host could not be reached: {0}; try again later")]
    Unreachable(&'static str),
    #[error("the tunnel's first bytes were refused: {0}")]
    Hello(&'static str),
    #[error("too many connections at once; close some first")]
    Connections,
    #[error("too many requests this minute; wait and try again")]
    Rate,
    #[error("the grant's bytes to the outside are used up; send less")]
    BytesOut,
    #[error("the grant's bytes from the outside are used up; ask for less")]
    BytesIn,
    #[error("time ran out while {0}; try again later")]
    Deadline(&'static str),
    #[error("a secret of the grant could not be had; tell the operator")]
    Secret,
    #[error("the connection broke before the end")]
    Broken,
    #[error("the asker left before the end")]
    Left,
}

impl Refusal {
    /// The status that the guest sees.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Host
            | Self::Port
            | Self::Transport(_)
            | Self::Method
            | Self::Path
            | Self::NotPublic
            | Self::Hello(_) => StatusCode::FORBIDDEN,
            Self::Connections | Self::Rate => StatusCode::TOO_MANY_REQUESTS,
            Self::BytesOut => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Deadline(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Unresolved
            | Self::Unreachable(_)
            | Self::BytesIn
            | Self::Secret
            | Self::Broken
            | Self::Left => StatusCode::BAD_GATEWAY,
        }
    }
}
