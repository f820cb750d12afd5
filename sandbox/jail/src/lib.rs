//! The jail engine: namespaces, seccomp, landlock, cgroups, and a warm interpreter forked for each call.
//!
//! A slot is a tree of processes. The **launcher**, a process of its own, since nothing that has
//! threads may fork, makes the slot's namespaces and waits. The **zygote**, process 1 of the slot,
//! is the image's interpreter, which has imported the image's modules. For each call it forks a
//! **keeper** into a process and mount namespace of the call's own, and the keeper forks the
//! **guest**, which gives up every right before it reads a line of the program. The keeper's end is
//! the end of every process of its namespace: the kernel sees to it.
//!
//! The guest shares the host's kernel: this is [`Isolation::Contained`](headwater_sandbox::Isolation).

mod call;
mod cgroup;
mod control;
mod engine;
mod filter;
pub mod launcher;
mod probe;
mod registry;
mod relay;
mod settings;
mod slot;
mod start;
#[cfg(test)]
mod tests;
mod wire;

pub use engine::Jail;
pub use settings::JailSettings;

/// The engine's name.
const NAME: &str = "jail";
