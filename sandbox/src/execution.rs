//! One call of a guest: its code, what goes in, and who listens to what comes out.

use crate::limits::Limits;
use crate::outcome::GuestFile;
use crate::path::GuestPath;

/// Python code to run once, in a process of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// The program, as text of UTF-8; it runs as `__main__`.
    pub source: String,
    /// `sys.argv[1..]`.
    pub arguments: Vec<String>,
    /// The environment beside the engine's own (`PATH`, `HOME`, `LANG`).
    pub environment: Vec<(String, String)>,
    /// What the program reads from its standard input.
    pub input: Vec<u8>,
    /// Files that lie in the working folder when the program starts.
    pub files: Vec<GuestFile>,
    /// Files of the working folder to hand back after the program's end; those that are missing
    /// then are left out of the outcome.
    pub collect: Vec<GuestPath>,
    /// Limits of this call, at most those of the slot.
    pub limits: Limits,
}

impl Execution {
    /// A program that is given nothing and hands nothing back.
    #[must_use]
    pub fn new(source: impl Into<String>, limits: Limits) -> Self {
        Self {
            source: source.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            input: Vec::new(),
            files: Vec::new(),
            collect: Vec::new(),
            limits,
        }
    }
}

/// Which stream of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    Output,
    Error,
}

/// Hears what a program writes, as it comes; all calls together carry at most
/// [`Limits::output_bytes`].
pub trait Listener: Send {
    fn heard(&mut self, channel: Channel, bytes: &[u8]);
}

impl<F: FnMut(Channel, &[u8]) + Send> Listener for F {
    fn heard(&mut self, channel: Channel, bytes: &[u8]) {
        self(channel, bytes);
    }
}
