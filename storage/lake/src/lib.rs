//! Object stores: S3 and what speaks its protocol, and folders, behind one reader.

mod objects;
#[cfg(test)]
mod tests;

pub use objects::{ObjectProblem, Objects};
