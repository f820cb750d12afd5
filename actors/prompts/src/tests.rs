//! Tests of the pure service.
mod agreement;
mod drift;
mod judges;
mod live;
mod nights;
mod pairs;
mod promotions;
mod proposals;
mod spread;
mod templates;
