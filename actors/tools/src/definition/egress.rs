//! Where a tool needs to reach, and the headers that its way out adds.

use serde_json::{Map, Value, json};

use crate::fields::Fields;
use crate::name::{SECRET_RULE, is_secret};
use crate::problem::Problem;

const HOST_BYTES: usize = 253;
const HEADER_BYTES: usize = 64;
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const HOST_RULE: &str =
    "a host's name in lower case, as in api.example.com, or *.example.com for those below one";
/// What decides where a request ends or goes.
const RESERVED_HEADERS: [&str; 6] =
    ["connection", "content-length", "host", "te", "transfer-encoding", "upgrade"];

/// One host that a tool needs, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Egress {
    /// A name, or `*.` before one.
    pub host: String,
    /// Never empty, sorted.
    pub ports: Vec<u16>,
    /// Never empty, in the order of the word list; each an HTTP method in capitals.
    pub methods: Vec<&'static str>,
    /// The guest speaks plain HTTP to its way out, which speaks TLS to the host.
    pub originates_tls: bool,
    /// Added on the way out, where the guest does not see them.
    pub headers: Vec<SecretHeader>,
}

/// A header whose value is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretHeader {
    /// In lower case.
    pub header: String,
    /// The secret's name.
    pub secret: String,
}

impl Egress {
    pub(super) fn read(path: &str, value: &Value) -> Result<Egress, Problem> {
        let fields = Fields::of(path, value, &["host", "ports", "methods", "tls", "headers"])?;
        let host = fields.named("host", HOST_RULE, is_host)?;
        let host = fields.needed("host", HOST_RULE, host)?;
        let originates_tls = fields.word("tls", &[("originate", true)])?.unwrap_or(false);
        let mut ports = fields.list("ports", 16, |path, port| {
            let number = port.as_u64().and_then(|port| u16::try_from(port).ok());
            number
                .filter(|port| *port > 0)
                .ok_or_else(|| Problem::new(path, "must be a whole number from 1 to 65535"))
        })?;
        if ports.is_empty() {
            ports.push(443);
        }
        ports.sort_unstable();
        ports.dedup();
        let named = fields.list("methods", METHODS.len(), |path, method| {
            let known = METHODS.iter().find(|known| method.as_str() == Some(known));
            known
                .copied()
                .ok_or_else(|| Problem::new(path, format!("must be one of {}", METHODS.join(", "))))
        })?;
        let methods = match named.is_empty() {
            true => vec!["GET"],
            false => METHODS.into_iter().filter(|method| named.contains(method)).collect(),
        };
        let headers = fields.list("headers", 8, SecretHeader::read)?;
        if !headers.is_empty() && !originates_tls {
            let problem = "are added where the way out speaks TLS itself; set tls to originate";
            return Err(fields.problem("headers", problem));
        }
        if !headers.is_empty() && host.starts_with("*.") {
            let problem = "would go to every host below the name; write one host";
            return Err(fields.problem("headers", problem));
        }
        Ok(Egress { host, ports, methods, originates_tls, headers })
    }

    pub(super) fn to_json(&self) -> Value {
        let mut map = Map::new();
        map.insert("host".to_owned(), self.host.clone().into());
        map.insert("ports".to_owned(), json!(self.ports));
        map.insert("methods".to_owned(), json!(self.methods));
        if self.originates_tls {
            map.insert("tls".to_owned(), "originate".into());
        }
        if !self.headers.is_empty() {
            let headers = self.headers.iter();
            let headers = headers.map(|one| json!({"header": one.header, "secret": one.secret}));
            map.insert("headers".to_owned(), headers.collect());
        }
        Value::Object(map)
    }
}

impl SecretHeader {
    fn read(path: &str, value: &Value) -> Result<SecretHeader, Problem> {
        let fields = Fields::of(path, value, &["header", "secret"])?;
        let rule = "1 to 64 letters, digits and '-', and none that HTTP itself needs, as in \
                    authorization";
        let header = fields.named("header", rule, |name| {
            let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
            (1..=HEADER_BYTES).contains(&name.len())
                && name.bytes().all(good)
                && !RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str())
        })?;
        let header = fields.needed("header", "a header's name", header)?.to_ascii_lowercase();
        let secret = fields.named("secret", SECRET_RULE, is_secret)?;
        Ok(SecretHeader { header, secret: fields.needed("secret", "a secret's name", secret)? })
    }
}

/// Whether it names a host, or all hosts below a name of at least two parts.
fn is_host(host: &str) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let is_label = |label: &str| {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        (1..=63).contains(&label.len())
            && label.bytes().all(good)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_broad = host.len() != name.len() && !name.contains('.');
    host.len() <= HOST_BYTES && !is_broad && name.split('.').all(is_label)
}
