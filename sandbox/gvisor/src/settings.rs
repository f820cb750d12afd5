//! What an operator may choose.

use std::path::PathBuf;

/// How runsc takes the guest's system calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Platform {
    /// `ptrace` for versions before June 2023, which have nothing better without KVM, else `systrap`.
    #[default]
    Auto,
    Ptrace,
    Systrap,
    Kvm,
}

/// Settings of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The program `runsc`.
    pub runsc: PathBuf,
    /// A folder of this engine alone. Services that share a host may share it.
    pub state_folder: PathBuf,
    pub platform: Platform,
    /// More flags of runsc, before its command.
    pub flags: Vec<String>,
    /// The cgroup below which slots get theirs, relative to each hierarchy's root; the service's
    /// own where absent.
    pub cgroup_parent: Option<String>,
    /// The longest that a sandbox may take to start, in milliseconds.
    pub start_ms: u64,
    /// What the sandbox's own kernel may use beside the guest's memory, in bytes.
    pub overhead_bytes: u64,
}

impl Settings {
    /// The defaults, with a folder for the engine's state.
    #[must_use]
    pub fn new(state_folder: impl Into<PathBuf>) -> Self {
        Self {
            runsc: PathBuf::from("/usr/bin/runsc"),
            state_folder: state_folder.into(),
            platform: Platform::Auto,
            flags: Vec::new(),
            cgroup_parent: None,
            start_ms: 10_000,
            overhead_bytes: 96 << 20,
        }
    }
}
