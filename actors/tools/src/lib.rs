//! Tools, purely: registry, schemas, grants, calls, session budgets.
