//! Who calls: tokens of the node's own key, tokens of outside issuers, and virtual keys.

mod authority;
mod grant;
mod issuer;
mod key_set;
mod signing;

pub use authority::Authority;
pub(crate) use authority::Refusal;
pub use grant::{Grant, GrantProblem};
pub use issuer::{ClaimNames, Issuer, IssuerSettings, SignatureAlgorithm};
pub use key_set::{KeySet, KeySetProblem};
pub(crate) use signing::token_names;
pub use signing::{OWN_ISSUER, SigningKey};
