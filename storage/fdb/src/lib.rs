//! The FoundationDB adapter of the storage port.
