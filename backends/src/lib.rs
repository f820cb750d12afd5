//! The backends port: what answers a tool's call outside the platform, and a double.
//!
//! A [`Backend`] takes an [`Invocation`] and gives an [`Answer`], or a [`BackendError`] that says
//! whether the call may be repeated. Backends that know their own tools tell them as [`Listed`].

mod answer;
mod backend;
mod egress;
mod error;
mod invocation;
pub mod memory;
mod secret;

pub use answer::{Answer, Content, Part, Reached};
pub use backend::{Backend, Hints, Listed};
pub use egress::{Egress, Refusal};
pub use error::BackendError;
pub use invocation::Invocation;
pub use secret::{SecretHeader, SecretHeaders, blank, no_headers};
