//! Whether a rule of the grant allows what is asked.

use http::uri::Authority;
use http::{HeaderMap, Method, Request, header};

use crate::event::Asked;
use crate::grant::{Rule, Transport};
use crate::host::HostName;
use crate::refusal::Refusal;

/// How the guest asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    Http,
    Https,
    Connect,
}

/// What the guest asks for, in its one form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) ask: Ask,
    pub(crate) host: HostName,
    pub(crate) port: Option<u16>,
    pub(crate) method: Method,
    pub(crate) path: String,
}

/// The words of a request for its event, whatever it is.
pub(crate) fn asked<B>(request: &Request<B>) -> Asked {
    let uri = request.uri();
    let short = |text: &str, most: usize| text.chars().take(most).collect::<String>();
    Asked {
        host: short(uri.host().unwrap_or_default(), 253),
        port: uri.port_u16().unwrap_or_default(),
        method: short(request.method().as_str(), 32),
        path: short(uri.path(), 256),
    }
}

impl Target {
    /// Reads a request of a proxy: an absolute URL, or the authority of a `CONNECT`.
    pub(crate) fn of<B>(request: &Request<B>) -> Result<Self, Refusal> {
        let uri = request.uri();
        let Some(authority) = uri.authority() else {
            return Err(Refusal::Malformed("write the whole URL, as http://host/path"));
        };
        let ask = match (request.method(), uri.scheme_str()) {
            (&Method::CONNECT, None) => Ask::Connect,
            (&Method::CONNECT, Some(_)) => {
                return Err(Refusal::Malformed("write host:port behind CONNECT"));
            }
            (_, Some("http")) => Ask::Http,
            (_, Some("https")) => Ask::Https,
            _ => return Err(Refusal::Malformed("write a URL of http or https")),
        };
        let (host, port) = parts(authority)?;
        if ask == Ask::Connect && port.is_none() {
            return Err(Refusal::Malformed("write host:port behind CONNECT"));
        }
        let target =
            Self { ask, host, port, method: request.method().clone(), path: uri.path().to_owned() };
        target.same_host(request.headers())?;
        Ok(target)
    }

    /// A `Host` that names another host would let two readers see two requests.
    fn same_host(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let Some(first) = hosts.next() else { return Ok(()) };
        let other = Refusal::Malformed("the Host header is not the host of the URL");
        let authority: Authority =
            first.to_str().ok().and_then(|text| text.parse().ok()).ok_or(other.clone())?;
        let (host, port) = parts(&authority)?;
        let usual = match self.ask {
            Ask::Http => Some(80),
            Ask::Https | Ask::Connect => Some(443),
        };
        let same_port = port.or(usual) == self.port.or(usual) || port.is_none();
        if hosts.next().is_some() || host != self.host || !same_port {
            return Err(other);
        }
        Ok(())
    }

    /// The first rule that allows it, and the port at the host.
    pub(crate) fn decide<'a>(&self, rules: &'a [Rule]) -> Result<(&'a Rule, u16), Refusal> {
        if self.method == Method::TRACE {
            // Its answer repeats the request, secrets and all.
            return Err(Refusal::Method);
        }
        let mut closest = (0, Refusal::Host);
        for rule in rules.iter().filter(|rule| rule.host.matches(&self.host)) {
            match self.allowed(rule) {
                Ok(port) => return Ok((rule, port)),
                Err((step, refusal)) if step > closest.0 => closest = (step, refusal),
                Err(_) => {}
            }
        }
        Err(closest.1)
    }

    /// The further a rule allows, the better its refusal tells what to change.
    fn allowed(&self, rule: &Rule) -> Result<u16, (u8, Refusal)> {
        let usual = match (self.ask, rule.transport) {
            (Ask::Connect, Transport::Tunnel) => 443,
            (Ask::Http, Transport::Plain) => 80,
            (Ask::Http | Ask::Https, Transport::Originate) => 443,
            (_, Transport::Plain) => return Err((1, Refusal::Transport("http:// URLs"))),
            (_, Transport::Originate) => {
                return Err((1, Refusal::Transport("http:// URLs, which go out over TLS")));
            }
            (_, Transport::Tunnel) => return Err((1, Refusal::Transport("CONNECT"))),
        };
        let port = self.port.unwrap_or(usual);
        if !rule.ports.contains(&port) {
            return Err((2, Refusal::Port));
        }
        if !rule.methods.is_empty() && !rule.methods.contains(&self.method) {
            return Err((3, Refusal::Method));
        }
        if !rule.paths.is_empty() {
            if ambiguous(&self.path) {
                let why = "write the path without dots as parts, encoded dots, slashes or percents";
                return Err((4, Refusal::Malformed(why)));
            }
            if !rule.paths.iter().any(|prefix| below(&self.path, prefix)) {
                return Err((4, Refusal::Path));
            }
        }
        Ok(port)
    }
}

fn parts(authority: &Authority) -> Result<(HostName, Option<u16>), Refusal> {
    let text = authority.as_str();
    if text.contains('@') {
        return Err(Refusal::Malformed("write the host without a user before it"));
    }
    let host = HostName::new(authority.host())
        .map_err(|_| Refusal::Malformed("the host is neither a name nor a usual address"))?;
    let behind = text.get(authority.host().len()..).unwrap_or_default();
    let port = match behind.strip_prefix(':') {
        None if behind.is_empty() => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => match digits.parse() {
            Ok(port) if port != 0 && !digits.starts_with('0') => Some(port),
            _ => return Err(Refusal::Malformed("write the port as a number from 1 to 65535")),
        },
        _ => return Err(Refusal::Malformed("write the port as a number from 1 to 65535")),
    };
    Ok((host, port))
}

/// Whether a server may read another path than the one that is written.
fn ambiguous(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let encoded = ["%2e", "%2f", "%5c", "%25", "%00"];
    lower.contains('\\')
        || lower.contains("//")
        || encoded.iter().any(|code| lower.contains(code))
        // A parameter (`..;x`) is cut off by some servers before they walk the path.
        || lower.split('/').any(|part| matches!(part.split(';').next(), Some("." | "..")))
}

/// Whether a path is the prefix or lies below it.
fn below(path: &str, prefix: &str) -> bool {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
