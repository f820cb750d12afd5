//! The Firecracker engine: micro-VMs restored from a snapshot of a warm interpreter.
//!
//! For an image and a size the engine boots one machine, lets its agent import what calls need, and
//! takes a snapshot. A slot is a machine of its own, restored of that: `jailer` starts it with a root
//! folder, a user, limits and a cgroup of its own; the memory's file is mapped privately, so that
//! slots share what they do not write. The host speaks with the agent over vsock. After the restore,
//! and before any call, it tells the agent the time and random bytes, for all machines of a snapshot
//! would else draw the same numbers. A slot serves one tenant and its machine is killed after it.
//!
//! A machine has one drive, which it cannot write and which is slow beyond a rate, and no network
//! device. What calls write lies in its memory: `/work`, `/tmp` (a quarter of the limit of all files)
//! and `/dev/shm` (a sixteenth).
//!
//! **What has never run here: a machine.** This engine was written against the documented interface
//! of Firecracker 1.16, and no host with a working KVM has booted a guest with it. Its tests drive the
//! whole protocol against a double of `firecracker` and `jailer` that is as strict about calls, fields
//! and order, and the agent is the real one, as the first process of namespaces in the file system
//! that the engine made. What a double cannot show: that a kernel starts the agent from that drive,
//! that vsock, snapshot and restore work with it, that clock and random numbers are new after it, that
//! the cgroup inside the guest holds a call, and all figures. [`Engine::probe`] boots a guest and tells
//! whether it does; `tests/escape.rs` runs the whole suite where it does.
//!
//! What it does not do:
//! - [`Violation`](headwater_sandbox::Ended::Violation) is never told: the guest's kernel answers
//!   what it does not allow with an error.
//! - Slots of one snapshot share the interpreter's hash seed and the places of its memory.
//! - A snapshot lives as long as this process: the first slot of a size waits for a boot.
//! - A slot is paused by a signal to its process, not over the interface: Firecracker 1.16 loses what
//!   the host sends over vsock after a bare pause.
//!
//! [`Engine::probe`]: headwater_sandbox::Engine::probe

mod api;
mod cgroup;
mod drive;
mod engine;
mod host;
mod machine;
mod programs;
mod remains;
mod settings;
mod slot;
mod snapshot;
mod vsock;

pub use engine::FirecrackerEngine;
pub use settings::Settings;

const ENGINE: &str = "firecracker";

/// An error that says what lacks on this host, and what to do.
fn unable(why: impl Into<String>, mend: impl Into<String>) -> headwater_sandbox::EngineError {
    headwater_sandbox::EngineError::Unable { engine: ENGINE, why: why.into(), mend: mend.into() }
}
