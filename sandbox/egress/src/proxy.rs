//! A request that goes out: decided, resolved, sent, and its answer brought back.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body::Body as HttpBody;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::address::is_public;
use crate::blank::Blank;
use crate::body::{Body, Passing, Waits, full};
use crate::decide::Target;
use crate::dial::{self, AnyStream};
use crate::egress::Shared;
use crate::event::{Asked, Kind};
use crate::grant::{Grant, Rule, Transport};
use crate::headers;
use crate::host::HostName;
use crate::meter::{Flow, Meter};
use crate::record::Record;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::way::HEADERS_MAX;

/// How many addresses of a host are tried.
const ADDRESSES_TRIED: usize = 3;

/// A grant in use.
pub(crate) struct Way {
    pub(crate) shared: Arc<Shared>,
    pub(crate) grant: Grant,
    pub(crate) meter: Arc<Meter>,
}

/// The task that drives a connection to the outside; ends with what holds it.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The page that a guest gets with a refusal.
pub(crate) fn page(refusal: &Refusal) -> Response<Body> {
    let mut response = Response::new(full(format!("refused by the way out: {refusal}\n")));
    *response.status_mut() = refusal.status();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

impl Way {
    pub(crate) fn record(&self, kind: Kind, asked: Asked) -> Arc<Record> {
        Record::new(&self.shared.parts.events, &self.meter, &self.grant.labels, kind, asked)
    }

    /// The addresses of a host, all of them checked: one that is not public spoils the answer.
    pub(crate) async fn addresses(
        &self,
        rule: &Rule,
        host: &HostName,
        port: u16,
    ) -> Result<Vec<SocketAddr>, Refusal> {
        if let Some(internal) = rule.internal {
            return Ok(vec![internal]);
        }
        let found = match host.address() {
            Some(address) => vec![address],
            None => {
                let wait = Duration::from_millis(self.shared.settings.resolve_ms);
                match timeout(wait, self.shared.parts.resolver.addresses(host.as_str())).await {
                    Ok(Ok(found)) if !found.is_empty() => found,
                    Ok(_) => return Err(Refusal::Unresolved),
                    Err(_) => return Err(Refusal::Deadline("resolving the host's name")),
                }
            }
        };
        if !found.iter().all(|address| is_public(*address)) {
            return Err(Refusal::NotPublic);
        }
        Ok(found.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }

    /// A connection to the first address that takes one.
    pub(crate) async fn reach(
        &self,
        rule: &Rule,
        host: &HostName,
        port: u16,
    ) -> Result<(AnyStream, SocketAddr), Refusal> {
        let mut last = Refusal::Unresolved;
        for address in self.addresses(rule, host, port).await?.into_iter().take(ADDRESSES_TRIED) {
            let wait_ms = self.shared.settings.connect_ms;
            match dial::open(self.shared.dial.as_ref(), address, wait_ms).await {
                Ok(stream) => return Ok((stream, address)),
                Err(refusal) => last = refusal,
            }
        }
        Err(last)
    }

    /// Sends a request out and brings its answer's head; the bodies pass as they are read.
    /// `keep` lives as long as the answer's body.
    pub(crate) async fn forward<K: Send + Unpin + 'static>(
        &self,
        request: Request<Body>,
        record: &Arc<Record>,
        keep: K,
    ) -> Result<Response<Body>, Refusal> {
        self.meter.request()?;
        let target = Target::of(&request)?;
        let (rule, port) = target.decide(&self.grant.rules)?;
        let secrets = self.secrets(rule).await?;
        let (mut stream, address) = self.reach(rule, &target.host, port).await?;
        let settings = &self.shared.settings;
        if rule.transport == Transport::Originate {
            let connector = &self.shared.connector;
            stream = dial::secure(connector, &target.host, stream, settings.connect_ms).await?;
        }
        record.reached(Some(address), 0);
        let waits = Waits {
            idle_ms: settings.idle_ms,
            until: Instant::now() + Duration::from_millis(settings.whole_ms),
        };
        let outgoing = outgoing(request, &target, rule, port, &secrets)?;
        let outgoing = outgoing.map(|body| {
            Passing::boxed(body, Flow::Out, Arc::clone(record), Blank::default(), waits, ())
        });
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(settings.head_bytes)
            .max_headers(HEADERS_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| Refusal::Broken)?;
        let driver = Driver(tokio::spawn(async move {
            // Its error comes out of the answer, too.
            let _ = connection.await;
        }));
        let response = self.answered(sender.send_request(outgoing), record).await?;
        record.reached(Some(address), response.status().as_u16());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Refusal::Unreachable("it changed the protocol unasked"));
        }
        let blank = Blank::new(secrets.into_iter().map(|(_, secret)| secret).collect());
        Ok(incoming(response, record, blank, waits, (driver, sender, keep)))
    }

    /// Waits for the head of an answer: not while the request is still on its way out.
    async fn answered(
        &self,
        answer: impl Future<Output = hyper::Result<Response<Incoming>>>,
        record: &Record,
    ) -> Result<Response<Incoming>, Refusal> {
        let mut answer = std::pin::pin!(answer);
        let mut sent = record.sent();
        loop {
            let wait = Duration::from_millis(self.shared.settings.answer_ms);
            match timeout(wait, answer.as_mut()).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(_)) => return Err(record.refusal().unwrap_or(Refusal::Broken)),
                Err(_) if record.sent() > sent => sent = record.sent(),
                Err(_) => return Err(Refusal::Deadline("waiting for the answer")),
            }
        }
    }

    async fn secrets(&self, rule: &Rule) -> Result<Vec<(HeaderValue, Secret)>, Refusal> {
        let mut values = Vec::new();
        for wanted in &rule.secrets {
            let asked = self.shared.parts.secrets.value(&self.grant.labels, &wanted.secret);
            let wait = Duration::from_millis(self.shared.settings.head_ms);
            let secret = match timeout(wait, asked).await {
                Ok(Ok(secret)) if !secret.expose().is_empty() => secret,
                _ => return Err(Refusal::Secret),
            };
            let text = [wanted.prefix.as_bytes(), secret.expose()].concat();
            let mut value = HeaderValue::from_bytes(&text).map_err(|_| Refusal::Secret)?;
            value.set_sensitive(true);
            values.push((value, secret));
        }
        Ok(values)
    }
}

