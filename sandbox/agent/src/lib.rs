//! The agent inside a guest: a warm interpreter, the frames it speaks, and the host's side of a call.
//!
//! Engines whose guests have a kernel of their own share it. The agent is process 1 of its guest and
//! a program in Python: it keeps a child ready, gives it the next call, and kills all that the call
//! left. An engine adds how its agent begins, and brings a stream to it and a [`Machine`]; [`Guest`]
//! does the rest of a slot.

mod call;
mod guest;
mod link;
mod relay;
mod spec;
mod wire;

pub use guest::{Answer, Guest, Machine, lost};
pub use link::{Complaints, Link, last_words};
pub use spec::{check_image, check_name};
pub use wire::{Frame, Frames, Kind, Order, frame, told};

/// The agent's program but for its beginning, which an engine puts behind it: it calls `warm`, makes
/// the files of calls ready, greets the host by `hello` and runs an `Agent`.
pub const PROGRAM: &str = concat!(
    include_str!("python/frames.py"),
    include_str!("python/files.py"),
    include_str!("python/child.py"),
    include_str!("python/relay.py"),
    include_str!("python/main.py"),
);

/// The user of calls inside the guest, as the agent knows it.
pub const GUEST: u32 = 1000;
