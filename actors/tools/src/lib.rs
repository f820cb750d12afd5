//! Tools, purely: registry, schemas, grants, calls, session budgets.

pub mod agent;
pub mod call;
pub mod confirmation;
pub mod idempotency;
pub mod pool;
pub mod session;
pub mod steps;
