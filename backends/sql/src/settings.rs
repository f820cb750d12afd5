//! Where a database is, and how it is spoken to.

use std::path::PathBuf;

/// One database, as an operator names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlSettings {
    /// As errors name it.
    pub name: String,
    /// A name or an address.
    pub host: String,
    pub port: u16,
    pub database: String,
    /// A role that may only `SELECT`, and no superuser.
    pub user: String,
    pub tls: Tls,
    /// Connections at once, those that wait for the next call among them.
    pub connections_max: usize,
    /// Longest time until a connection stands, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Longest wait for a lock, in milliseconds.
    pub lock_timeout_ms: u64,
    /// A connection that no call needs is closed after so long, in milliseconds.
    pub idle_ms: u64,
}

/// Whether what is sent can be read on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// It can, the password's proof too: for this machine and trusted networks.
    Off,
    /// The server's certificate must be for its host and by an authority of Mozilla's list, or of
    /// this file of PEM.
    Verify { ca_file: Option<PathBuf> },
}

/// The field that is wrong, and what to give instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct SettingsError {
    pub field: String,
    pub why: String,
}

/// More would be more than servers are set up for.
const CONNECTIONS_MAX: usize = 1_000;
/// Milliseconds that PostgreSQL can count.
const SPAN_MS_MAX: u64 = i32::MAX as u64;

impl SqlSettings {
    /// A database with all limits at their defaults, over verified TLS.
    pub fn new(name: &str, host: &str, database: &str, user: &str) -> SqlSettings {
        SqlSettings {
            name: name.to_owned(),
            host: host.to_owned(),
            port: 5_432,
            database: database.to_owned(),
            user: user.to_owned(),
            tls: Tls::Verify { ca_file: None },
            connections_max: 4,
            connect_timeout_ms: 5_000,
            lock_timeout_ms: 1_000,
            idle_ms: 60_000,
        }
    }

    /// # Errors
    /// The field that is wrong, and what to give instead.
    pub fn check(&self) -> Result<(), SettingsError> {
        let is_bad_host = |host: &str| {
            host.is_empty() || host.contains(|one: char| one.is_whitespace() || "/@".contains(one))
        };
        if is_bad_host(&self.host) {
            let why = "must be a host's name or address, as in db.example.com, without a port";
            return Err(SettingsError::new("host", why));
        }
        for (field, text) in [("database", &self.database), ("user", &self.user)] {
            if text.is_empty() || text.contains('\0') {
                return Err(SettingsError::new(field, "must be a name, as the server knows it"));
            }
        }
        if self.port == 0 {
            return Err(SettingsError::new("port", "must be a whole number from 1 to 65535"));
        }
        if !(1..=CONNECTIONS_MAX).contains(&self.connections_max) {
            let why = format!("must be a whole number from 1 to {CONNECTIONS_MAX}");
            return Err(SettingsError::new("connections_max", why));
        }
        for (field, span_ms) in [
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("lock_timeout_ms", self.lock_timeout_ms),
            ("idle_ms", self.idle_ms),
        ] {
            if !(1..=SPAN_MS_MAX).contains(&span_ms) {
                let why = format!("must be a whole number from 1 to {SPAN_MS_MAX}");
                return Err(SettingsError::new(field, why));
            }
        }
        Ok(())
    }
}

impl SettingsError {
    pub(crate) fn new(field: impl Into<String>, why: impl Into<String>) -> SettingsError {
        SettingsError { field: field.into(), why: why.into() }
    }
}
