//! What host, launcher and agent tell each other.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What the launcher is told, as its last argument.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Launch {
    pub(crate) name: String,
    pub(crate) root: PathBuf,
    pub(crate) python: String,
    /// The first host id of the slot; none where the guest shares the service's own id.
    pub(crate) first_id: Option<u32>,
    /// The slot's cgroups, made already.
    pub(crate) cgroups: Vec<PathBuf>,
    /// Open the sockets of a way out.
    pub(crate) way_out: bool,
    pub(crate) agent: Agent,
}

/// What the agent is told, as its argument.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Agent {
    /// Numbers of system calls that Python has no functions for.
    pub(crate) calls: Calls,
    /// The guest's user and group; none where it is the zygote's own.
    pub(crate) owner: Option<u32>,
    /// The filter of system calls, in hexadecimal digits.
    pub(crate) filter: String,
    pub(crate) session: bool,
    pub(crate) way_out: bool,
    pub(crate) proc: bool,
    /// The version of landlock's interface; 0 without landlock.
    pub(crate) landlock: i64,
    pub(crate) disk_bytes: u64,
    pub(crate) inodes: u64,
    pub(crate) preload: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Calls {
    pub(crate) clone: i64,
    pub(crate) capset: i64,
    pub(crate) seccomp: i64,
    pub(crate) landlock_create_ruleset: i64,
    pub(crate) landlock_add_rule: i64,
    pub(crate) landlock_restrict_self: i64,
}

impl Calls {
    pub(crate) fn here() -> Self {
        use nix::libc;
        Self {
            clone: libc::SYS_clone,
            capset: libc::SYS_capset,
            seccomp: libc::SYS_seccomp,
            landlock_create_ruleset: libc::SYS_landlock_create_ruleset,
            landlock_add_rule: libc::SYS_landlock_add_rule,
            landlock_restrict_self: libc::SYS_landlock_restrict_self,
        }
    }
}

/// A request to a keeper, as JSON behind its length; the program and the bytes of `files` follow.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Request<'a> {
    /// `run`, `write`, `read` or `list`.
    pub(crate) kind: &'static str,
    /// The bytes of the program.
    pub(crate) program: usize,
    pub(crate) files: Vec<(&'a str, usize)>,
    pub(crate) collect: Vec<&'a str>,
    pub(crate) collect_bytes: u64,
    /// The most bytes of a file that is read, or the most entries of a list.
    pub(crate) most: u64,
    pub(crate) disk_bytes: u64,
}

/// What a guest is told, as JSON; its keeper only hands it on.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Program<'a> {
    pub(crate) source: &'a str,
    pub(crate) arguments: &'a [String],
    pub(crate) environment: Vec<(&'a str, &'a str)>,
    pub(crate) file_bytes: u64,
    pub(crate) address_bytes: u64,
    pub(crate) processes: u32,
    pub(crate) open_files: u32,
    pub(crate) cpu_s: u64,
}

/// A keeper's answer, as JSON behind its length; the bytes of `files` follow.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Answer {
    /// The guest's end, as `wait` tells it.
    pub(crate) status: Option<i32>,
    pub(crate) killed: bool,
    pub(crate) cpu_us: u64,
    pub(crate) rss: u64,
    /// Which of the files that were asked for, and their sizes.
    pub(crate) files: Vec<(usize, u64)>,
    pub(crate) entries: Vec<(String, u64, bool)>,
    /// A file that was refused, and why.
    pub(crate) file: Option<String>,
    pub(crate) why: Option<String>,
    /// The keeper itself failed.
    pub(crate) fault: Option<String>,
}
