//! Vault as a source: one question, with a login where it needs one.

use std::fs;
use std::time::Duration;

use async_trait::async_trait;
use headwater_secrets::{SecretError, SecretName, SecretSource, SecretValue};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, Request, StatusCode, Url};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::VaultSettings;
use crate::answer::{Answer, Found, unavailable, wrong};
use crate::login::{self, Proof};
use crate::template::{Template, is_plain};

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
/// Vault's agent may be set to refuse requests without it.
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");
/// No sum with the clock overflows.
const LEASE_S_MAX: u64 = 365 * 24 * 3_600;

/// One Vault or OpenBao. Connections and the token are kept and used again.
pub struct VaultSource {
    http: Client,
    address: Url,
    settings: VaultSettings,
    template: Template,
    logins: Mutex<Logins>,
}

#[derive(Default)]
struct Logins {
    session: Option<Session>,
    /// When a login did not change a refusal.
    in_vain: Option<Instant>,
}

/// A token that Vault took when it came.
#[derive(Clone)]
struct Session {
    token: SecretValue,
    since: Instant,
    /// Some time ahead of its end; `None` when it has none.
    until: Option<Instant>,
}

enum Reply {
    Value(SecretValue),
    Forbidden,
}

impl VaultSource {
    /// Reads the file of authorities, and connects to nobody yet.
    ///
    /// # Errors
    /// [`SecretError::Misconfigured`], naming the setting.
    pub fn new(settings: VaultSettings) -> Result<VaultSource, SecretError> {
        let address = address(&settings.address)?;
        if !settings.mount.split('/').all(is_plain) {
            return Err(wrong("`mount` is no path; give where the KV engine is mounted"));
        }
        let template = Template::new(&settings.path, &settings.field)?;
        login::check(&settings.auth)?;
        let headers = headers(settings.namespace.as_deref().unwrap_or(""))?;
        let http = client(&settings, &address, headers)?;
        Ok(VaultSource { http, address, settings, template, logins: Mutex::default() })
    }

    async fn ask(&self, team: &str, name: &SecretName) -> Result<SecretValue, SecretError> {
        let path = self.template.path(team, name).ok_or(SecretError::unknown(team, name))?;
        let (session, is_new) = self.session().await?;
        if let Reply::Value(value) = self.read(&session, &path, team, name).await? {
            return Ok(value);
        }
        // The token may have been revoked or used up. A new one that is refused too proves that
        // the secret is forbidden.
        let denied = || Err(SecretError::denied(team, name));
        if is_new {
            return denied();
        }
        let Some(session) = self.session_after(&session).await? else {
            return denied();
        };
        match self.read(&session, &path, team, name).await? {
            Reply::Value(value) => Ok(value),
            Reply::Forbidden => {
                self.logins.lock().await.in_vain = Some(Instant::now());
                denied()
            }
        }
    }

    /// The session, and whether it was made just now.
    async fn session(&self) -> Result<(Session, bool), SecretError> {
        // Held during a login, so that many questions are one login.
        let mut logins = self.logins.lock().await;
        let now = Instant::now();
        let alive = |session: &&Session| session.until.is_none_or(|until| now < until);
        if let Some(session) = logins.session.as_ref().filter(alive) {
            return Ok((session.clone(), false));
        }
        let session = self.login().await?;
        logins.session = Some(session.clone());
        Ok((session, true))
    }

    /// A session in place of one that was refused; `None` when another login would not help.
    async fn session_after(&self, refused: &Session) -> Result<Option<Session>, SecretError> {
        let mut logins = self.logins.lock().await;
        if let Some(session) = logins.session.as_ref().filter(|now| now.since != refused.since) {
            return Ok(Some(session.clone()));
        }
        let pause = Duration::from_millis(self.settings.login_pause_ms);
        if logins.in_vain.is_some_and(|at| at.elapsed() < pause) {
            return Ok(None);
        }
        let session = self.login().await?;
        logins.session = Some(session.clone());
        Ok(Some(session))
    }

    async fn login(&self) -> Result<Session, SecretError> {
        let auth = self.settings.auth.clone();
        let proof = tokio::task::spawn_blocking(move || login::proof(&auth)).await;
        let request = match proof.map_err(|_| unavailable())?? {
            Proof::Token(token) => {
                return Ok(Session { token, since: Instant::now(), until: None });
            }
            Proof::Login { mount, body } => self.login_request(&mount, body)?,
        };
        // A lease is counted from before it was asked for.
        let since = Instant::now();
        let answer = self.send(request).await?;
        if answer.is_unavailable() {
            return Err(SecretError::Unavailable { retry_after_ms: answer.retry_after_ms });
        }
        let granted = answer.status.is_success().then(|| answer.token()).flatten();
        let granted = granted.ok_or_else(|| {
            let status = answer.status.as_u16();
            let why = format!(
                "vault refuses the login with status {status}; check `auth`, its role and what \
                 the role is bound to"
            );
            SecretError::Misconfigured(why)
        })?;
        // The last fifth is left for the next login.
        let lease_ms = granted.lease_s.min(LEASE_S_MAX) * 800;
        let until = (lease_ms > 0).then(|| since + Duration::from_millis(lease_ms));
        Ok(Session { token: granted.token, since, until })
    }

