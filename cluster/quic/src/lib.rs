//! The cluster port over QUIC: mutual TLS, lanes, streams, redial, and the node authority.
//!
//! Each pair of nodes has two QUIC connections, told apart by ALPN: one carries data (envelopes on
//! a few long-lived streams, the lanes, and one stream per long request), the other is handed out
//! as one [`ControlStream`] for the actor system's own traffic, so that neither delays the other.
//!
//! **Who is who.** Every node holds a certificate of the cluster's [`authority`]. Its names carry
//! the cluster and the node; both sides of a connection check both. TLS 1.3 only, no resumption,
//! so a rotated or expired certificate counts from the next connection on.
//!
//! **One link per pair.** After the Hello frames the node with the smaller name decides alone
//! whether the connection becomes the link, and says so with a Keep frame. Two connections
//! dialled at once therefore end as one on both sides, without a link that comes and goes.

pub mod authority;

mod accept;
mod changes;
mod control;
mod dial;
mod error;
mod frame;
mod handshake;
mod identity;
mod inbox;
mod lane;
mod link;
mod names;
mod refusal;
mod settings;
mod shared;
mod stream;
mod table;
mod transport;

pub use control::ControlStream;
pub use error::QuicError;
pub use settings::{IdentityFiles, QuicSettings};
pub use table::LinkStatus;
pub use transport::QuicTransport;
