//! Requests and answers as bytes; no type of the port is serialised itself.
//!
//! Texts travel as bytes: bincode takes a text's claimed length on trust and allocates it,
//! which bytes of unknown origin must not bring about.

use serde::{Deserialize, Serialize};

use super::changes::Change;
use super::{MESSAGE_BYTES, PAYLOAD_BYTES};
use crate::{Committed, Pair, Stamp, StoreError, codec};

const LAYOUT: u8 = 1;
/// Longest text of an error, in bytes.
const TEXT_BYTES: usize = 1_024;

/// Names a transaction or a watch for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Id {
    /// The server's life; a restart begins another.
    pub(super) server: u64,
    pub(super) number: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    /// Transactions that the client has done with.
    pub(super) released: Vec<Id>,
    /// Watches that the client has done with.
    pub(super) unwatched: Vec<Id>,
    pub(super) ask: Ask,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ask {
    Begin,
    Get {
        id: Id,
        key: Vec<u8>,
    },
    Range {
        id: Id,
        begin: Vec<u8>,
        end: Vec<u8>,
        limit: u64,
        reverse: bool,
    },
    /// A part of a commit that is too large for one message; the first is number 0.
    Stage {
        id: Id,
        stage: u32,
        changes: Vec<Change>,
    },
    /// The commit of all stages and these changes.
    Commit {
        id: Id,
        stages: u32,
        changes: Vec<Change>,
    },
    AwaitWatch {
        id: Id,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    Failed(Failure),
    Begun {
        id: Id,
        read_version: u64,
    },
    Value(Option<Vec<u8>>),
    /// In the order of the read; `more` says that the range goes on behind the last pair.
    Pairs {
        pairs: Vec<Pair>,
        more: bool,
    },
    Staged,
    Committed {
        version: Option<u64>,
        stamp: Option<Stamp>,
        /// The first of the commit's watches; the others have the numbers that follow.
        first_watch: Id,
        /// How many of the watches the server keeps; those behind are lost.
        watches: u32,
    },
    Changed,
    NotYet,
}

/// A [`StoreError`] on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Failure {
    Conflict,
    TooOld,
    CommitUnknown,
    Unavailable(Vec<u8>),
    Limit { what: Vec<u8>, given: u64, allowed: u64 },
    Usage(Vec<u8>),
    Corrupt(Vec<u8>),
}

/// The things that have limits, as the port names them.
const LIMITED: [&str; 5] = ["key", "value", "transaction", "stamped key", "stamped value"];

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict => Failure::Conflict,
            StoreError::TooOld => Failure::TooOld,
            StoreError::CommitUnknown => Failure::CommitUnknown,
            StoreError::Unavailable(text) => Failure::Unavailable(cut(&text)),
            StoreError::Limit { what, given, allowed } => {
                Failure::Limit { what: cut(what), given: given as u64, allowed: allowed as u64 }
            }
            StoreError::Usage(text) => Failure::Usage(cut(&text)),
            StoreError::Corrupt(text) => Failure::Corrupt(cut(&text)),
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        match failure {
            Failure::Conflict => StoreError::Conflict,
            Failure::TooOld => StoreError::TooOld,
            Failure::CommitUnknown => StoreError::CommitUnknown,
            Failure::Unavailable(bytes) => StoreError::Unavailable(text(bytes)),
            Failure::Limit { what, given, allowed } => {
                let known = LIMITED.into_iter().find(|known| known.as_bytes() == what.as_slice());
                let (given, allowed) = (saturated(given), saturated(allowed));
                StoreError::Limit { what: known.unwrap_or("a part"), given, allowed }
            }
            Failure::Usage(bytes) => StoreError::Usage(text(bytes)),
            Failure::Corrupt(bytes) => StoreError::Corrupt(text(bytes)),
        }
    }
}

fn cut(text: &str) -> Vec<u8> {
    text.as_bytes()[..text.floor_char_boundary(TEXT_BYTES)].to_vec()
}

pub(super) fn saturated(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The answer to a commit that happened.
pub(super) fn committed(committed: Committed, first_watch: Id, watches: u32) -> Answer {
    let Committed { version, stamp } = committed;
    Answer::Committed { version, stamp, first_watch, watches }
}

pub(super) fn encode_request(request: &Request) -> Result<Vec<u8>, StoreError> {
    codec::encode(LAYOUT, request)
}

pub(super) fn decode_request(bytes: &[u8]) -> Result<Request, StoreError> {
    let refuse = |what: &str| {
        let hint = "run the same version on all nodes";
        StoreError::Usage(format!(
            "the store's node does not understand the request: {what}; {hint}"
        ))
    };
    if bytes.len() > MESSAGE_BYTES {
        return Err(refuse(&format!("it has {} bytes of {MESSAGE_BYTES}", bytes.len())));
    }
    codec::decode(LAYOUT, bytes).map_err(|error| match error {
        StoreError::Corrupt(what) => refuse(&what),
        other => other,
    })
}

pub(super) fn encode_answer(answer: Result<Answer, StoreError>) -> Vec<u8> {
    let answer = answer.unwrap_or_else(|error| Answer::Failed(error.into()));
    // These types always encode; a client takes an empty answer for none.
    codec::encode(LAYOUT, &answer).unwrap_or_default()
}

pub(super) fn decode_answer(bytes: &[u8]) -> Result<Answer, StoreError> {
    codec::decode(LAYOUT, bytes)
}

/// What an item with so many bytes of keys and values takes of [`PAYLOAD_BYTES`]: its tag and
/// at most three lengths besides.
pub(super) fn cost(bytes: usize) -> usize {
    const { assert!(PAYLOAD_BYTES > 2 * (crate::limits::KEY_BYTES + crate::limits::VALUE_BYTES)) };
    bytes + 20
}
