//! What the jail is told about its host.

use std::ffi::OsString;
use std::path::PathBuf;

/// Settings of the jail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JailSettings {
    /// The command that calls [`launcher::main`](crate::launcher::main) with what follows its own
    /// words, such as `/proc/self/exe jail-launcher`.
    pub launcher: Vec<OsString>,
    /// A folder of this host's service for locks and the names of slots; processes that share it
    /// sweep each other's rests. It must not be inside an image.
    pub state: PathBuf,
    /// Folders of cgroups below which slots get theirs: one of the unified hierarchy, or one for
    /// each controller. Empty: this process's own.
    pub cgroups: Vec<PathBuf>,
    /// The first user and group id of guests where the service runs as root: a slot takes a few
    /// of the 2^30 ids behind it.
    pub first_id: u32,
    /// The longest time that a slot may take to start, in milliseconds.
    pub start_ms: u64,
}

impl JailSettings {
    #[must_use]
    pub fn new(launcher: Vec<OsString>, state: PathBuf) -> Self {
        Self { launcher, state, cgroups: Vec::new(), first_id: 524_288, start_ms: 30_000 }
    }
}
