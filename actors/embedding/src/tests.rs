//! The dispatcher under tables and random histories; input checks and output formats.

mod history;
mod input;
mod invariants;
mod output;
mod queue;
mod route;
mod rules;
mod scale;
