//! The gateway's decisions as data.

mod attempts;
mod breaker;
mod cache;
mod config;
mod meter;
