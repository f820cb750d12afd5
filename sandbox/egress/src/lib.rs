//! The way out of a sandbox: a forward proxy with an allow-list, and names that resolve only where it allows.
//!
//! An [`Egress`] opens a [`OpenWay`] for each [`Grant`]: a pair of Unix sockets that a slot's guest is
//! given, and the same way in-process for the platform's own tools ([`OpenWay::fetch`]). What no rule
//! of the grant allows is refused, and every decision is an [`EgressEvent`].
//!
//! What it does not see: inside a tunnel (`CONNECT`) only the name of the TLS hello is checked, so a
//! host that fronts for others (a content network) can be asked for them inside. A rule with a
//! wildcard lets the labels before its domain reach that domain's name servers.

mod address;
mod blank;
mod body;
mod decide;
mod dial;
mod egress;
mod event;
mod grant;
mod headers;
mod hello;
mod host;
mod meter;
mod names;
mod proxy;
mod question;
mod record;
mod refusal;
mod resolve;
mod secret;
mod settings;
mod tunnel;
mod way;

#[cfg(test)]
mod tests;

pub use address::is_public;
pub use body::{Body, BodyError, empty, full};
pub use egress::{Egress, OpenError, Parts};
pub use event::{Asked, EgressEvent, Hears, Kind, Verdict};
pub use grant::{Grant, GrantError, GrantLimits, Labels, Rule, SecretHeader, Transport};
pub use host::{HostError, HostName, HostPattern};
pub use refusal::Refusal;
pub use resolve::{Resolve, ResolveError, SystemResolver};
pub use secret::{Secret, SecretError, SecretFor};
pub use settings::{Settings, SettingsError};
pub use way::OpenWay;
