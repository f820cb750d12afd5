//! The gateway's decisions as data.

mod attempts;
mod breaker;
mod config;
mod meter;
