//! The dispatcher under tables and random histories; input checks, cache keys and output formats.

mod cache;
mod history;
mod input;
mod invariants;
mod output;
mod queue;
mod route;
mod rules;
mod scale;
