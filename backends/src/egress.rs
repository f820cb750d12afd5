//! What may be spoken to: a hook, so that one set of rules decides for all backends.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Why a host or an address may not be spoken to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Refusal {
    pub why: String,
}

type PermitHost = dyn Fn(&str, u16) -> Result<(), Refusal> + Send + Sync;
type PermitAddress = dyn Fn(&str, IpAddr) -> Result<(), Refusal> + Send + Sync;

/// Asked before each connection: for the host by its name, then for the address that the name
/// stands for, which is the one that is connected to. Behind a proxy only the first is asked: the
/// proxy finds the address.
#[derive(Clone)]
pub struct Egress {
    host: Arc<PermitHost>,
    address: Arc<PermitAddress>,
}

impl Egress {
    /// `host` sees names in lower case and addresses as written in a URL, without brackets.
    pub fn new(
        host: impl Fn(&str, u16) -> Result<(), Refusal> + Send + Sync + 'static,
        address: impl Fn(&str, IpAddr) -> Result<(), Refusal> + Send + Sync + 'static,
    ) -> Egress {
        Egress { host: Arc::new(host), address: Arc::new(address) }
    }

    /// Every host and address, for backends that an operator has named.
    pub fn everywhere() -> Egress {
        Egress::new(|_, _| Ok(()), |_, _| Ok(()))
    }

    /// # Errors
    /// The refusal of the rules.
    pub fn permit_host(&self, host: &str, port: u16) -> Result<(), Refusal> {
        (self.host)(host, port)
    }

    /// # Errors
    /// The refusal of the rules.
    pub fn permit_address(&self, host: &str, address: IpAddr) -> Result<(), Refusal> {
        (self.address)(host, address)
    }
}

impl fmt::Debug for Egress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Egress")
    }
}
