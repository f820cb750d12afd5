//! The jail engine: namespaces, seccomp, landlock, cgroups, and a warm interpreter forked for each call.
//!
//! A slot is a tree of processes. The **launcher**, a process of its own, since nothing that has
//! threads may fork, makes the slot's namespaces and waits. The **zygote**, process 1 of the slot,
//! is the image's interpreter, which has imported the image's modules. For each call it forks a
//! **keeper** into a process and mount namespace of the call's own, and the keeper forks the
//! **guest**, which gives up every right before it reads a line of the program. The keeper's end is
//! the end of every process of its namespace: the kernel sees to it.
//!
//! Keeper and guest are made **ahead**: while nothing runs in the slot, the next call's two wait,
//! with their namespaces, folders, landlock and filter, the guest without any right. They take one
//! call and end with it. They are made after the last call's last process is gone, so no guest
//! runs beside them; they hold about 3 MiB of the slot's memory, take two of its processes, and end
//! with the zygote. When a slot changes hands they are killed before it is proved clean, and made
//! anew after. A call that finds none, right behind another one, waits until they are made. What a
//! call may set lower than its slot (files, processes, open files, processor time) is set when its
//! program has come; processor time from before that is not the call's.
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
