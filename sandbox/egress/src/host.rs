//! Host names as the proxy compares them, and the patterns of rules.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A host in its one form: lower case, no dot at the end; an address only in its usual form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

/// Why a text is no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("host {host:?} is not allowed: {why}")]
pub struct HostError {
    pub host: String,
    pub why: &'static str,
}

impl HostName {
    /// # Errors
    /// When the text is no name of letters, digits, `-` and `_`, or an address written unusually
    /// (`0x7f.1`, `2130706433`, `127.1`).
    pub fn new(text: &str) -> Result<Self, HostError> {
        let refuse = |why| {
            let host = text.chars().take(253).collect();
            Err(HostError { host, why })
        };
        let lower = text.to_ascii_lowercase();
        if let Some(inner) = lower.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return match inner.parse::<Ipv6Addr>() {
                Ok(address) => Ok(Self(format!("[{address}]"))),
                Err(_) => refuse("write an IPv6 address between the brackets"),
            };
        }
        let name = lower.strip_suffix('.').unwrap_or(&lower);
        if name.is_empty() || name.len() > 253 {
            return refuse("write 1 to 253 characters");
        }
        if name.parse::<Ipv4Addr>().is_ok() {
            return Ok(Self(name.to_owned()));
        }
        let last = name.rsplit('.').next().unwrap_or(name);
        let hexadecimal = last
            .strip_prefix("0x")
            .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        if hexadecimal || last.bytes().all(|b| b.is_ascii_digit()) {
            return refuse("write an IPv4 address as four decimal numbers with dots");
        }
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if name.split('.').all(label) {
            Ok(Self(name.to_owned()))
        } else {
            refuse("write labels of letters, digits, `-` and `_`; others as punycode (xn--…)")
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, where the host is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.0.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Which hosts a rule is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    Exact(HostName),
    /// All names below this one (`*.example.org`), but not itself.
    Below(HostName),
}

impl HostPattern {
    /// Reads `api.example.org` or `*.example.org`.
    ///
    /// # Errors
    /// As [`HostName::new`]; and for a star that stands for a whole top-level domain.
    pub fn new(text: &str) -> Result<Self, HostError> {
        let Some(parent) = text.strip_prefix("*.") else {
            return HostName::new(text).map(Self::Exact);
        };
        let parent = HostName::new(parent)?;
        if parent.address().is_some() || !parent.as_str().contains('.') {
            let why = "write a star only before a name of two labels or more, as *.example.org";
            return Err(HostError { host: text.to_owned(), why });
        }
        Ok(Self::Below(parent))
    }

    #[must_use]
    pub fn matches(&self, host: &HostName) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Below(parent) => host
                .as_str()
                .strip_suffix(parent.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        }
    }
}
