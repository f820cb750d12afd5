//! Connections of all tools over HTTP, and the rules of where they may go.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use headwater_backends::{BackendError, Egress, Refusal, SecretHeaders};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Proxy, Url};

use crate::backend::HttpBackend;
use crate::error::SettingsError;
use crate::fetch::{FetchLimits, Fetcher};
use crate::operation::Operation;

/// Settings of all tools over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// Longest time until a connection stands, in milliseconds.
    pub connect_timeout_ms: u64,
    /// An HTTP proxy for all requests, such as `http://127.0.0.1:3128`; none without it. Proxies
    /// named in the environment are never used.
    pub proxy: Option<String>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        HttpSettings { connect_timeout_ms: 5_000, proxy: None }
    }
}

/// Makes backends that share connections; cheap to clone.
#[derive(Clone)]
pub struct HttpClient {
    pub(crate) http: reqwest::Client,
    egress: Egress,
    proxied: bool,
}

impl HttpClient {
    /// Connects to nobody yet.
    ///
    /// # Errors
    /// When the proxy's address is none.
    pub fn new(settings: &HttpSettings, egress: Egress) -> Result<HttpClient, SettingsError> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("headwater/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_millis(settings.connect_timeout_ms))
            .tcp_nodelay(true)
            // A redirect would carry secrets to another host.
            .redirect(Policy::none())
            .no_proxy()
            .dns_resolver(GuardedNames { egress: egress.clone() });
        if let Some(proxy) = &settings.proxy {
            let proxy = Proxy::all(proxy).map_err(|_| {
                SettingsError::new("proxy", "is no address; give it as http://127.0.0.1:3128")
            })?;
            builder = builder.proxy(proxy);
        }
        let http = builder
            .build()
            .map_err(|_| SettingsError::new("http", "no client could be made of the settings"))?;
        Ok(HttpClient { http, egress, proxied: settings.proxy.is_some() })
    }

    /// A tool of one operation.
    ///
    /// # Errors
    /// The operation's field that is wrong.
    pub fn backend(
        &self,
        operation: Operation,
        headers: SecretHeaders,
    ) -> Result<HttpBackend, SettingsError> {
        HttpBackend::new(self.clone(), operation, headers)
    }

    /// A tool that reads what the model asks for, as far as the rules permit.
    pub fn fetcher(&self, limits: FetchLimits) -> Fetcher {
        Fetcher::new(self.clone(), limits)
    }

    /// Asks the rules before a request is sent; addresses behind names are asked for while
    /// connecting.
    pub(crate) fn permit(&self, url: &Url) -> Result<(String, u16), BackendError> {
        let refused = |why: String| BackendError::Refused { why };
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().unwrap_or_default();
        self.egress.permit_host(&host, port).map_err(|refusal| refused(refusal.why))?;
        if let (false, Ok(address)) = (self.proxied, host.parse::<IpAddr>()) {
            let permitted = self.egress.permit_address(&host, address);
            permitted.map_err(|refusal| refused(refusal.why))?;
        }
        Ok((host, port))
    }
}

/// Names become addresses, of which only those stay that the rules permit: what is checked is what
/// is connected to.
struct GuardedNames {
    egress: Egress,
}

impl Resolve for GuardedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let egress = self.egress.clone();
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            let mut refusal = None;
            let mut permitted: Vec<SocketAddr> = Vec::new();
            for address in found {
                match egress.permit_address(&host, address.ip()) {
                    Ok(()) => permitted.push(address),
                    Err(why) => refusal = Some(why),
                }
            }
            match refusal {
                Some(refusal) if permitted.is_empty() => Err(refusal.into()),
                _ => Ok(Box::new(permitted.into_iter()) as Addrs),
            }
        })
    }
}

/// Why a request has failed, without its address, which is nobody's business.
pub(crate) fn failed(error: &reqwest::Error) -> BackendError {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(refusal) = inner.downcast_ref::<Refusal>() {
            return BackendError::Refused { why: refusal.why.clone() };
        }
        source = inner.source();
    }
    if error.is_connect() {
        BackendError::Unsent { why: "no connection".to_owned() }
    } else if error.is_builder() {
        BackendError::Arguments { why: "no request could be made of them".to_owned() }
    } else {
        BackendError::Unknown { why: "the connection broke before an answer came".to_owned() }
    }
}
