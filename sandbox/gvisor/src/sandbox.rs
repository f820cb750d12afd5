//! The sandbox's process, as a machine that runs a guest.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use headwater_sandbox::{EngineError, WayOut};
use headwater_sandbox_agent::{Complaints, Link, Machine, lost};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::cgroup::Group;

/// One sandbox. Dropping it kills the process of runsc, and runsc's sandbox dies with that.
pub(crate) struct Sandbox {
    child: Child,
    group: Group,
    complaints: Complaints,
}

/// Starts the process inside of a cgroup.
pub(crate) fn start(
    mut command: Command,
    group: &Group,
    way_out: Option<WayOut>,
) -> io::Result<(Sandbox, Link)> {
    let mut doors = Vec::new();
    for folder in group.folders() {
        doors.push(OpenOptions::new().write(true).open(folder.join("cgroup.procs"))?);
    }
    let enter = move || doors.iter_mut().try_for_each(|door| door.write_all(b"0"));
    // SAFETY: between fork and exec the closure only writes to open files, which takes no lock
    // and no memory.
    unsafe { command.pre_exec(enter) };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn()?;
    let missing = || io::Error::other("a pipe to runsc is missing");
    let input = child.stdin.take().ok_or_else(missing)?;
    let output = child.stdout.take().ok_or_else(missing)?;
    let complaints = Complaints::default();
    complaints.keep(child.stderr.take().ok_or_else(missing)?);
    let sandbox = Sandbox { child, group: group.clone(), complaints };
    Ok((sandbox, Link::new(output, input, way_out)))
}

impl Sandbox {
    /// Kills the process and waits for its end.
    pub(crate) async fn end(mut self) {
        drop(self.child.start_kill());
        drop(timeout(Duration::from_secs(2), self.child.wait()).await);
    }
}

#[async_trait]
impl Machine for Sandbox {
    fn held_bytes(&self) -> Option<u64> {
        self.group.memory_bytes()
    }

    fn memory_kills(&self) -> u64 {
        self.group.memory_kills()
    }

    fn kill(&self) {
        self.group.kill();
    }

    async fn lost(&mut self, error: &io::Error) -> EngineError {
        if error.kind() != io::ErrorKind::UnexpectedEof {
            return lost(error.to_string());
        }
        let ended = match timeout(Duration::from_millis(500), self.child.wait()).await {
            Ok(Ok(status)) => format!("runsc ended with {status}"),
            _ => "the sandbox closed its output".to_owned(),
        };
        lost(format!("{ended}: {}", self.complaints.last_words()))
    }
}