    async fn read(
        &self,
        session: &Session,
        path: &str,
        team: &str,
        name: &SecretName,
    ) -> Result<Reply, SecretError> {
        let answer = self.send(self.read_request(path, &session.token)?).await?;
        if answer.is_unavailable() {
            return Err(SecretError::Unavailable { retry_after_ms: answer.retry_after_ms });
        }
        match answer.status {
            StatusCode::OK => match answer.value(self.template.field(name))? {
                Found::Value(value) => Ok(Reply::Value(value)),
                Found::Nothing => Err(SecretError::unknown(team, name)),
                Found::NoText => {
                    let why = format!(
                        "the field of the secret `{name}` of team `{team}` is empty or no text; \
                         store its value as text"
                    );
                    Err(SecretError::Misconfigured(why))
                }
            },
            StatusCode::FORBIDDEN => Ok(Reply::Forbidden),
            StatusCode::NOT_FOUND if answer.is_unmounted() => {
                Err(wrong("nothing is mounted at `mount`; correct it, or `namespace`"))
            }
            StatusCode::NOT_FOUND => Err(SecretError::unknown(team, name)),
            status if status.is_redirection() => Err(wrong(
                "vault answers with a redirect, which is not followed as it would carry the token \
                 away; give the active node's `address`, or let standbys forward",
            )),
            status => {
                let status = status.as_u16();
                let why =
                    format!("vault answers with status {status}; check `address` and `mount`");
                Err(SecretError::Misconfigured(why))
            }
        }
    }

    /// With a token that no log shows.
    pub(crate) fn read_request(
        &self,
        path: &str,
        token: &SecretValue,
    ) -> Result<Request, SecretError> {
        let url = self.url(&format!("{}/data/{path}", self.settings.mount))?;
        let mut header = HeaderValue::from_str(token.expose()).map_err(|_| {
            wrong("the token of `auth` holds what no header may; write it alone and anew")
        })?;
        header.set_sensitive(true);
        let mut request = Request::new(Method::GET, url);
        request.headers_mut().insert(TOKEN, header);
        Ok(request)
    }

    fn login_request(&self, mount: &str, body: Vec<u8>) -> Result<Request, SecretError> {
        let url = self.url(&format!("auth/{mount}/login"))?;
        let mut request = Request::new(Method::POST, url);
        *request.body_mut() = Some(body.into());
        Ok(request)
    }

    /// Each part between `/` is percent-encoded, so that it is one part for Vault too.
    fn url(&self, path: &str) -> Result<Url, SecretError> {
        let mut url = self.address.clone();
        let mut parts = url.path_segments_mut().map_err(|()| no_address())?;
        parts.push("v1").extend(path.split('/'));
        drop(parts);
        Ok(url)
    }

    /// Without a word of what broke: it holds the address.
    async fn send(&self, request: Request) -> Result<Answer, SecretError> {
        let response = self.http.execute(request).await.map_err(|error| {
            // A path too long for a request stays so.
            if error.is_builder() { no_address() } else { unavailable() }
        })?;
        Answer::read(response).await
    }
}

#[async_trait]
impl SecretSource for VaultSource {
    async fn get(&self, team: &str, name: &SecretName) -> Result<SecretValue, SecretError> {
        let longest = Duration::from_millis(self.settings.timeout_ms);
        timeout(longest, self.ask(team, name)).await.unwrap_or_else(|_| Err(unavailable()))
    }
}

fn address(text: &str) -> Result<Url, SecretError> {
    let example = "give it as https://host:8200";
    let refuse = |why: &str| Err(SecretError::Misconfigured(format!("`address` {why}; {example}")));
    let Ok(address) = Url::parse(text) else {
        return refuse("is no URL");
    };
    if !matches!(address.scheme(), "http" | "https") || address.host().is_none() {
        return refuse("has no host or another scheme");
    }
    if !address.username().is_empty() || address.password().is_some() {
        return refuse("holds a password, which belongs into `auth`");
    }
    if address.path() != "/" || address.query().is_some() || address.fragment().is_some() {
        return refuse("holds more than a host and a port");
    }
    Ok(address)
}

fn no_address() -> SecretError {
    wrong("`address` and `mount` make no address; correct them")
}

/// What goes with each request. The token is none of it: it changes, and is wiped.
fn headers(namespace: &str) -> Result<HeaderMap, SecretError> {
    let mut headers = HeaderMap::from_iter([(REQUEST, HeaderValue::from_static("true"))]);
    if !namespace.is_empty() {
        let namespace = HeaderValue::from_str(namespace)
            .map_err(|_| wrong("`namespace` holds what no header may; give its path, as in a/b"))?;
        headers.insert(NAMESPACE, namespace);
    }
    Ok(headers)
}

fn client(
    settings: &VaultSettings,
    address: &Url,
    headers: HeaderMap,
) -> Result<Client, SecretError> {
    let mut builder = Client::builder()
        .default_headers(headers)
        .user_agent(concat!("headwater/", env!("CARGO_PKG_VERSION")))
        .tcp_nodelay(true)
        // A redirect would carry the token to another host.
        .redirect(Policy::none());
    if let Some(path) = &settings.ca_file {
        let refuse = |why: &str| {
            let path = path.display();
            SecretError::Misconfigured(format!("the file {path} of `ca_file` {why}"))
        };
        let pem = fs::read(path).map_err(|_| refuse("cannot be read; put it there"))?;
        let certificates = Certificate::from_pem_bundle(&pem).unwrap_or_default();
        if certificates.is_empty() {
            return Err(refuse("holds no certificate; write one or more into it, as PEM"));
        }
        builder = builder.tls_certs_only(certificates);
    } else if address.scheme() == "http" {
        // No authority is asked for; an image without any shall do.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|_| wrong("no HTTP client could be made; check `ca_file`"))
}
