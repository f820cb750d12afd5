//! Object stores: S3 and what speaks its protocol, and folders. Objects are read below what the
//! operator allowed; the audit lake keeps its files in one.

pub mod audit;
mod objects;
#[cfg(test)]
mod tests;

pub use objects::{ObjectProblem, Objects};
