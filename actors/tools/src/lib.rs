//! Tools, purely: registry, schemas, grants, calls, session budgets.

pub mod agent;
pub mod call;
pub mod confirmation;
#[cfg(test)]
mod draws;
pub mod idempotency;
pub mod pool;
pub mod session;
pub mod steps;
