//! Tests of the pure service.
mod judges;
mod promotions;
mod templates;
