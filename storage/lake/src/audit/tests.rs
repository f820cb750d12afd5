//! The lake over doubles of an object store: faults, crashes, ages, and who may see what.

mod crashes;
mod frames;
mod isolation;
mod names;
mod questions;
mod retention;
mod world;
