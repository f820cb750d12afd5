//! The way from a new process in new namespaces to the image's interpreter.

use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;

use nix::libc;
use nix::unistd::{Gid, Uid, execve, setgroups, sethostname, setresgid, setresuid, setsid};

use super::{Failure, await_go, doing, root, text, ways};
use crate::wire::Launch;

/// Where the agent finds its control socket.
const CONTROL: i32 = 3;

const AGENT: &str = concat!(
    include_str!("../agent/settings.py"),
    include_str!("../agent/files.py"),
    include_str!("../agent/keeper.py"),
    include_str!("../agent/guest.py"),
    include_str!("../agent/zygote.py"),
    "\nmain()\n",
);

/// Never returns but with why it failed.
pub(super) fn become_zygote(launch: &Launch, go: OwnedFd) -> Failure {
    match try_become(launch, &go) {
        Ok(never) => match never {},
        Err(failure) => failure,
    }
}

fn try_become(launch: &Launch, go: &OwnedFd) -> Result<Infallible, Failure> {
    await_go(go)?;
    if launch.first_id.is_some() {
        setgroups(&[]).map_err(doing("leaving groups"))?;
        let (user, group) = (Uid::from_raw(0), Gid::from_raw(0));
        setresgid(group, group, group).map_err(doing("changing the group"))?;
        setresuid(user, user, user).map_err(doing("changing the user"))?;
    }
    control(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong, 0)?;
    // The launcher may have died before that; then nothing is on the other side of the pipe.
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWCGROUP)
        .map_err(doing("hiding the cgroup"))?;
    setsid().map_err(doing("making a session"))?;
    sethostname("sandbox").map_err(doing("naming the host"))?;
    root::enter(&launch.root, launch.agent.proc)?;
    if launch.way_out {
        ways::open(0)?;
    }
    keep_rights()?;
    control(libc::PR_SET_NO_NEW_PRIVS, 1, 0)?;
    arrange_descriptors()?;
    exec(launch)
}

/// `prctl` with numbers.
fn control(option: i32, first: libc::c_ulong, second: libc::c_ulong) -> Result<(), Failure> {
    // SAFETY: the options that are used here take numbers alone.
    let result = unsafe { libc::prctl(option, first, second, 0, 0) };
    if result >= 0 { Ok(()) } else { Err(doing("prctl")(io::Error::last_os_error())) }
}

/// A user that is not 0 loses its rights over its own namespace when it starts a program, unless
/// they are ambient. The agent needs them to mount; guests give them up.
fn keep_rights() -> Result<(), Failure> {
    #[repr(C)]
    struct Header {
        version: u32,
        process: i32,
    }
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Rights {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    const ALL: u32 = u32::MAX;
    let mut header = Header { version: 0x2008_0522, process: 0 };
    let mut rights = [Rights { effective: 0, permitted: 0, inheritable: 0 }; 2];
    // SAFETY: header and data have the form of this version, and outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, rights.as_mut_ptr()) };
    if result != 0 {
        return Err(doing("reading rights")(io::Error::last_os_error()));
    }
    for half in &mut rights {
        half.inheritable = half.permitted & ALL;
    }
    // SAFETY: as above.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, rights.as_ptr()) };
    if result != 0 {
        return Err(doing("keeping rights")(io::Error::last_os_error()));
    }
    for right in 0..64_u32 {
        if rights[(right / 32) as usize].permitted & (1 << (right % 32)) != 0 {
            let raise = libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong;
            control(libc::PR_CAP_AMBIENT, raise, libc::c_ulong::from(right))?;
        }
    }
    Ok(())
}

/// Standard input and output lead nowhere, errors to the launcher's reader, 3 to the host.
fn arrange_descriptors() -> Result<(), Failure> {
    let null = text("/dev/null")?;
    // SAFETY: numbers and a text that outlives the calls; the descriptors are this process's own.
    let results = unsafe {
        let control = libc::dup2(0, CONTROL);
        let null = libc::open(null.as_ptr(), libc::O_RDWR);
        let input = libc::dup2(null, 0);
        let output = libc::dup2(null, 1);
        libc::syscall(libc::SYS_close_range, CONTROL + 1, u32::MAX, 0);
        [control, null, input, output]
    };
    if results.iter().all(|result| *result >= 0) {
        Ok(())
    } else {
        Err(doing("arranging descriptors")(io::Error::last_os_error()))
    }
}

fn exec(launch: &Launch) -> Result<Infallible, Failure> {
    let told = serde_json::to_string(&launch.agent).map_err(doing("telling the agent"))?;
    let words = [launch.python.as_str(), "-I", "-B", "-X", "utf8", "-c", AGENT, &told];
    let words: Vec<CString> = words.into_iter().map(text).collect::<Result<_, _>>()?;
    // One thread in the libraries for numbers: what forks must have no others.
    let environment = [
        "PATH=/usr/bin",
        "HOME=/work",
        "LANG=C.UTF-8",
        "OPENBLAS_NUM_THREADS=1",
        "OMP_NUM_THREADS=1",
        "MKL_NUM_THREADS=1",
    ];
    let environment: Vec<CString> = environment.into_iter().map(text).collect::<Result<_, _>>()?;
    execve(&words[0], &words, &environment).map_err(doing(format!("starting {}", launch.python)))
}
