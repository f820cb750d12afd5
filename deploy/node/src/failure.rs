//! How a command ends when it does not end well.

use std::fmt;
use std::process::ExitCode;

/// The documented exit codes beside 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// 1: something broke while the command ran, or a check did not hold.
    Broken = 1,
    /// 2: wrong usage or settings; mend them and start again.
    Settings = 2,
    /// 3: the address cannot be bound.
    Address = 3,
    /// 4: the store or a model cannot be opened.
    Unavailable = 4,
    /// 5: requests were still running when the drain's time was up.
    Drain = 5,
    /// 6: somebody else was faster; look at what they did, then try again.
    Conflict = 6,
}

/// A failure with what the operator should read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    pub message: String,
}

impl Failure {
    pub fn new(kind: FailureKind, message: impl fmt::Display) -> Self {
        Failure { kind, message: message.to_string() }
    }

    pub fn broken(message: impl fmt::Display) -> Self {
        Failure::new(FailureKind::Broken, message)
    }

    pub fn settings(message: impl fmt::Display) -> Self {
        Failure::new(FailureKind::Settings, message)
    }

    pub fn unavailable(message: impl fmt::Display) -> Self {
        Failure::new(FailureKind::Unavailable, message)
    }

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
