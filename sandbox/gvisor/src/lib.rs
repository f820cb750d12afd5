//! The gVisor engine: runsc, with a warm interpreter inside the sandbox.
//!
//! A slot is one sandbox. Its first process is an agent in Python: it keeps a child ready, gives it
//! the next call, and kills all that the call left. The host holds memory, processes and processors
//! by a cgroup around the sandbox, time and output by itself.
//!
//! What it does not do:
//! - A sandbox serves one tenant and is closed: nothing proves that a used one is clean.
//! - The limit of all files is divided: a quarter for `/tmp`, a sixteenth for `/dev/shm`, the rest
//!   for `/work`. Files of `/tmp` and `/dev/shm` go after each call, those of a session's `/work`
//!   stay.
//! - A guest that outgrows its memory faster than the host looks takes its sandbox along: the call
//!   ends with [`Memory`](headwater_sandbox::Ended::Memory), and the slot is lost.
//! - [`Violation`](headwater_sandbox::Ended::Violation) is never told: the guest's kernel answers
//!   what it does not know with an error.
//! - No checkpoints: restoring one takes longer than a cold start.

mod bundle;
mod cgroup;
mod engine;
mod host;
mod remains;
mod runsc;
mod sandbox;
mod settings;
mod slot;

pub use engine::GvisorEngine;
pub use settings::{Platform, Settings};

const ENGINE: &str = "gvisor";
