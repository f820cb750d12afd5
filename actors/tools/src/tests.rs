//! Tests of names, dates and grants.
