//! What a tool may reach, and how much of it.

use std::net::SocketAddr;

use http::{HeaderName, Method};

use crate::headers;
use crate::host::HostPattern;

/// Who a way out belongs to; stands in every event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    pub tenant: String,
    pub session: String,
    pub tool: String,
}

/// How a request goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// The guest's `http://` goes out as it is. Default port 80.
    Plain,
    /// The guest's `http://` or `https://` URL goes out over TLS that the proxy speaks: it sees
    /// methods and paths and can put secrets in. Default port 443.
    Originate,
    /// `CONNECT`: the guest speaks TLS itself, and the name of its hello must be the host.
    Tunnel,
}

/// A header whose value the proxy puts in, so that the guest never has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretHeader {
    pub header: HeaderName,
    /// The secret's name, as [`SecretFor`](crate::SecretFor) knows it.
    pub secret: String,
    /// What stands before the value, such as `Bearer `.
    pub prefix: String,
}

/// One thing that is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub host: HostPattern,
    /// Ports at the host; at least one.
    pub ports: Vec<u16>,
    /// All methods where it is empty.
    pub methods: Vec<Method>,
    /// Prefixes of the path, each by whole parts (`/v1` allows `/v1` and `/v1/x`, not `/v10`); all
    /// paths where it is empty.
    pub paths: Vec<String>,
    pub transport: Transport,
    pub secrets: Vec<SecretHeader>,
    /// A service of the operator's own: connections go to this address, which may be private, and
    /// nothing is resolved.
    pub internal: Option<SocketAddr>,
}

/// How much may pass, over the whole life of a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrantLimits {
    /// Bytes of bodies and tunnels to the outside.
    pub bytes_out: u64,
    /// Bytes of bodies and tunnels to the guest.
    pub bytes_in: u64,
    /// Connections of the guest at once.
    pub connections: u32,
    /// Requests and tunnels a minute; and, counted for themselves, names.
    pub requests_per_minute: u32,
}

impl Default for GrantLimits {
    /// 16 MiB out, 64 MiB in, 16 connections, 120 requests a minute.
    fn default() -> Self {
        Self { bytes_out: 16 << 20, bytes_in: 64 << 20, connections: 16, requests_per_minute: 120 }
    }
}

/// What one tool of one session may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub labels: Labels,
    pub rules: Vec<Rule>,
    pub limits: GrantLimits,
}

/// Why a grant cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rules[{rule}].{field}: {why}")]
pub struct GrantError {
    /// Which rule, from 0.
    pub rule: usize,
    pub field: &'static str,
    pub why: &'static str,
}

impl Grant {
    /// Whether every rule can be held to.
    ///
    /// # Errors
    /// The first rule that says what the proxy cannot see or should not do.
    pub fn check(&self) -> Result<(), GrantError> {
        for (index, rule) in self.rules.iter().enumerate() {
            rule.check().map_err(|(field, why)| GrantError { rule: index, field, why })?;
        }
        Ok(())
    }
}

impl Rule {
    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.ports.is_empty() || self.ports.contains(&0) {
            return Err(("ports", "name at least one port, from 1 to 65535"));
        }
        let tunnel = self.transport == Transport::Tunnel;
        if tunnel && !self.methods.is_empty() {
            return Err(("methods", "a tunnel hides them; use the transport originate, or none"));
        }
        if tunnel && !self.paths.is_empty() {
            return Err(("paths", "a tunnel hides them; use the transport originate, or none"));
        }
        if self.paths.iter().any(|path| !path.starts_with('/')) {
            return Err(("paths", "start each path with /"));
        }
        if !self.secrets.is_empty() {
            match (self.transport, self.internal) {
                (Transport::Tunnel, _) => {
                    return Err(("secrets", "a tunnel takes none; use the transport originate"));
                }
                (Transport::Plain, None) => {
                    return Err(("secrets", "they would go out in the clear; use originate"));
                }
                _ => {}
            }
        }
        if self.secrets.iter().any(|secret| headers::is_framing(&secret.header)) {
            return Err(("secrets", "choose a header that is not the connection's own"));
        }
        if self.internal.is_some() && !matches!(self.host, HostPattern::Exact(_)) {
            return Err(("internal", "name the one host exactly, without a star"));
        }
        Ok(())
    }
}
