//! Tests of the pure service.
mod agreement;
mod drift;
mod judges;
mod nights;
mod promotions;
mod proposals;
mod templates;
