//! A node's process, as the coordinator holds it: pipes, a deadline, and its end.

use std::fmt;
use std::io::{self, BufWriter, Read};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::wire::{self, Hello, Stretch};

/// The binary that is a simulated node.
pub const NODE_BINARY: &str = "headwater-lockstep";
/// A node that computes for longer than this on one stretch hangs, in real time.
const PATIENCE_MS: i32 = 60_000;

/// Why a run could not be made; what a run found stands in its outcome.
#[derive(Debug)]
pub enum LockstepError {
    /// The nodes' binary is missing.
    NoBinary { looked_at: PathBuf },
    /// No such workload.
    NoWorkload { name: String, known: Vec<&'static str> },
    /// The scenario's parameters do not suit its workload.
    Parameters(String),
    /// A process or a pipe of this machine failed.
    Machine(String),
}

impl fmt::Display for LockstepError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockstepError::NoBinary { looked_at } => write!(
                out,
                "the simulated nodes' program `{NODE_BINARY}` is not at {}; build it with \
                 `cargo build --release -p headwater-simulation`",
                looked_at.display()
            ),
            LockstepError::NoWorkload { name, known } => {
                write!(out, "there is no workload `{name}`; take one of: {}", known.join(", "))
            }
            LockstepError::Parameters(problem) => {
                write!(out, "the scenario's parameters do not suit: {problem}")
            }
            LockstepError::Machine(problem) => {
                write!(out, "{problem}; free some memory or processes and try again")
            }
        }
    }
}

impl std::error::Error for LockstepError {}

/// The nodes' binary: the given one, or else beside this executable, or one folder above it,
/// where a test's executable looks.
pub(super) fn find_binary(given: Option<&Path>) -> Result<PathBuf, LockstepError> {
    let places = match given {
        Some(path) => vec![path.to_owned()],
        None => {
            let own = std::env::current_exe()
                .map_err(|error| LockstepError::Machine(format!("own path is unknown: {error}")))?;
            let above = own.parent().and_then(Path::parent).map(|folder| folder.join(NODE_BINARY));
            [Some(own.with_file_name(NODE_BINARY)), above].into_iter().flatten().collect()
        }
    };
    let looked_at = places.first().cloned().unwrap_or_default();
    places.into_iter().find(|path| path.is_file()).ok_or(LockstepError::NoBinary { looked_at })
}

pub(super) struct Process {
    child: Child,
    input: BufWriter<ChildStdin>,
    output: ChildStdout,
    has_ended: bool,
}

impl Process {
    pub(super) fn start(binary: &Path, hello: &Hello) -> Result<Process, LockstepError> {
        let failed = |error: io::Error| {
            LockstepError::Machine(format!("{} does not start: {error}", binary.display()))
        };
        let mut child = Command::new(binary)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(LockstepError::Machine("a process has no pipes".to_owned()));
        };
        let input = BufWriter::with_capacity(64 << 10, input);
        let mut process = Process { child, input, output, has_ended: false };
        // A process that has ended already is noticed when its first answer is read.
        let _ = wire::put(&mut process.input, &hello.encode());
        Ok(process)
    }

    pub(super) fn put(&mut self, stretch: &Stretch) -> io::Result<()> {
        wire::put(&mut self.input, &stretch.encode())
    }

    /// The frame of what the node did in the stretch that it was given.
    pub(super) fn get(&mut self) -> io::Result<Vec<u8>> {
        wire::get(&mut Patient(&mut self.output))
    }

    /// Kills the process as `kill -9` does, and says how much CPU time it took, in µs.
    pub(super) fn kill(mut self) -> u64 {
        self.end()
    }

    fn end(&mut self) -> u64 {
        if std::mem::replace(&mut self.has_ended, true) {
            return 0;
        }
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        let Ok(id) = libc::pid_t::try_from(self.child.id()) else { return 0 };
        let mut status = 0;
        // SAFETY: all-zero bytes are a valid `rusage`, and both pointers are valid for the call.
        // The child has not been waited for, so the id is still its own.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            let waited = libc::wait4(id, &raw mut status, 0, &raw mut usage);
            (waited == id).then_some(usage)
        };
        usage.map_or(0, |usage| cpu_us(&usage))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// CPU time of the calling thread, in µs.
pub(super) fn own_cpu_us() -> u64 {
    // SAFETY: all-zero bytes are a valid `rusage`, and the pointer is valid for the call.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
        usage
    };
    cpu_us(&usage)
}

fn cpu_us(usage: &libc::rusage) -> u64 {
    let us = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    us(usage.ru_utime) + us(usage.ru_stime)
}

/// A pipe that is given up when nothing comes for too long.
struct Patient<'a>(&'a mut ChildStdout);

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wait = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: the pointer is valid for the one entry that the call is told of.
        let ready = unsafe { libc::poll(&raw mut wait, 1, PATIENCE_MS) };
        match ready {
            0 => Err(io::ErrorKind::TimedOut.into()),
            1.. => self.0.read(buffer),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
