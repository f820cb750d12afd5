//! The sandbox port: what an engine is that runs code which nobody has read, told without any engine.
//!
//! An [`Engine`] makes a [`Slot`] of an [`Image`]: a place with its own files, processes and limits.
//! A slot runs [`Execution`]s of one tenant; then it proves that it is clean or is closed. How strong
//! the wall around it is says its [`Isolation`], and a caller that needs more is refused, never given
//! less.

#[cfg(feature = "conformance")]
pub mod conformance;
mod engine;
mod error;
mod execution;
mod image;
mod isolation;
mod limits;
mod outcome;
mod path;

pub use engine::{Abilities, Engine, Probe, Slot, SlotSpec, Swept, Way, WayOut};
pub use error::EngineError;
pub use execution::{Channel, Execution, Listener};
pub use image::{Image, ImageName, ImageNameError};
pub use isolation::Isolation;
pub use limits::{LimitError, Limits};
pub use outcome::{Ended, FileEntry, GuestFile, Outcome, Usage};
pub use path::{GuestPath, GuestPathError};
