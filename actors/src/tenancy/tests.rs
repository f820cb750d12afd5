//! Quotas over one and several nodes in one process.
