//! Leases in the store, and views that meet.

mod fencing;
mod leases;
mod rows;
mod views;
pub(crate) mod world;
