//! What FoundationDB's error codes mean to the port.

use headwater_storage::{StoreError, limits};

/// How long FoundationDB may take with one transaction, in ms: longer than a transaction
/// lives ([`limits::TRANSACTION_MS`]), so that an answer to its last call still arrives and
/// only a cluster that does not answer runs into it.
pub(crate) const TIMEOUT_MS: u64 = limits::TRANSACTION_MS + 1_000;

const TRANSACTION_TOO_OLD: i32 = 1007;
const FUTURE_VERSION: i32 = 1009;
const NOT_COMMITTED: i32 = 1020;
const COMMIT_UNKNOWN_RESULT: i32 = 1021;
const COMMIT_UNKNOWN_RESULT_FATAL: i32 = 1022;
const TRANSACTION_CANCELLED: i32 = 1025;
const TRANSACTION_TIMED_OUT: i32 = 1031;
const ACCESSED_UNREADABLE: i32 = 1036;
const WRONG_CONNECTION_FILE: i32 = 1054;
const FILE_NOT_FOUND: i32 = 1511;
const FILE_NOT_READABLE: i32 = 1513;
const NO_CLUSTER_FILE_FOUND: i32 = 1515;
/// A transaction that wrote nothing has no stamp.
pub(crate) const NO_COMMIT_VERSION: i32 = 2021;
const TRANSACTION_TOO_LARGE: i32 = 2101;
const KEY_TOO_LARGE: i32 = 2102;
const VALUE_TOO_LARGE: i32 = 2103;
const CONNECTION_STRING_INVALID: i32 = 2104;

/// Refusals that a busy, locked or recovering cluster gives before it writes anything:
/// process behind, database locked, a proxy out of memory (commit, read version), throttled
/// (batch, tag, tag at the proxy, hot shard).
const NOTHING_WRITTEN: [i32; 8] = [1037, 1038, 1042, 1051, 1078, 1213, 1223, 1235];

/// Whether a commit was on its way when the call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing was sent that could be written.
    Read,
    /// The commit was sent.
    Commit,
}

/// A call that FoundationDB refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal<'a> {
    /// FoundationDB's error code.
    pub(crate) code: i32,
    /// FoundationDB's text for the code.
    pub(crate) text: &'a str,
    /// Whether the client library knows the code as one that a new try may get past and
    /// that wrote nothing (`RETRYABLE_NOT_COMMITTED`), for codes that are not named here.
    pub(crate) is_not_committed: bool,
    pub(crate) phase: Phase,
    /// What the transaction was counted to write, in bytes.
    pub(crate) size_bytes: usize,
}

impl Refusal<'_> {
    /// The port's error. A code that nobody knows may, after the commit was sent, stand for
    /// a commit that happened.
    /// Source: "Error codes" in FoundationDB's API reference.
    pub(crate) fn error(&self) -> StoreError {
        match self.code {
            NOT_COMMITTED => StoreError::Conflict,
            TRANSACTION_TOO_OLD | FUTURE_VERSION => StoreError::TooOld,
            COMMIT_UNKNOWN_RESULT | COMMIT_UNKNOWN_RESULT_FATAL => StoreError::CommitUnknown,
            ACCESSED_UNREADABLE => StoreError::Usage(
                "this key or range holds a stamp of this very transaction; read it after the \
                 commit"
                    .to_owned(),
            ),
            TRANSACTION_TOO_LARGE => {
                above("transaction", self.size_bytes, limits::TRANSACTION_BYTES)
            }
            KEY_TOO_LARGE => above("key", 0, limits::KEY_BYTES),
            VALUE_TOO_LARGE => above("value", 0, limits::VALUE_BYTES),
            FILE_NOT_FOUND
            | FILE_NOT_READABLE
            | NO_CLUSTER_FILE_FOUND
            | WRONG_CONNECTION_FILE
            | CONNECTION_STRING_INVALID => StoreError::Usage(format!(
                "FoundationDB cannot use the cluster file ({}); give the path of a readable \
                 copy of the cluster's own file",
                self.told()
            )),
            2000..=2999 => StoreError::Usage(format!(
                "FoundationDB does not allow this call ({}); change the call",
                self.told()
            )),
            code if self.is_not_committed || NOTHING_WRITTEN.contains(&code) => {
                StoreError::Unavailable(self.told())
            }
            _ if self.phase == Phase::Commit => StoreError::CommitUnknown,
            TRANSACTION_TIMED_OUT => StoreError::Unavailable(format!(
                "FoundationDB did not answer within {TIMEOUT_MS} ms ({}); see whether \
                 `fdbcli --exec status` reaches the cluster and whether client and servers have \
                 the same major and minor version",
                self.told()
            )),
            TRANSACTION_CANCELLED => StoreError::Unavailable(format!(
                "the watch is lost, its transaction did not commit ({})",
                self.told()
            )),
            _ => StoreError::Unavailable(self.told()),
        }
    }

    fn told(&self) -> String {
        format!("FoundationDB error {}, {}", self.code, self.text.to_lowercase())
    }
}

/// FoundationDB counts more than the port, and does not say how much it counted: `given` is
/// at least one byte too many.
fn above(what: &'static str, counted: usize, allowed: usize) -> StoreError {
    StoreError::Limit { what, given: counted.max(allowed + 1), allowed }
}
