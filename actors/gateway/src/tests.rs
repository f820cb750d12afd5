//! The gateway's decisions as data.

mod attempts;
mod breaker;
mod cache;
mod canary;
mod config;
mod meter;
mod what_if;
