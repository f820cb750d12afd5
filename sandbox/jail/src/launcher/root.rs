//! The slot's root: the image, read-only, and small folders in memory above it.

use std::fs::File;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root};

use super::{Failure, doing, text};

const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

const LINKS: [(&str, &str); 5] = [
    ("shm", "/tmp"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

const NONE: Option<&str> = None;

/// Makes the image this process's root, and takes everything else out of its sight.
pub(super) fn enter(image: &Path, wants_proc: bool) -> Result<(), Failure> {
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .map_err(doing("making mounts private"))?;
    mount(Some(image), image, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
        .map_err(doing(format!("mounting {}", image.display())))?;
    make_read_only(image)?;
    chdir(image).map_err(doing("entering the image"))?;
    make_devices()?;
    let held = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    for folder in ["tmp", "work"] {
        // Only to be mounted over, or to be found empty.
        mount(Some("tmpfs"), folder, Some("tmpfs"), held | MsFlags::MS_RDONLY, Some("size=4k"))
            .map_err(doing(format!("mounting {folder}")))?;
    }
    if wants_proc {
        mount(Some("proc"), "proc", Some("proc"), held, Some("hidepid=2"))
            .map_err(doing("mounting proc"))?;
    }
    pivot_root(".", ".").map_err(doing("changing the root"))?;
    umount2(".", MntFlags::MNT_DETACH).map_err(doing("leaving the host's root"))?;
    chdir("/").map_err(doing("entering the root"))
}

/// Read-only for it and all below, with no way to set-user-id or devices. Flags that the host's
/// mount has stay: a namespace of a user may only add some.
fn make_read_only(path: &Path) -> Result<(), Failure> {
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    let attributes = Attributes { set, clear: 0, propagation: 0, user_namespace: 0 };
    let path = text(path.as_os_str().as_encoded_bytes())?;
    // SAFETY: the path ends with NUL, the structure has the size that is told, both outlive the
    // call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(doing("read-only")(io::Error::last_os_error())) }
}

/// A few devices of the host's, which hold nothing, in a folder that nobody can write to.
fn make_devices() -> Result<(), Failure> {
    let held = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount(Some("tmpfs"), "dev", Some("tmpfs"), held, Some("size=16k,nr_inodes=32,mode=755"))
        .map_err(doing("mounting dev"))?;
    for device in DEVICES {
        let (from, to) = (format!("/dev/{device}"), format!("dev/{device}"));
        File::create(&to).map_err(doing(format!("making {to}")))?;
        mount(Some(from.as_str()), to.as_str(), NONE, MsFlags::MS_BIND, NONE)
            .map_err(doing(format!("mounting {from}")))?;
    }
    for (name, target) in LINKS {
        symlink(target, format!("dev/{name}")).map_err(doing(format!("linking dev/{name}")))?;
    }
    // The mount alone is changed, not the devices on it.
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | held;
    mount(NONE, "dev", NONE, flags, NONE).map_err(doing("closing dev"))
}
