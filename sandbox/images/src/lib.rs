//! Makes and checks images: folders with a whole root for guests.
//!
//! An image named `data` lies in a folder of images as `data/root`, the guest's whole root, and
//! `data/manifest.json`. It is made of this host's own interpreter and of packages that `pip`
//! fetches, so neither container tools nor a mirror of a distribution are needed; whoever may
//! write to the folder may make images. All functions block.

mod copy;
mod digest;
mod error;
mod interpreter;
mod libraries;
mod make;
mod manifest;
mod packages;
mod skeleton;
#[cfg(test)]
mod tests;

pub use digest::digest;
pub use error::ImageError;
pub use make::{Recipe, make};
pub use manifest::{Manifest, Package, list, open, verify};
