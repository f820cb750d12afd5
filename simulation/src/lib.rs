//! Deterministic simulation: a seeded world, faults, workloads and checkers.