/// The request as the outside gets it: its path alone, the checked host, its secrets.
fn outgoing(
    request: Request<Body>,
    target: &Target,
    rule: &Rule,
    port: u16,
    secrets: &[(HeaderValue, Secret)],
) -> Result<Request<Body>, Refusal> {
    let (mut head, body) = request.into_parts();
    let malformed = Refusal::Malformed("its path cannot be sent on");
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    head.uri = path.parse::<Uri>().map_err(|_| malformed.clone())?;
    head.version = http::Version::HTTP_11;
    head.extensions.clear();
    headers::strip(&mut head.headers, true);
    let usual = if rule.transport == Transport::Plain { 80 } else { 443 };
    let host = match port == usual {
        true => target.host.to_string(),
        false => format!("{}:{port}", target.host),
    };
    head.headers.insert(HOST, HeaderValue::from_str(&host).map_err(|_| malformed)?);
    for (wanted, (value, _)) in rule.secrets.iter().zip(secrets) {
        head.headers.insert(&wanted.header, value.clone());
    }
    if !secrets.is_empty() {
        // A packed answer could carry a secret that is not seen.
        head.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    Ok(Request::from_parts(head, body))
}

/// The answer as the guest gets it.
fn incoming<K: Send + Unpin + 'static>(
    response: Response<Incoming>,
    record: &Arc<Record>,
    blank: Blank,
    waits: Waits,
    keep: K,
) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    head.extensions.clear();
    headers::strip(&mut head.headers, false);
    let covered: HeaderMap = std::mem::take(&mut head.headers)
        .into_iter()
        .scan(None, |last, (name, value)| {
            // A name stands only before the first of its values.
            *last = name.or(last.take());
            Some((last.clone(), value))
        })
        .filter_map(|(name, value)| {
            let mut bytes = value.as_bytes().to_vec();
            blank.cover(&mut bytes);
            Some((name?, HeaderValue::from_bytes(&bytes).ok()?))
        })
        .fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        });
    head.headers = covered;
    let done = body.is_end_stream();
    let record = Arc::clone(record);
    if done {
        record.whole();
    }
    Response::from_parts(head, Passing::boxed(body, Flow::In, record, blank, waits, keep))
}
