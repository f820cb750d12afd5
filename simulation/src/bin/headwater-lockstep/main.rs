//! One node of a lockstep simulation, in a process whose clocks and chance are the run's own.

mod overrides;

use std::fs::File;
use std::os::fd::FromRawFd;
use std::process::ExitCode;

use headwater_simulation::lockstep::{Overrides, serve};

fn main() -> ExitCode {
    let overrides =
        Overrides { switch_on: overrides::switch_on, set_clocks: overrides::set_clocks };
    let served = frames_out().and_then(|frames| serve(overrides, std::io::stdin().lock(), frames));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("headwater-lockstep: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// The pipe for frames; what anything else prints goes to the standard error, as it would
/// garble them.
fn frames_out() -> Result<File, String> {
    // SAFETY: the numbers are the standard streams' own, and nothing else holds the copy.
    let frames = unsafe {
        let frames = libc::dup(libc::STDOUT_FILENO);
        libc::dup2(libc::STDERR_FILENO, libc::STDOUT_FILENO);
        (frames >= 0).then(|| File::from_raw_fd(frames))
    };
    frames.ok_or_else(|| format!("no pipe for frames: {}", std::io::Error::last_os_error()))
}
