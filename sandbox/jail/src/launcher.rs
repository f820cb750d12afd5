//! The launcher: a process without threads that makes one slot, and ends with it.
//!
//! Its standard input is the slot's control socket, its standard output takes one line with the
//! zygote's process id, its standard error takes why something failed.

mod root;
mod ways;
mod zygote;

use std::ffi::{CString, OsString};
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::process::ExitCode;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getgid, getuid, pipe, read, write};

use crate::wire::Launch;

/// What failed, and the system's error.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {source}")]
pub(crate) struct Failure {
    doing: String,
    source: io::Error,
}

/// Names what was done when a call failed.
fn doing<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> Failure {
    |error| Failure { doing: doing.into(), source: error.into() }
}

fn text(value: impl Into<Vec<u8>>) -> Result<CString, Failure> {
    CString::new(value).map_err(|_| Failure {
        doing: "a name has a NUL byte".to_owned(),
        source: io::ErrorKind::InvalidInput.into(),
    })
}

/// Makes the slot that the last argument tells, and stays until it ends. Must be called by a
/// process without threads, before anything else.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let told = arguments.last().unwrap_or_default();
    let launch: Launch = match serde_json::from_slice(told.as_encoded_bytes()) {
        Ok(launch) => launch,
        Err(error) => {
            eprintln!("the launcher is for the jail engine to start, not for people: {error}");
            return ExitCode::from(2);
        }
    };
    match run(&launch) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(launch: &Launch) -> Result<(), Failure> {
    // SAFETY: closes what the starting process left open by mistake; nothing of ours is above 2.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    let (go_read, go_write) = pipe().map_err(doing("making a pipe"))?;
    let flags = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::SIGCHLD;
    // SAFETY: as `fork`, with namespaces; this process has one thread, and no stack is given, so
    // the child goes on with a copy of this one.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if pid < 0 {
        return Err(doing("making namespaces")(io::Error::last_os_error()));
    }
    if pid == 0 {
        drop(go_write);
        let failure = zygote::become_zygote(launch, go_read);
        eprintln!("{failure}");
        std::process::exit(1);
    }
    drop(go_read);
    let zygote = Pid::from_raw(pid as i32);
    let watched = prepare(launch, zygote, go_write).and_then(|()| watch(zygote));
    // Whatever went wrong, and when the control socket is closed: the slot ends.
    let _ = kill(zygote, Signal::SIGKILL);
    let _ = waitpid(zygote, None);
    watched
}

/// What only a process outside of the slot may do for it.
fn prepare(launch: &Launch, zygote: Pid, go: OwnedFd) -> Result<(), Failure> {
    let map = |kind: &str, line: String| {
        let path = format!("/proc/{zygote}/{kind}");
        fs::write(&path, line).map_err(doing(format!("writing {path}")))
    };
    let ids = |own: u32| match launch.first_id {
        Some(first) => format!("0 {first} 1\n{GUEST_ID} {} 1\n", first + 1),
        None => format!("{GUEST_ID} {own} 1\n"),
    };
    map("uid_map", ids(getuid().as_raw()))?;
    if launch.first_id.is_none() {
        map("setgroups", "deny".to_owned())?;
    }
    map("gid_map", ids(getgid().as_raw()))?;
    for cgroup in &launch.cgroups {
        let path = cgroup.join("cgroup.procs");
        fs::write(&path, zygote.to_string())
            .map_err(doing(format!("writing {}", path.display())))?;
    }
    let mut output = io::stdout();
    writeln!(output, "{zygote}").and_then(|()| output.flush()).map_err(doing("telling"))?;
    write(&go, b"g").map_err(doing("waking the zygote"))?;
    Ok(())
}

/// Until the zygote ends, or everyone on the control socket's other side is gone.
fn watch(zygote: Pid) -> Result<(), Failure> {
    // SAFETY: asks for a new descriptor of a child that was not waited for, so its id is its own.
    let handle = unsafe { libc::syscall(libc::SYS_pidfd_open, zygote.as_raw(), 0) };
    if handle < 0 {
        return Err(doing("watching the zygote")(io::Error::last_os_error()));
    }
    // SAFETY: the descriptor is new and nobody else's.
    let handle = unsafe { OwnedFd::from_raw_fd(handle as i32) };
    let control = io::stdin();
    loop {
        let mut polled = [
            PollFd::new(handle.as_fd(), PollFlags::POLLIN),
            PollFd::new(control.as_fd(), PollFlags::empty()),
        ];
        match poll(&mut polled, PollTimeout::NONE) {
            Ok(_) => return Ok(()),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(doing("waiting")(error)),
        }
    }
}

/// Waits for the launcher's word; without it the launcher is gone.
fn await_go(go: &OwnedFd) -> Result<(), Failure> {
    let mut word = [0];
    match read(go, &mut word) {
        Ok(1) => Ok(()),
        Ok(_) => {
            Err(doing("waiting for the launcher")(io::Error::from(io::ErrorKind::UnexpectedEof)))
        }
        Err(error) => Err(doing("waiting for the launcher")(error)),
    }
}

/// A descriptor's number, for calls that take numbers.
fn number(handle: &impl AsRawFd) -> i32 {
    handle.as_raw_fd()
}

/// The guest's user and group in its own namespace.
pub(crate) const GUEST_ID: u32 = 1_000;
