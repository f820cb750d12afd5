//! HTTP as the protocol sends it, with the call's own headers and the rules of egress.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures_util::stream::BoxStream;
use headwater_backends::{BackendError, Egress, SecretHeader, SecretHeaders};
use http::{HeaderName, HeaderValue};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rmcp::model::{ClientJsonRpcMessage, GetExtensions, JsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
    StreamableHttpResponseLimits,
};
use sse_stream::Sse;

/// The headers of one call, on their way beside its request; they are never on the wire as such.
#[derive(Clone)]
pub(super) struct CallHeaders(pub(super) Arc<Vec<SecretHeader>>);

/// What stops a request of ours, or breaks it.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error(transparent)]
    Stopped(BackendError),
    #[error("the request failed")]
    Broken(#[source] reqwest::Error),
}

/// One server's connections.
#[derive(Clone)]
pub(super) struct GuardedHttp {
    pub(super) http: reqwest::Client,
    pub(super) headers: SecretHeaders,
    pub(super) egress: Egress,
    pub(super) url: Url,
    pub(super) proxied: bool,
}

type Failed = StreamableHttpError<HttpError>;
type Headers = HashMap<HeaderName, HeaderValue>;

impl GuardedHttp {
    /// The headers with the call's own, or the ones for questions without a call, once the rules
    /// permit the host.
    async fn prepare(
        &self,
        mut headers: Headers,
        call: Option<CallHeaders>,
    ) -> Result<Headers, Failed> {
        let stopped = |error| StreamableHttpError::Client(HttpError::Stopped(error));
        permit(&self.egress, &self.url, self.proxied).map_err(stopped)?;
        let secrets = match call {
            Some(call) => call.0,
            None => Arc::new((self.headers)(None).await.map_err(stopped)?),
        };
        for secret in secrets.iter() {
            let (name, value) = header(secret).map_err(stopped)?;
            headers.insert(name, value);
        }
        Ok(headers)
    }
}

/// Asks the rules for the host, and for its address where it is one.
pub(super) fn permit(egress: &Egress, url: &Url, proxied: bool) -> Result<(), BackendError> {
    let (host, port) = host(url);
    let refused = |refusal: headwater_backends::Refusal| BackendError::Refused { why: refusal.why };
    egress.permit_host(host, port).map_err(refused)?;
    match host.parse::<IpAddr>() {
        Ok(address) if !proxied => egress.permit_address(host, address).map_err(refused),
        _ => Ok(()),
    }
}

pub(super) fn host(url: &Url) -> (&str, u16) {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    (host, url.port_or_known_default().unwrap_or_default())
}

fn header(secret: &SecretHeader) -> Result<(HeaderName, HeaderValue), BackendError> {
    let name = &secret.name;
    let wrong = |what: &str| BackendError::Refused {
        why: format!("the secret of the header `{name}` {what}; store it anew"),
    };
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("has a wrong name"))?;
    let mut value = HeaderValue::from_str(secret.expose())
        .map_err(|_| wrong("holds a character that no header may"))?;
    value.set_sensitive(true);
    Ok((parsed, value))
}

/// The SDK's own failure, with our kind of error in it.
fn failed(error: StreamableHttpError<reqwest::Error>) -> Failed {
    use StreamableHttpError as E;
    match error {
        E::Client(error) => E::Client(HttpError::Broken(error)),
        E::Sse(error) => E::Sse(error),
        E::Io(error) => E::Io(error),
        E::HttpStatus(error) => E::HttpStatus(error),
        E::UnexpectedEndOfStream => E::UnexpectedEndOfStream,
        E::UnexpectedServerResponse(told) => E::UnexpectedServerResponse(told),
        E::ResponseBodyTooLarge { max_size } => E::ResponseBodyTooLarge { max_size },
        E::UnexpectedContentType(kind) => E::UnexpectedContentType(kind),
        E::ServerDoesNotSupportSse => E::ServerDoesNotSupportSse,
        E::ServerDoesNotSupportDeleteSession => E::ServerDoesNotSupportDeleteSession,
        E::Deserialize(error) => E::Deserialize(error),
        E::TransportChannelClosed => E::TransportChannelClosed,
        E::MissingSessionIdInResponse => E::MissingSessionIdInResponse,
        E::AuthRequired(error) => E::AuthRequired(error),
        E::InsufficientScope(error) => E::InsufficientScope(error),
        E::ReservedHeaderConflict(name) => E::ReservedHeaderConflict(name),
        E::SessionExpired => E::SessionExpired,
        E::SessionRecoveryTimeout => E::SessionRecoveryTimeout,
        E::ReinitializationFailed(error) => E::ReinitializationFailed(error),
        E::ControlRequestTimeout => E::ControlRequestTimeout,
        other => E::UnexpectedServerResponse(other.to_string().into()),
    }
}

impl StreamableHttpClient for GuardedHttp {
    type Error = HttpError;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        auth: Option<String>,
        headers: Headers,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let limits = StreamableHttpResponseLimits::default();
        self.post_message_with_response_limits(uri, message, session, auth, headers, limits).await
    }

    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        auth: Option<String>,
        headers: Headers,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let call = match &message {
            JsonRpcMessage::Request(request) => {
                request.request.extensions().get::<CallHeaders>().cloned()
            }
            _ => None,
        };
        let headers = self.prepare(headers, call).await?;
        self.http
            .post_message_with_response_limits(uri, message, session, auth, headers, limits)
            .await
            .map_err(failed)
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session: Arc<str>,
        auth: Option<String>,
        headers: Headers,
    ) -> Result<(), Failed> {
        let headers = self.prepare(headers, None).await?;
        self.http.delete_session(uri, session, auth, headers).await.map_err(failed)
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        auth: Option<String>,
        headers: Headers,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Failed> {
        let max = StreamableHttpResponseLimits::default().max_sse_event_size;
        self.get_stream_with_max_sse_event_size(uri, session, last_event, auth, headers, max).await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        auth: Option<String>,
        headers: Headers,
        max_event_bytes: usize,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Failed> {
        let headers = self.prepare(headers, None).await?;
        self.http
            .get_stream_with_max_sse_event_size(
                uri,
                session,
                last_event,
                auth,
                headers,
                max_event_bytes,
            )
            .await
            .map_err(failed)
    }
}

/// Names become addresses, of which only those stay that the rules permit.
pub(super) struct GuardedNames {
    pub(super) egress: Egress,
}

impl Resolve for GuardedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let egress = self.egress.clone();
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            let (mut permitted, mut refusal) = (Vec::<SocketAddr>::new(), None);
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
