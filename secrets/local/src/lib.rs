//! The secrets of this machine: environment variables, and files as Kubernetes mounts them.

mod environment;
mod file;

pub use environment::{EnvironmentSettings, EnvironmentSource};
pub use file::{FileSettings, FileSource, VALUE_BYTES_MAX};
